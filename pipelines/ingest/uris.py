"""Canonical URIs: one spelling for each address, since an image's key is the hash of it.

In: URIs as strangers wrote them. Out: the canonical spelling, or the reason why there is none. Scheme and host
in lower case, IDNA host, no default port, no fragment, no user or password, dot segments resolved, an empty
path as '/', percent-encoding only where it is needed and in upper case (RFC 3986, 6.2.2 and 6.2.3).
Members of tars are `tar+file:///a/b.tar?member=NAME#OFFSET-SIZE`: there the fragment stays, as a locator for
`fetch`, but does not count for the key. Most URIs of a crawl are canonical already: one regular expression over
the Arrow column finds them, and only the rest goes through Python one by one.

It does not ask the network, and does not know that two addresses give the same picture.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import idna
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_URI_BYTES: Final = 8192
BAD_URI: Final = "bad_uri"
FORBIDDEN_SCHEME: Final = "forbidden_scheme"
TAR_PREFIX: Final = "tar+"

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Percent-encodings that are canonical: upper case, and not of an unreserved character.
_ENCODED = r"%(?:[0189A-F][0-9A-F]|2[0-9ABCF]|3[A-F]|40|5[BCDE]|60|7[BCDF])"
_PATH_CHARS = r"\-A-Za-z0-9_~!$&'()*+,;=:@"  # without '.', so that no segment can be a dot segment
_CANONICAL: Final = (
    r"^https?://[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?::(?:[1-9][0-9]{3}|[1-5][0-9]{4}))?"
    rf"(?:/(?:(?:[{_PATH_CHARS}]|{_ENCODED})(?:[{_PATH_CHARS}.]|{_ENCODED})*)?)+"
    rf"(?:\?(?:[{_PATH_CHARS}./?]|{_ENCODED})*)?$"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]")
_TO_ENCODE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
_TO_ENCODE_QUERY = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TAR_QUERY = re.compile(r"member=[^&]+")
_TAR_FRAGMENT = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class UriError(ValueError):
    """A URI without a canonical form; `reason` is the reject's reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class TarMember(NamedTuple):
    """Where a member of a tar lies: bytes [offset, offset + size) of the file at `tar`."""

    tar: str
    name: str
    offset: int
    size: int


class CanonicalUris(NamedTuple):
    """The outcome for a column of n URIs.

    `uris`: (n,) string, null where there is no canonical form. `reasons`: (n,) object array, None where there is
    one. `details`: the same, in words.
    """

    uris: pa.Array
    reasons: np.ndarray[tuple[int], np.dtype[np.object_]]
    details: np.ndarray[tuple[int], np.dtype[np.object_]]


def tar_member_uri(tar: str, name: str, offset: int, size: int) -> str:
    """The URI of a member of the tar at an absolute local path or a URI."""
    base = tar if "://" in tar else "file://" + quote(tar)
    return f"{TAR_PREFIX}{base}?member={quote(name)}#{offset}-{size}"


def parse_tar_member_uri(uri: str) -> TarMember:
    """The parts of a URI made by `tar_member_uri`.

    Raises:
        UriError: it is not one, or has no locator.
    """
    parts = urlsplit(uri)
    found = _TAR_FRAGMENT.fullmatch(parts.fragment)
    if not parts.scheme.startswith(TAR_PREFIX) or not _TAR_QUERY.fullmatch(parts.query) or found is None:
        raise UriError(BAD_URI, f"{uri[:200]}: expected tar+file:///PATH.tar?member=NAME#OFFSET-SIZE")
    scheme = parts.scheme.removeprefix(TAR_PREFIX)
    tar = unquote(parts.path) if scheme == "file" else f"{scheme}://{parts.netloc}{parts.path}"
    return TarMember(tar, unquote(parts.query.removeprefix("member=")), int(found[1]), int(found[2]))


def key_basis(canonical: str) -> str:
    """What of a canonical URI is hashed: all but a tar member's locator."""
    return canonical.partition("#")[0]


def key_bases(canonical: pa.Array) -> pa.Array:
    """`key_basis` of a string column without nulls."""
    if not pc.any(pc.match_substring(canonical, "#")).as_py():
        return canonical
    return pc.replace_substring_regex(canonical, "#.*$", "")


