"""A real web server for the tests: files with ranges, and tricks by path."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from openjft.loaders.storage.addresses import HttpRoot
from openjft.loaders.storage.http import HttpFiles
from openjft.loaders.storage.web import WebClient, WebSettings

RANGE = re.compile(r"bytes=(\d+)-(\d+)")
QUICK = WebSettings(retries=3, backoff_s=0.001, connect_s=5, read_s=5)


class Asked(NamedTuple):
    """A request that came in."""

    path: str
    query: str
    range: str | None
    authorization: str | None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        path = unquote(parts.path).lstrip("/")
        headers = self.headers
        with site.lock:
            site.asked.append(Asked(path, parts.query, headers.get("Range"), headers.get("Authorization")))
            number = sum(asked.path == path for asked in site.asked)
        trick = site.tricks.get(path)
        with contextlib.suppress(ConnectionError):
            if trick is None or not trick(self, number):
                self.send_file(site.root / path)

    def send_file(self, path: Path, **changes: str) -> None:
        """A file, or the range of it that was asked for; `changes` replace headers."""
        if not path.is_file():
            self.give(404, b"no such file")
            return
        data = path.read_bytes()
        etag = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            self.give(200, data, **etag, **changes)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        if first >= len(data):
            self.give(416, b"", **etag, **{"Content-Range": f"bytes */{len(data)}"})
            return
        told = etag | {"Content-Range": f"bytes {first}-{last}/{len(data)}"} | changes
        self.give(206, data[first : last + 1], **told)

    def give(self, status: int, body: bytes = b"", **headers: str) -> None:
        """An answer; headers of the value "" are left out."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Site:
    """A running server: its address, the folder that it serves, what it was asked, and tricks by path."""

    def __init__(self, root: Path, host: str = "127.0.0.1") -> None:
        self.root, self.asked, self.lock = root, [], threading.Lock()
        self.tricks: dict[str, Callable[[Handler, int], bool]] = {}
        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.site = self  # type: ignore[attr-defined]
        self.host = f"{host}:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def times(self, path: str) -> int:
        """How often a file was asked for."""
        return sum(asked.path == path for asked in self.asked)


@pytest.fixture
def make_site(tmp_path):
    """make_site(root=tmp_path / "site", host="127.0.0.1") -> Site."""
    sites = []

    def make(root: Path | None = None, host: str = "127.0.0.1") -> Site:
        folder = root or tmp_path / "site"
        folder.mkdir(exist_ok=True)
        sites.append(Site(folder, host))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site):
    return make_site()


@pytest.fixture
def files_of():
    """files_of(url, is_public=...) -> HttpFiles that waits for milliseconds only."""

    def make(url: str, **kwargs) -> HttpFiles:
        return HttpFiles(url, WebClient(HttpRoot(url), QUICK, **kwargs))

    return make
