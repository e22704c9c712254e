from __future__ import annotations

import hashlib
import io
import logging
import traceback

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.loaders import DatasetError
from openjft.loaders.storage import http, web
from openjft.loaders.storage.web import Hop

DATA = np.random.default_rng(0).bytes(50_000)


@pytest.fixture
def served(site):
    (site.root / "data.bin").write_bytes(DATA)
    (site.root / "empty.bin").write_bytes(b"")
    return site


def read(files, size=1_000, offset=20_000, name="data.bin") -> bytes:
    return files.random_access(name).read_at(size, offset)


@pytest.mark.parametrize(
    ("size", "offset"), [(1, 0), (10, 49_990), (100, 49_990), (5, 50_000), (5, 99_999), (50_000, 0), (0, 7)]
)
def test_a_range_gives_the_files_bytes_and_fewer_at_its_end(served, files_of, size, offset):
    file = files_of(served.url).random_access("data.bin")
    assert file.read_at(size, offset) == DATA[offset : offset + size]
    assert file.read_at(size, offset) == DATA[offset : offset + size]  # its size is known now
    assert file.size() == len(DATA)


def test_an_empty_file_is_empty(served, files_of):
    file = files_of(served.url).random_access("empty.bin")
    assert (file.read_at(10, 0), file.size()) == (b"", 0)
    assert files_of(served.url).open("empty.bin").read() == b""


def test_a_server_without_ranges_is_refused_before_a_body_is_read(served, files_of):
    sent = []

    def whole(handler, _number):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:  # until the client hangs up
            handler.wfile.write(bytes(1 << 20))
            sent.append(1 << 20)

    served.tricks["data.bin"] = whole
    with pytest.raises(DatasetError, match=r"data\.bin: .*status 200.*knows no ranges"):
        read(files_of(served.url))
    assert sum(sent) < 1 << 27


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(served, files_of, status):
    served.tricks["data.bin"] = lambda handler, number: number <= 2 and (handler.give(status) or True)
    assert read(files_of(served.url)) == DATA[20_000:21_000]
    assert served.times("data.bin") == 3


def test_a_server_that_stays_busy_is_named_after_all_tries(served, files_of):
    served.tricks["data.bin"] = lambda handler, _number: handler.give(503) or True
    with pytest.raises(DatasetError, match=r"data\.bin: expected an answer, found status 503, 4 times"):
        read(files_of(served.url))
    assert served.times("data.bin") == 4


@pytest.mark.parametrize("asked", ["31536000", "tomorrow", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_does_not_decide_how_long_we_wait(served, files_of, monkeypatch, asked):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    served.tricks["data.bin"] = lambda handler, number: (
        number == 1 and (handler.give(503, **{"Retry-After": asked}) or True)
    )
    assert read(files_of(served.url)) == DATA[20_000:21_000]
    assert all(wait <= web.WebSettings().max_backoff_s for wait in waits)


def break_off(handler, _number):
    handler.send_response(206)
    handler.send_header("Content-Length", "1000")
    handler.send_header("Content-Range", f"bytes 20000-20999/{len(DATA)}")
    handler.send_header("ETag", f'"{hashlib.md5(DATA).hexdigest()}"')
    handler.end_headers()
    handler.wfile.write(DATA[20_000:20_400])
    handler.close_connection = True
    return True


def test_a_body_that_breaks_off_is_asked_for_again(served, files_of):
    served.tricks["data.bin"] = lambda handler, number: number == 1 and break_off(handler, number)
    assert read(files_of(served.url)) == DATA[20_000:21_000]


def test_a_body_that_always_breaks_off_is_an_error(served, files_of):
    served.tricks["data.bin"] = break_off
    with pytest.raises(DatasetError, match=r"data\.bin: expected an answer, found (one that breaks off|a broken conn)"):
        read(files_of(served.url))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("bytes 0-999/50000", "expected bytes 20000-20999, found 'bytes 0-999/50000'"),
        ("bytes 20000-20999/*", "expected a Content-Range with the file's size"),
        ("", "expected a Content-Range with the file's size, found ''"),
        ("bytes 20000-20998/50000", "expected bytes 20000-20999"),
    ],
)
def test_another_range_than_the_one_asked_for_is_refused(served, files_of, told, message):
    trick = {"Content-Range": told}
    served.tricks["data.bin"] = lambda handler, _number: handler.send_file(served.root / "data.bin", **trick) or True
    with pytest.raises(DatasetError, match=r"data\.bin: ") as caught:
        read(files_of(served.url))
    assert message in str(caught.value)


