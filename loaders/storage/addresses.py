"""Addresses of datasets: what of one may be shown, where a file lies below one, and which hosts are everyone's.

Credentials stand in addresses: `user:password@` before the host, and signatures in the query. Both are kept for the
requests, and neither is ever part of a message.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from typing import Final, NamedTuple, Self

import urllib3

from ..errors import DatasetError

HTTP_SCHEMES: Final = ("http", "https")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS: Final = {"http": 80, "https": 443}


def without_secrets(uri: str) -> str:
    """The address of a dataset as messages show it: without user, password, query and fragment. Paths stay."""
    if "://" not in uri:
        return uri
    scheme, _, rest = uri.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; False for whatever is not plainly one.

    Addresses that carry an IPv4 address (mapped, NAT64, 6to4) are judged by it.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip.sixtofour is not None and not is_public(str(ip.sixtofour)):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


class Origin(NamedTuple):
    """Whom a request goes to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """That of an absolute address.

        Raises:
            ValueError: it is no address of HTTP with a host.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in HTTP_SCHEMES or not parts.hostname:
            raise ValueError(f"expected http:// or https:// and a host, found scheme {parts.scheme!r}")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])


class HttpRoot:
    """The root of a dataset on a web server, and the addresses of the files below it.

    Args:
        uri: `https://[user:password@]host[:port]/folder[?query]`; the query (a signature) goes along with each request.

    Raises:
        DatasetError: it is no such address.
    """

    def __init__(self, uri: str) -> None:
        self.shown = without_secrets(uri).rstrip("/")
        try:
            self.origin = Origin.of(uri)
        except ValueError as error:
            raise DatasetError(f"{self.shown}: expected an address like https://host/folder, found {error}") from error
        parts = urllib.parse.urlsplit(uri)
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._query = f"?{parts.query}" if parts.query else ""
        self.headers: dict[str, str] = {}
        if parts.username is not None:
            user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            self.headers = urllib3.make_headers(basic_auth=f"{user}:{password}")

    def url(self, relative: str) -> str:
        """The address of a file below the root, with the root's query."""
        return f"{self._base}/{urllib.parse.quote(relative)}{self._query}"

    def where(self, relative: str) -> str:
        """The same as messages show it."""
        return f"{self.shown}/{relative}"