def canonical_uri(uri: str, allowed_schemes: tuple[str, ...]) -> str:
    """The canonical spelling of one URI.

    Args:
        uri: as it was given.
        allowed_schemes: in lower case; 'tar' allows members of tars.

    Raises:
        UriError: it has none, or its scheme is not allowed.
    """
    uri = uri.strip(" \t\r\n\f\v")
    if len(uri.encode()) > MAX_URI_BYTES:
        raise UriError(BAD_URI, f"expected at most {MAX_URI_BYTES} bytes, found {len(uri.encode())}")
    found = _SCHEME.match(uri)
    if found is None:
        raise UriError(BAD_URI, "expected an absolute URI with a scheme")
    scheme = found[1].lower()
    if ("tar" if scheme.startswith(TAR_PREFIX) else scheme) not in allowed_schemes:
        raise UriError(FORBIDDEN_SCHEME, f"scheme {scheme!r} is not in ingest.allowed_schemes")
    if _CONTROL.search(uri.replace(" ", "")):
        raise UriError(BAD_URI, "control character in the URI")
    result = _assemble(scheme, uri[found.end() :])
    if len(result) > MAX_URI_BYTES:
        raise UriError(BAD_URI, f"more than {MAX_URI_BYTES} bytes when encoded")
    return result


def _assemble(scheme: str, rest: str) -> str:
    """Canonical form of `scheme:rest`."""
    rest, _, fragment = rest.partition("#")
    rest, question, query = rest.partition("?")
    inner = scheme.removeprefix(TAR_PREFIX)
    if not rest.startswith("//"):
        if inner != "file" or not rest.startswith("/"):
            raise UriError(BAD_URI, "expected '//' and a host after the scheme")
        rest = "//" + rest  # file:/path
    authority, slash, path = rest[2:].partition("/")
    path = _without_dot_segments(_encoded(slash + path, _TO_ENCODE)) or "/"
    result = f"{scheme}://{_authority(inner, authority)}{path}"
    if inner not in _DEFAULT_PORTS and path.endswith("/"):
        raise UriError(BAD_URI, "expected the path of a file")
    if question:
        result += "?" + _encoded(query, _TO_ENCODE_QUERY)
    if scheme != inner:
        if not _TAR_QUERY.fullmatch(query) or not _TAR_FRAGMENT.fullmatch(fragment):
            raise UriError(BAD_URI, "expected ?member=NAME#OFFSET-SIZE after the tar's address")
        result += "#" + fragment
    return result


def _authority(scheme: str, authority: str) -> str:
    if "@" in authority:
        raise UriError(BAD_URI, "user or password in the URI")
    if scheme == "file":
        if authority.lower() not in {"", "localhost"}:
            raise UriError(BAD_URI, f"file URI of another host, {authority[:100]!r}")
        return ""
    host, port = authority, ""
    if not authority.endswith("]"):
        head, colon, tail = authority.rpartition(":")
        if colon:
            host, port = head, tail
    host = _host(host)
    if not port:
        return host
    if not (port.isascii() and port.isdigit()) or not 0 < int(port[:9]) <= 65535:
        raise UriError(BAD_URI, f"port {port[:20]!r}")
    number = int(port)
    return host if number == _DEFAULT_PORTS.get(scheme) else f"{host}:{number}"


def _host(host: str) -> str:
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise UriError(BAD_URI, f"host name: {str(error)[:200]}") from None
    host = host.lower()
    if not (_HOST.fullmatch(host) or _IPV6.fullmatch(host)):
        raise UriError(BAD_URI, f"host name {host[:100]!r}")
    return host


def _encoded(text: str, to_encode: re.Pattern[str]) -> str:
    """Percent-encodes what must be, decodes what need not be, upper-cases the hex digits."""

    def one(found: re.Match[str]) -> str:
        part = found[0]
        if len(part) == 1:
            return "".join(f"%{byte:02X}" for byte in part.encode())
        char = chr(int(part[1:], 16))
        return char if char in _UNRESERVED else part.upper()

    return to_encode.sub(one, text)


def _without_dot_segments(path: str) -> str:
    """RFC 3986, 5.2.4, for an absolute or empty path."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def canonical_uris(uris: pa.Array, allowed_schemes: tuple[str, ...]) -> CanonicalUris:
    """Canonical spellings of a column of distinct URIs without nulls.

    Args:
        uris: (n,) string.
        allowed_schemes: as for `canonical_uri`.
    """
    size = len(uris)
    reasons, details = np.full(size, None, object), np.full(size, None, object)
    ready = np.zeros(size, bool)
    web = [scheme for scheme in ("http", "https") if scheme in allowed_schemes]
    if web:
        fast = _CANONICAL if len(web) == 2 else _CANONICAL.replace("https?", web[0])
        short = pc.less_equal(pc.binary_length(uris), MAX_URI_BYTES)
        ready = np.array(pc.and_(short, pc.match_substring_regex(uris, fast)))
    slow = np.flatnonzero(~ready)
    if not len(slow):
        return CanonicalUris(uris, reasons, details)
    mended: list[str | None] = []
    for position, text in zip(slow.tolist(), uris.take(pa.array(slow)).to_pylist(), strict=True):
        try:
            mended.append(canonical_uri(text, allowed_schemes))
        except UriError as error:
            mended.append(None)
            reasons[position], details[position] = error.reason, str(error)
    return CanonicalUris(pc.replace_with_mask(uris, pa.array(~ready), pa.array(mended, pa.string())), reasons, details)