@pytest.mark.parametrize("other", [DATA + b"!", bytes(len(DATA))], ids=["size", "etag"])
def test_a_file_that_changes_between_two_reads_is_an_error(served, files_of, other):
    file = files_of(served.url).random_access("data.bin")
    file.read_at(10, 0)
    (served.root / "data.bin").write_bytes(other)
    with pytest.raises(DatasetError, match=r"data\.bin: expected the file as it was .* changed while it was read"):
        file.read_at(10, 10)


def test_a_file_of_another_size_than_the_manifests_is_an_error(served, files_of):
    with pytest.raises(DatasetError, match=r"data\.bin: expected 50,001 bytes, as the manifest says, found 50,000"):
        files_of(served.url).random_access("data.bin", 50_001).read_at(1, 0)


def test_a_file_that_the_server_encodes_is_refused(served, files_of):
    trick = {"Content-Encoding": "gzip"}
    served.tricks["data.bin"] = lambda handler, _number: handler.send_file(served.root / "data.bin", **trick) or True
    with pytest.raises(DatasetError, match="found it encoded"):
        read(files_of(served.url))


@pytest.mark.parametrize(("status", "message"), [(404, "found none"), (403, "signed"), (401, "user"), (400, "400")])
def test_an_answer_without_a_file_says_what_to_look_at(served, files_of, status, message):
    served.tricks["data.bin"] = lambda handler, _number: handler.give(status) or True
    for ask in (read, lambda files: files.open("data.bin"), lambda files: files.read("data.bin", 99_999)):
        with pytest.raises(DatasetError, match=rf"data\.bin: .*{message}"):
            ask(files_of(served.url))


def test_a_whole_file_is_read_up_to_a_bound(served, files_of):
    files = files_of(served.url)
    assert files.read("data.bin", len(DATA)) == DATA
    with pytest.raises(DatasetError, match=r"expected at most 49,999 bytes, found 50000"):
        files.read("data.bin", len(DATA) - 1)

    def chunked(handler, _number):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"c350\r\n" + DATA + b"\r\n0\r\n\r\n")
        return True

    served.tricks["data.bin"] = chunked
    assert files.read("data.bin", len(DATA)) == DATA
    with pytest.raises(DatasetError, match="expected at most 49,999 bytes, found more"):
        files.read("data.bin", len(DATA) - 1)


def test_sizes_are_those_of_the_files_that_are_there(served, files_of):
    found = files_of(served.url).sizes(["data.bin", "none.bin", "empty.bin"])
    assert found == {"data.bin": len(DATA), "empty.bin": 0}


@pytest.mark.parametrize("small", [1 << 20, 1_000])
def test_an_opened_file_seeks_and_reads_as_a_local_one(served, files_of, monkeypatch, small):
    monkeypatch.setattr(http, "SMALL_BYTES", small)
    table = pa.table({"a": np.arange(30_000), "b": np.random.default_rng(1).random(30_000)})
    pq.write_table(table, served.root / "table.parquet", row_group_size=7_000)
    with files_of(served.url).open("table.parquet") as source:
        assert pq.read_table(source).equals(table)
    with files_of(served.url).open("data.bin") as source, io.BytesIO(DATA) as local:
        for how in ((10, 0), (-100, 2), (7, 1), (40_000, 0)):
            assert (source.seek(*how), source.read(3_000)) == (local.seek(*how), local.read(3_000))


# -- redirects -----------------------------------------------------------------------------------------------------


def redirect(target):
    return lambda handler, _number: handler.give(302, Location=target) or True


def test_redirects_are_followed_and_the_end_is_asked_directly_from_then_on(served, files_of):
    served.tricks["old.bin"] = redirect("/middle.bin")
    served.tricks["middle.bin"] = redirect("/data.bin")
    file = files_of(served.url).random_access("old.bin")
    assert [file.read_at(9, at) for at in (0, 9, 18)] == [DATA[:9], DATA[9:18], DATA[18:27]]
    assert [served.times(name) for name in ("old.bin", "middle.bin", "data.bin")] == [1, 1, 3]


def test_a_redirect_whose_end_has_expired_is_asked_for_anew(served, files_of):
    (served.root / "again.bin").write_bytes(DATA)
    served.tricks["old.bin"] = lambda handler, number: redirect("/data.bin" if number == 1 else "/again.bin")(
        handler, number
    )
    served.tricks["data.bin"] = lambda handler, number: number > 1 and (handler.give(403) or True)
    file = files_of(served.url).random_access("old.bin")
    assert [file.read_at(9, at) for at in (0, 9)] == [DATA[:9], DATA[9:18]]
    assert served.times("again.bin") == 1


