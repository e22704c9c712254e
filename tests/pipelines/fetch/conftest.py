"""A web server on the loopback that behaves badly on request, and pictures to serve."""

import asyncio
import collections
import gzip
import io
import socket
import struct
import threading
import zlib

import numpy as np
import pytest
from aiohttp import web
from PIL import Image


def jpeg(seed=0, size=(64, 48), **options):
    """A picture of coloured patches; each seed gives another one."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_bomb(side=50_000):
    """A whole, valid 1-bit PNG of side x side black pixels in a few hundred kB: one compressed block, repeated."""
    row = 1 + (side + 7) // 8
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(row * 100)) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    adler = (row * side % 65521 << 16) + 1
    body = b"\x78\xda" + block * (side // 100) + end + struct.pack(">I", adler)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return jpeg(3, exif=exif)


def palette_with_alpha():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    return saved(image, "PNG", transparency=b"\0\xff")


def animation():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


# path: (body, what the catalog must say)
PICTURES = {
    "ok.jpg": (jpeg(), "ok"),
    "grey.jpg": (saved(Image.new("L", (40, 40), 70), "JPEG"), "ok"),
    "cmyk.jpg": (saved(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG"), "ok"),
    "wide.png": (saved(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40), "PNG"), "ok"),
    "palette.png": (palette_with_alpha(), "ok"),
    "rotated.jpg": (oriented(6), "ok"),
    "animated.gif": (animation(), "ok"),
    "page.jpg": (b"<!DOCTYPE html><html><body>Not found</body></html>", "not_an_image"),
    "cut.jpg": (jpeg()[:-300], "truncated"),
    "nothing.jpg": (b"", "empty"),
    "bomb.png": (png_bomb(), "too_many_pixels"),
    "tiny.jpg": (jpeg(size=(4, 4)), "too_small"),
}


class BadServer:
    """An aiohttp server in a thread; `hits` counts the requests for each path, `url(path)` gives an address."""

    def __init__(self):
        self.hits = collections.Counter()
        self.headers = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self):
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request):
        path = request.match_info["path"]
        self.hits[path] += 1
        self.headers[path] = request.headers
        if path in PICTURES:
            return web.Response(body=PICTURES[path][0], content_type="image/jpeg")
        return await getattr(self, "_" + path.partition("/")[0])(request, path)

    async def _picture(self, request, path):
        return web.Response(body=jpeg(int(path.rpartition("/")[2])), content_type="image/jpeg")

    async def _status(self, request, path):
        return web.Response(status=int(path.split("/")[1]), text="no")

    async def _flaky(self, request, path):
        """flaky/STATUS/N/...: N failures, then a picture."""
        _, status, failures, *_ = path.split("/")
        if self.hits[path] <= int(failures):
            return web.Response(status=int(status), headers={"Retry-After": "0"})
        return web.Response(body=jpeg(7))

    async def _busy(self, request, path):
        """Asks once to wait a second."""
        if self.hits[path] == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.Response(body=jpeg(8))

    async def _trickle(self, request, path):
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        for _ in range(2000):
            await response.write(b"\xff")
            await asyncio.sleep(0.02)
        return response

    async def _hang(self, request, path):
        await asyncio.sleep(60)

    async def _hop(self, request, path):
        """hop/N: N redirects, then a picture."""
        left = int(path.rpartition("/")[2])
        raise web.HTTPFound(f"/hop/{left - 1}" if left > 1 else "../ok.jpg")

    async def _loop_(self, request, path):
        raise web.HTTPMovedPermanently("/loop_/b" if path.endswith("a") else "/loop_/a")

    async def _to(self, request, path):
        return web.Response(status=302, headers={"Location": request.query["url"]})

    async def _nowhere(self, request, path):
        return web.Response(status=302)

    async def _long(self, request, path):
        """Declares more than it sends."""
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(jpeg())
        request.transport.close()
        return response

    async def _short(self, request, path):
        """Declares less than it sends."""
        response = web.StreamResponse(headers={"Content-Length": "300"})
        await response.prepare(request)
        request.transport.write(jpeg())
        return response

    async def _huge(self, request, path):
        response = web.StreamResponse(headers={"Content-Length": "1000000000000"})
        await response.prepare(request)
        return response

    async def _endless(self, request, path):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65536))
            self.hits["endless_bytes"] += 65536

    async def _gzip(self, request, path):
        return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})

    async def _robots(self, request, path):
        return web.Response(body=jpeg(), headers={"X-Robots-Tag": request.query["tag"]})

    async def _cookie(self, request, path):
        response = web.Response(body=jpeg())
        response.set_cookie("seen", "1")
        return response

    async def _reset(self, request, path):
        """Breaks the connection with a TCP reset."""
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return web.Response()

    async def _garbage(self, request, path):
        request.transport.write(b"this is not HTTP\r\n\r\n")
        request.transport.close()
        return web.Response()


@pytest.fixture(scope="session")
def server():
    bad = BadServer()
    yield bad
    bad.close()


@pytest.fixture(scope="session")
def pictures():
    """Path of each good or bad picture on the server, with the status that it must get."""
    return {path: status for path, (_, status) in PICTURES.items()}


@pytest.fixture(scope="session")
def make_jpeg():
    return jpeg


@pytest.fixture
def dead_url():
    """An address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/x.jpg"
