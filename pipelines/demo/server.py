"""The demo's web: a real HTTP server on the loopback, in a process of its own, with all manners of the real web.

In: a folder of pictures and a port. What it answers goes by the first part of the path:

    /pictures/NAME  the file              /gone/NAME    404            /slow/NAME  nothing for a long time
    /moved/NAME     302 to /pictures/     /broken/NAME  500            /loop/NAME  302 for ever
    /noai/NAME      the file, with `X-Robots-Tag: noai`                /           200, for those who ask if it is up

It ends with the `serve` block, and within a second after the process that started it, however that ended. It serves
only the files that lay in the folder when it began, by name, so no path leads out of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import PipelineError

if TYPE_CHECKING:
    from aiohttp import web

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 18_317
SLOW_S: Final = 60.0
_READY: Final = "ready"
_PROGRAM: Final = f"import sys; from {__name__} import main; sys.exit(main(sys.argv[1:]))"
_PARENT_POLL_S: Final = 0.5


def free_port(preferred: int = DEFAULT_PORT) -> int:
    """The preferred port if nobody listens there, so that addresses are the same in every run; else another."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PipelineError(f"expected a free port on {HOST}, found none")


@contextlib.contextmanager
def serve(folder: str | Path, port: int) -> Iterator[str]:
    """Serves the pictures of a drawn web while the block runs; gives the address.

    Args:
        folder: of `draw_web`.
        port: as drawn, since the pairs hold the addresses.

    Raises:
        PipelineError: the folder holds no web, or the port is taken.
    """
    pictures = Path(folder) / "web"
    if not pictures.is_dir():
        raise PipelineError(f"{folder}: expected a drawn web with the folder web/, found none. Draw it first")
    command = [sys.executable, "-c", _PROGRAM, str(pictures), str(port), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            # The line comes when the server listens; an early end closes the pipe, so this never hangs.
            first = process.stdout.readline()
            if first.strip() != _READY:
                reason = (first + process.stdout.read()).strip().rpartition("\n")[2]
                raise PipelineError(f"the demo's server did not start on port {port}: {reason or 'no reason given'}")
            yield f"http://{HOST}:{port}"
        finally:
            process.kill()  # it holds nothing that wants saving


def make_app(pictures: Path) -> web.Application:
    """The application that serves a folder of pictures."""
    from aiohttp import web  # a second to import, and only the server's process needs it

    names = frozenset(path.name for path in pictures.iterdir() if path.is_file())

    async def picture(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in names:
            raise web.HTTPNotFound
        data = (pictures / name).read_bytes()  # some 8 kB from the page cache: not worth a thread
        kind = {"png": "image/png", "gif": "image/gif", "webp": "image/webp"}.get(name.rpartition(".")[2], "image/jpeg")
        return web.Response(body=data, content_type=kind)

    async def noai(request: web.Request) -> web.Response:
        response = await picture(request)
        response.headers["X-Robots-Tag"] = "noai"
        return response

    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"/pictures/{request.match_info['name']}"})

    async def loop(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        other = name.removesuffix("-again") if name.endswith("-again") else f"{name}-again"
        return web.Response(status=302, headers={"Location": f"/loop/{other}"})

    async def slow(request: web.Request) -> web.Response:
        del request
        await asyncio.sleep(SLOW_S)
        return web.Response(text="at last")

    async def gone(request: web.Request) -> web.Response:
        del request
        raise web.HTTPNotFound

    async def broken(request: web.Request) -> web.Response:
        del request
        return web.Response(status=500, text="internal error")

    async def root(request: web.Request) -> web.Response:
        del request
        return web.Response(text="OpenJFT demo\n")

    app = web.Application()
    app.router.add_get("/", root)
    handlers = {
        "pictures": picture, "noai": noai, "moved": moved, "loop": loop, "slow": slow, "gone": gone, "broken": broken,
    }  # fmt: skip
    for prefix, handler in handlers.items():
        app.router.add_get(f"/{prefix}/{{name}}", handler)
    return app


async def _run(pictures: Path, port: int, parent: int) -> None:
    from aiohttp import web

    runner = web.AppRunner(make_app(pictures), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    sys.stdout.write(f"{_READY}\n")
    sys.stdout.flush()
    while os.getppid() == parent:  # orphans get another parent
        await asyncio.sleep(_PARENT_POLL_S)


def main(arguments: list[str]) -> int:
    """The server's process: PICTURES PORT PARENT. Returns the exit status."""
    pictures, port, parent = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    logging.disable(logging.CRITICAL)  # nobody reads the pipe any more: it must not fill
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_run(pictures, port, parent))
        except OSError as error:
            sys.stdout.write(f"{error.strerror or error}\n")
            return 1
    return 0
