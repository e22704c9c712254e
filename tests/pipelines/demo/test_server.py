from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from openjft.pipelines.demo import serve
from openjft.pipelines.demo.plan import CLOSED_PORT
from openjft.pipelines.demo.server import HOST, free_port
from openjft.pipelines.errors import PipelineError


@pytest.fixture(scope="module")
def served(small_web):
    with serve(small_web.folder, small_web.port) as address:
        yield address


def get(uri, timeout=5.0):
    """(status, headers, body), redirects not followed."""
    parts = urllib.parse.urlsplit(uri)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def one(web, kind):
    return next(f["uri"] for f in web.fates().to_pylist() if f["kind"] == kind)


def test_pictures_are_served_as_they_lie(small_web, served):
    uri = one(small_web, "plain")
    assert uri.startswith(f"{served}/pictures/")
    status, headers, body = get(uri)
    assert status == 200
    assert headers["Content-Type"].startswith("image/")
    assert body == (small_web.folder / "web" / uri.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize(("kind", "expected"), [("gone", 404), ("broken", 500), ("moved", 302), ("loop", 302)])
def test_misbehaving_paths_answer_with_their_status(small_web, served, kind, expected):
    assert get(one(small_web, kind))[0] == expected


def test_a_moved_picture_is_where_it_says(small_web, served):
    location = get(one(small_web, "moved"))[1]["Location"]
    assert get(served + location)[0] == 200


def test_the_loop_does_not_end(small_web, served):
    with pytest.raises(urllib.error.HTTPError, match="loop"):
        urllib.request.urlopen(one(small_web, "loop"), timeout=5)


def test_slow_is_slower_than_we_wait(small_web, served):
    with pytest.raises(TimeoutError):
        get(one(small_web, "slow"), timeout=0.5)


def test_nobody_listens_at_the_closed_port(small_web, served):
    uri = one(small_web, "closed")
    assert uri.startswith(f"http://{HOST}:{CLOSED_PORT}/")
    with pytest.raises(ConnectionRefusedError):
        get(uri)


def test_html_and_nothing_come_under_names_of_pictures(small_web, served):
    status, headers, body = get(one(small_web, "html"))
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert body.startswith(b"<!DOCTYPE html>")
    assert get(one(small_web, "empty"))[2] == b""


def test_one_server_forbids_use_for_training(small_web, served):
    assert get(one(small_web, "noai"))[1]["X-Robots-Tag"] == "noai"


@pytest.mark.parametrize("path", ["/pictures/..%2Fweb.json", "/pictures/../web.json", "/web.json", "/pictures/x.jpg"])
def test_no_path_leads_out_of_the_folder(small_web, served, path):
    assert get(served + path)[0] == 404


def test_a_taken_port_is_told(small_web, served):
    with pytest.raises(PipelineError, match="did not start on port"), serve(small_web.folder, small_web.port):
        pass


def test_a_folder_without_a_web_is_told(tmp_path):
    with pytest.raises(PipelineError, match="expected a drawn web"), serve(tmp_path, free_port(0)):
        pass


def test_the_server_ends_with_the_block(small_web):
    port = free_port(0)
    with serve(small_web.folder, port) as address:
        assert get(f"{address}/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        get(f"{address}/")


def test_the_server_ends_with_a_killed_parent(small_web):
    port = free_port(0)
    program = (
        "import sys, time; from openjft.pipelines.demo.server import serve\n"
        f"with serve({str(small_web.folder)!r}, {port}): print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"up\n"
        os.kill(parent.pid, signal.SIGKILL)
        parent.stdout.close()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return
        time.sleep(0.1)
    pytest.fail("the server outlived the process that started it")


def test_a_free_port_is_the_preferred_one_unless_it_is_taken():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken
