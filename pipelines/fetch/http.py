"""Images over http and https: one polite, suspicious client for each unit of work.

In: URLs written by strangers. Out: a `Payload`, or a `FetchFailure` with a counted reason. One attempt, from the
resolution of the name to the last byte, has one deadline, so a server that trickles cannot hold us. The body is
cut off at a cap, redirects are followed by hand with each hop checked, and no compression is accepted, so no
small answer unpacks into a large one. Attempts repeat on 429, 500, 502, 503, 504, time-outs and broken
connections, after an exponential wait with jitter, or what Retry-After asks for, up to a cap.

It sends no cookies and no credentials, uses no proxy of the environment, verifies certificates, and reads no
robots.txt; it obeys the X-Robots-Tag of the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
import random
import re
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import aiohttp
import tenacity
from yarl import URL

from ..config import Fetch
from .addresses import PrivateAddressError, parse_url, public_socket
from .failure import FetchFailure, Payload

RETRIED_STATUS: Final = frozenset({429, 500, 502, 503, 504})
REDIRECT_STATUS: Final = frozenset({301, 302, 303, 307, 308})
MAX_WAIT_S: Final = 30.0  # of one wait, also when Retry-After asks for more
_DNS_TTL_S: Final = 300
_READ_BUFFER: Final = 1 << 18  # an image of a web page arrives without pausing the socket
_FORBIDDING: Final = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_NOT_AN_AGENT: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


class Slots:
    """Limits on what runs at once: `total` of everything, and `per_host` of one host.

    The host's slot is taken first, so requests that wait for a busy host keep nobody else from running. A
    redirect to another host keeps the slot of the first.
    """

    def __init__(self, *, total: int, per_host: int) -> None:
        self.running = asyncio.Semaphore(total)
        self._per_host = per_host
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with the number of those who use it

    @contextlib.asynccontextmanager
    async def host(self, name: str | None) -> AsyncIterator[None]:
        """Holds a slot of one host and one of all; None is no host."""
        if name is None:
            async with self.running:
                yield
            return
        slot, users = self._hosts.get(name) or (asyncio.Semaphore(self._per_host), 0)
        self._hosts[name] = (slot, users + 1)
        try:
            async with slot, self.running:
                yield
        finally:
            slot, users = self._hosts.pop(name)
            if users > 1:
                self._hosts[name] = (slot, users - 1)

    async def sleep(self, seconds: float) -> None:
        """Waits without holding one of all slots; the host's is kept, so that it gets its rest."""
        self.running.release()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self.running.acquire()


