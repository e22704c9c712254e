"""Which addresses may be dialled: a list of URLs from strangers must not reach what only this machine can see.

The check sits where the socket is made (`public_socket`, handed to aiohttp's connector), after every name has
been resolved and for every redirect, so neither DNS rebinding nor an odd spelling of 127.0.0.1 gets past it.
`parse_url` refuses the spellings that only a C library takes for an address (decimal, octal, hexadecimal).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from yarl import URL

from openjft.loaders.storage.addresses import is_public

from .failure import FetchFailure

SCHEMES = frozenset({"http", "https"})
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]+")


class PrivateAddressError(OSError):
    """A connection to an address that is not public was refused.

    The text is constant: aiohttp keeps the type when all addresses of a host fail alike.
    """

    def __init__(self) -> None:
        super().__init__("the host has a private, loopback, link-local or reserved address")


def public_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for aiohttp's connector (`socket_factory`), if the address is public.

    Args:
        address: (family, type, protocol, canonical name, (host, port, ...)), as `getaddrinfo` gives it.

    Raises:
        PrivateAddressError: it is not.
    """
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise PrivateAddressError
    return socket.socket(family=family, type=kind, proto=protocol)


def parse_url(text: str, *, base: URL | None = None, allow_private: bool = False) -> URL:
    """A URL that may be asked for: http or https, with a host, without user, password and fragment.

    Args:
        text: a canonical URI, or a `Location` header.
        base: what a relative `Location` is relative to.
        allow_private: accept any spelling of an address.

    Raises:
        FetchFailure: `forbidden_scheme`, `private_address`, or `connect_failed` when it is no URL.
    """
    try:
        # Sent as it stands when it can be: requoting would break signed URLs.
        url = URL(text, encoded=_PRINTABLE.fullmatch(text) is not None)
        if base is not None:
            url = base.join(url)
        scheme, host = url.scheme, url.host
        if scheme in SCHEMES and host:
            url = url.with_user(None).with_fragment(None)
            assert url.port is not None
    except ValueError as error:
        raise FetchFailure("connect_failed", f"not a URL: {error}") from None
    if scheme not in SCHEMES:
        raise FetchFailure("forbidden_scheme", f"expected http or https, found {scheme or 'none'}")
    if not host:
        raise FetchFailure("connect_failed", "URL without a host")
    if not allow_private and _is_odd_literal(host):
        raise FetchFailure("private_address", f"host {host!r} spells an address in a way that hides it")
    return url


def _is_odd_literal(host: str) -> bool:
    """Whether the last label is a number, as in 2130706433, 0x7f.1 or 017700000001, and the whole no plain address."""
    labels = host.rstrip(".").split(".")
    if not _NUMERIC.fullmatch(labels[-1]):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
