"""Requests to a web server by urllib3: repeated where that may help, redirected with care, safe from many threads.

In: the address of a file and what to do with the answer. Out: what that made of it, or a `DatasetError` whose message
holds no credentials. The loop is here and not in urllib3, whose own writes the whole address, signature and all, to
its log when it repeats a request, and does not repeat one whose body broke off.
"""

from __future__ import annotations

import dataclasses
import functools
import socket
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

import urllib3
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from ..errors import DatasetError
from . import addresses
from .addresses import HttpRoot, Origin

MAX_REDIRECTS: Final = 5
REPEATED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_EXPIRED: Final = frozenset({401, 403, 404, 410})  # what a signed address answers once its time is over
_CONNECTIONS: Final = 64  # kept open for the next request; more are made when more threads ask
_USER_AGENT: Final = "openjft-loader"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WebSettings:
    """How long to wait, and how often to try again: 0, then `backoff_s` times 2, 4, 8, ... seconds between tries."""

    retries: int = 6
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0  # also of what a server asks for by Retry-After
    connect_s: float = 10.0
    read_s: float = 60.0


class Hop(NamedTuple):
    """An address to ask, and whether it must be a public one, since a public host sent us there."""

    url: str
    public: bool


@dataclasses.dataclass
class Place:
    """A file on a server: its address, how messages name it, and where it was last redirected to."""

    url: str
    where: str
    hop: Hop | None = None


class PrivateAddressError(Exception):
    """A public host redirects to an address that only this network can see. No OSError: urllib3 would wrap it."""


class WebClient:
    """Asks one server, and those that it redirects to.

    Args:
        root: of the dataset; its credentials go to its own host and to no other.
        settings: time-outs and repetitions.
        is_public: tells whether an IP address is one of the public internet.
    """

    def __init__(
        self,
        root: HttpRoot,
        settings: WebSettings = WebSettings(),
        *,
        is_public: Callable[[str], bool] = addresses.is_public,
    ) -> None:
        self._root, self._settings, self._is_public = root, settings, is_public
        timeout = urllib3.Timeout(connect=settings.connect_s, read=settings.read_s)
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=timeout)
        self._public_pool = urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=timeout)
        self._public_pool.pool_classes_by_scheme = _guarded_pools(is_public)
        self._retry = _Retry(
            total=settings.retries,
            status_forcelist=REPEATED,
            backoff_factor=settings.backoff_s,
            backoff_max=settings.max_backoff_s,
            backoff_jitter=settings.backoff_s / 2,
        )
        self._is_public_host = functools.lru_cache(maxsize=256)(self._resolves_to_public)

    def get(self, place: Place, headers: Mapping[str, str], use: Callable[[BaseHTTPResponse], T]) -> T:
        """What `use` makes of the answer to a GET; it is called again when the body breaks off.

        Args:
            place: the file; where it is redirected to is kept in it for the next request.
            headers: of the request.
            use: reads the body as far as it wants; it may raise any error.

        Raises:
            DatasetError: there is no answer, or none that could be used, after all repetitions.
        """
        retry = self._retry
        while True:
            answer: BaseHTTPResponse | None = None
            fault: Exception | None = None
            try:
                # A response that was read to its end gives its connection back, any other one closes it.
                with self._follow(place, headers) as answer:
                    if answer.status not in REPEATED:
                        return use(answer)
            except faults.SSLError as error:
                raise DatasetError(f"{place.where}: expected a TLS connection, found {error}") from None
            except PrivateAddressError:
                raise DatasetError(
                    f"{place.where}: expected a redirect to a public address, found one to a private address; "
                    "name the address itself if you trust it"
                ) from None
            except faults.HTTPError as error:
                fault = error
            try:
                retry = retry.increment("GET", "", response=answer if fault is None else None, error=fault)
            except faults.MaxRetryError:
                # Not `from` it: the errors of urllib3 hold the address, and with it what may sign it.
                raise DatasetError(
                    f"{place.where}: expected an answer, found {_reason(fault, answer)}, {self._settings.retries + 1} "
                    "times; look at the server and the network, then try again"
                ) from None
            retry.sleep(answer if fault is None else None)

    def _follow(self, place: Place, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """The answer at the end of all redirects."""
        hop = place.hop or Hop(place.url, public=False)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(hop, headers)
            location = answer.get_redirect_location()
            if location:
                answer.close()
                hop = self._redirected(hop, location, place.where)
            elif place.hop is not None and answer.status in _EXPIRED:
                answer.close()
                place.hop, hop = None, Hop(place.url, public=False)
            else:
                place.hop = hop if hop.url != place.url else None
                return answer
        raise DatasetError(f"{place.where}: expected at most {MAX_REDIRECTS} redirects, found more")

    def _ask(self, hop: Hop, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """One request. Raises urllib3's errors."""
        sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        if Origin.of(hop.url) == self._root.origin:
            sent |= self._root.headers
        pool = self._public_pool if hop.public else self._pool
        return pool.request(
            "GET", hop.url, headers=sent, redirect=False, retries=False, preload_content=False, decode_content=False
        )

    def _redirected(self, hop: Hop, location: str, where: str) -> Hop:
        """Where a redirect leads to, if one may go there."""
        url = urllib.parse.urljoin(hop.url, location)
        here = Origin.of(hop.url)
        try:
            there = Origin.of(url)
        except ValueError as error:
            raise DatasetError(f"{where}: redirect: {error}") from None
        if (here.scheme, there.scheme) == ("https", "http"):
            raise DatasetError(f"{where}: expected a redirect to https, found one to http, which anyone may read along")
        return Hop(url, public=hop.public or self._is_public_host(here))

    def _resolves_to_public(self, origin: Origin) -> bool:
        """Whether a host has a public address; one that does not resolve counts as one."""
        try:
            found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except OSError:
            return True
        return any(self._is_public(str(address[4][0])) for address in found)


class _Retry(urllib3.Retry):
    """Never waits longer than the largest back-off: the header is the server's, and may say a year, or nonsense."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            asked = super().get_retry_after(response)
        except faults.InvalidHeader:
            return None
        return None if asked is None else min(asked, self.backoff_max)


def _guarded_pools(is_public: Callable[[str], bool]) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools of connections, but each looks at whom it reached before it says a word.

    The address that a connection has got is judged, not the one that a name had a moment before.
    """

    def checked(reached: socket.socket) -> socket.socket:
        if not is_public(str(reached.getpeername()[0])):
            reached.close()
            raise PrivateAddressError
        return reached

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return checked(super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return checked(super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _reason(fault: Exception | None, answer: BaseHTTPResponse | None) -> str:
    """What went wrong, without the address."""
    match fault:
        case None:
            return f"status {answer.status if answer is not None else 'unknown'}"
        case faults.NameResolutionError():
            return "that the host's name does not resolve"
        case faults.ConnectTimeoutError() | faults.NewConnectionError():
            return "that no connection could be made"
        case faults.ReadTimeoutError():
            return "that it did not come in time"
        case faults.IncompleteRead():
            return "one that breaks off"
        case _:
            return f"a broken connection ({type(fault).__name__})"