class HttpClient:
    """Downloads images; an async context manager that owns a pool of connections."""

    def __init__(self, settings: Fetch, slots: Slots) -> None:
        self._settings = settings
        self._agent = settings.user_agent.partition("/")[0].strip().lower()
        self._retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(settings.retries + 1),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, FetchFailure) and error.retry),
            wait=_Wait(settings.backoff_s),
            sleep=slots.sleep,
            reraise=True,
        )
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        # Our slots limit what runs: a limit here would let requests time out in the connector's queue.
        connector = aiohttp.TCPConnector(
            limit=0,
            ttl_dns_cache=_DNS_TTL_S,
            socket_factory=None if self._settings.allow_private else public_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={
                "User-Agent": self._settings.user_agent,
                "Accept": "image/*,*/*;q=0.8",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the attempt's deadline is ours
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BUFFER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, url: URL) -> Payload:
        """Downloads one image; the caller holds a slot.

        Args:
            url: of `parse_url`.

        Raises:
            FetchFailure: with the number of attempts.
        """
        attempts = 0

        async def attempt() -> Payload:
            nonlocal attempts
            attempts += 1
            status, data = await self._attempt(url)
            return Payload(data, attempts, status)

        try:
            # A copy, since tenacity keeps the state of an iteration on the object.
            return await self._retrying.copy()(attempt)
        except FetchFailure as failure:
            failure.attempts = attempts
            raise

    async def _attempt(self, url: URL) -> tuple[int, bytes]:
        """One attempt within its deadline: (status, body)."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._follow(url)
        except TimeoutError:
            text = f"no whole answer within {self._settings.timeout_s:g} s"
            raise FetchFailure("timeout", text, retry=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error) from error

    async def _follow(self, url: URL) -> tuple[int, bytes]:
        settings = self._settings
        seen = {url}
        for _ in range(settings.max_redirects + 1):
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status not in REDIRECT_STATUS:
                    return response.status, await self._body(response)
                location = response.headers.get("Location")
                if location is None:
                    raise FetchFailure("http_error", "redirect without Location", http_status=response.status)
                url = parse_url(location, base=url, allow_private=settings.allow_private)
            if url in seen:
                raise FetchFailure("redirect_loop", f"redirected to {url} a second time")
            seen.add(url)
        raise FetchFailure("redirect_loop", f"more than {settings.max_redirects} redirects")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        self._check(response)
        cap = self._settings.max_bytes
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > cap:
                raise FetchFailure("too_many_bytes", f"more than {cap} bytes", http_status=response.status)
            parts.append(part)
        return b"".join(parts)

    def _check(self, response: aiohttp.ClientResponse) -> None:
        """Refuses an answer by its status and headers.

        Raises:
            FetchFailure: of every kind that can be told before the body.
        """
        status = response.status
        if status not in {200, 203}:
            raise FetchFailure(
                "http_error",
                f"{status} {response.reason or ''}",
                http_status=status,
                retry=status in RETRIED_STATUS,
                retry_after_s=retry_after(response.headers.get("Retry-After")),
            )
        if self._settings.respect_noai and forbids_use(response.headers.getall("X-Robots-Tag", ()), self._agent):
            raise FetchFailure("disallowed", "X-Robots-Tag forbids it", http_status=status)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise FetchFailure("read_failed", f"Content-Encoding {encoding!r}, asked for identity", http_status=status)
        length = response.content_length
        if length is not None and length > self._settings.max_bytes:
            text = f"Content-Length {length}, cap is {self._settings.max_bytes} bytes"
            raise FetchFailure("too_many_bytes", text, http_status=status)


class _Wait(tenacity.wait.wait_base):
    """Exponential wait with jitter, or longer when the server asks for it."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        wait = self._first_s * 2.0 ** (retry_state.attempt_number - 1) * random.uniform(0.5, 1.5)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after_s if isinstance(error, FetchFailure) else None
        return min(max(wait, asked or 0.0), MAX_WAIT_S)


def _failure(error: aiohttp.ClientError | OSError) -> FetchFailure:
    """The counted reason of an exception of aiohttp or of a socket."""
    if isinstance(error, aiohttp.ClientSSLError):
        return FetchFailure("tls_failed", error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FetchFailure("dns_failed", error, retry=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, PrivateAddressError):
            return FetchFailure("private_address", error.os_error)
        return FetchFailure("connect_failed", error, retry=True)
    if isinstance(error, aiohttp.InvalidURL):
        return FetchFailure("connect_failed", error)
    # The connection broke: before the answer, within it (a Content-Length that lies), or it was not HTTP.
    text = f"{type(error).__name__}: {error}"
    return FetchFailure("read_failed", text, retry=not isinstance(error, aiohttp.ClientResponseError))


def retry_after(value: str | None, *, now: dt.datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None when it is missing or wrong."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max((date - (now or dt.datetime.now(dt.UTC))).total_seconds(), 0.0)


def forbids_use(values: list[str] | tuple[str, ...], agent: str) -> bool:
    """Whether X-Robots-Tag headers forbid the use of an image.

    A value is `directive, directive` for everybody, or `agent: directive, directive` for one crawler.

    Args:
        values: the headers.
        agent: our name, the User-Agent up to the first '/', in lower case.
    """
    for value in values:
        addressee = ""
        for part in value.lower().split(","):
            name, colon, directive = part.partition(":")
            if colon and name.strip() in _NOT_AN_AGENT:
                continue
            if colon:
                addressee = name.strip()
            if (directive if colon else name).strip() in _FORBIDDING and addressee in {"", "*", agent}:
                return True
    return False
