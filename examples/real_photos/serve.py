"""The web's server: real HTTP on the loopback, in a process of its own.

In: a JSON file {"below": [folders], "routes": {path: file}}. It answers `/PATH` with the file, anything else with
404. Only files of the list are served, and the list may only name files below the folders: no path of a request
ever reaches the file system. It ends with the block, and within a second after the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiohttp import web

from openjft.pipelines.errors import PipelineError

HOST: Final = "127.0.0.1"
_READY: Final = "ready"
_PARENT_POLL_S: Final = 0.5
_TYPES: Final = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}


@contextlib.contextmanager
def serve(routes: Path, port: int) -> Iterator[str]:
    """Serves while the block runs; gives the address.

    Raises:
        PipelineError: the port is taken, or the list names a file outside its folders.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(routes), str(port), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()  # an early end closes the pipe: this never hangs
            if first.strip() != _READY:
                reason = (first + process.stdout.read()).strip().rpartition("\n")[2]
                raise PipelineError(f"the server did not start on port {port}: {reason}. Give another with --port")
            yield f"http://{HOST}:{port}"
        finally:
            process.kill()  # it holds nothing that wants saving


def read_routes(path: Path) -> dict[str, Path]:
    """Path -> file.

    Raises:
        PipelineError: a file lies outside the folders.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    below = [Path(folder).resolve() for folder in value["below"]]
    routes: dict[str, Path] = {}
    for route, name in value["routes"].items():
        file = Path(name).resolve()
        if not any(folder in file.parents for folder in below):
            raise PipelineError(f"{path}: expected files below {', '.join(map(str, below))}, found {file}")
        routes[f"/{route}"] = file
    return routes


def make_app(routes: dict[str, Path]) -> web.Application:
    """The application that serves a list of files."""

    async def answer(request: web.Request) -> web.Response:
        file = routes.get(request.path)
        if file is None:
            raise web.HTTPNotFound
        # Some 30 kB from the page cache: not worth a thread.
        return web.Response(body=file.read_bytes(), content_type=_TYPES.get(file.suffix.lower(), "image/jpeg"))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


async def _run(routes: dict[str, Path], port: int, parent: int) -> None:
    runner = web.AppRunner(make_app(routes), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    print(_READY, flush=True)
    while os.getppid() == parent:  # orphans get another parent
        await asyncio.sleep(_PARENT_POLL_S)


def main(arguments: list[str]) -> int:
    """The server's process: ROUTES PORT PARENT."""
    logging.disable(logging.CRITICAL)  # nobody reads the pipe any more: it must not fill
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(read_routes(Path(arguments[0])), int(arguments[1]), int(arguments[2])))
    except (OSError, PipelineError) as error:
        print(getattr(error, "strerror", None) or error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