def test_a_loop_of_redirects_ends(served, files_of):
    served.tricks["data.bin"] = redirect("/data.bin")
    with pytest.raises(DatasetError, match=r"data\.bin: expected at most 5 redirects, found more"):
        read(files_of(served.url))
    assert served.times("data.bin") == 6


def test_a_public_host_may_not_send_us_to_a_private_address(served, files_of, make_site, tmp_path):
    inside = make_site(tmp_path / "inside", host="127.0.0.2")
    (inside.root / "data.bin").write_bytes(DATA)
    served.tricks["data.bin"] = redirect(f"{inside.url}/data.bin")
    with pytest.raises(DatasetError, match=r"data\.bin: expected a redirect to a public address"):
        read(files_of(served.url, is_public=lambda address: address == "127.0.0.1"))
    assert inside.asked == []
    # An address that the user names may be private, and so may be what it leads to.
    assert read(files_of(served.url)) == DATA[20_000:21_000]
    assert read(files_of(served.url, is_public=lambda _address: True)) == DATA[20_000:21_000]


def test_a_private_host_may_send_us_out_and_nobody_back_in(served, files_of, make_site, tmp_path):
    outside = make_site(tmp_path / "outside", host="127.0.0.2")
    inside = make_site(tmp_path / "inside", host="127.0.0.3")
    served.tricks["data.bin"] = redirect(f"{outside.url}/data.bin")
    outside.tricks["data.bin"] = redirect(f"{inside.url}/data.bin")
    with pytest.raises(DatasetError, match="expected a redirect to a public address"):
        read(files_of(served.url, is_public=lambda address: address == "127.0.0.2"))
    assert inside.asked == []


@pytest.mark.parametrize("target", ["ftp://example.org/x", "file:///etc/passwd", "http:///x", "//", "http://h:99999/"])
def test_a_redirect_to_what_is_no_web_address_is_refused(served, files_of, target):
    served.tricks["data.bin"] = redirect(target)
    with pytest.raises(DatasetError, match=r"data\.bin: "):
        read(files_of(served.url))


def test_a_redirect_from_https_to_http_is_refused(files_of):
    client = files_of("https://127.0.0.1:1")._client
    with pytest.raises(DatasetError, match="expected a redirect to https, found one to http"):
        client._redirected(Hop("https://127.0.0.1:1/x", public=False), "http://127.0.0.1:1/x", "x")
    assert client._redirected(Hop("https://127.0.0.1:1/x", public=False), "/y", "x").url == "https://127.0.0.1:1/y"


# -- secrets -------------------------------------------------------------------------------------------------------


def test_user_password_and_query_go_to_the_host_of_the_address_and_to_no_other(served, files_of, make_site, tmp_path):
    other = make_site(tmp_path / "other", host="127.0.0.2")
    (other.root / "data.bin").write_bytes(DATA)
    files = files_of(f"http://me:p%40ss@{served.host}/?sig=abc%2F1")
    assert read(files) == DATA[20_000:21_000]
    assert served.asked[-1][1:] == ("sig=abc%2F1", "bytes=20000-20999", "Basic bWU6cEBzcw==")
    served.tricks["data.bin"] = redirect(f"{other.url}/data.bin")
    assert read(files) == DATA[20_000:21_000]
    assert [(asked.query, asked.authorization) for asked in other.asked] == [("", None)]


@pytest.mark.parametrize("case", ["busy", "broken", "closed", "refused", "redirect", "unresolved"])
def test_messages_tracebacks_and_logs_hold_no_secrets(served, files_of, case, caplog, capsys):
    caplog.set_level(logging.INFO)
    host = {"closed": "127.0.0.1:1", "unresolved": "nowhere.invalid"}.get(case, served.host)
    tricks = {
        "busy": lambda handler, _number: handler.give(503) or True,
        "broken": break_off,
        "refused": lambda handler, _number: handler.give(403) or True,
        "redirect": redirect("/data.bin?token=SECRET3"),
    }
    if case in tricks:
        served.tricks["data.bin"] = tricks[case]
    files = files_of(f"http://me:SECRET1@{host}?sig=SECRET2")
    with pytest.raises(DatasetError, match=r"data\.bin: ") as caught:
        read(files)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capsys.readouterr())
    assert "SECRET" not in told
    assert f"http://{host}/data.bin" in str(caught.value)


def test_what_is_no_address_is_told_without_its_secrets(files_of):
    for uri in ("http://me:SECRET@/x", "http://me:SECRET@host:port/x?sig=SECRET"):
        with pytest.raises(DatasetError, match="expected an address like https://host/folder") as caught:
            files_of(uri)
        assert "SECRET" not in "".join(traceback.format_exception(caught.value)).replace(repr(uri), "")
