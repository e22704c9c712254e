"""The HTTP client against a server that behaves badly."""

import asyncio
import datetime as dt
import socket
import time

import pytest
from yarl import URL

from openjft.pipelines.config import Fetch
from openjft.pipelines.fetch.addresses import parse_url
from openjft.pipelines.fetch.failure import FetchFailure
from openjft.pipelines.fetch.http import HttpClient, Slots, forbids_use, retry_after


def get_all(urls, **settings):
    """The outcome of each URL, fetched at once: a Payload or a FetchFailure."""
    given = {"allow_private": True, "backoff_s": 0.01, "timeout_s": 5, "max_bytes": 1_000_000, **settings}
    fetch = Fetch.model_validate(given)

    async def one(client, slots, url):
        try:
            parsed = parse_url(url, allow_private=fetch.allow_private)
            async with slots.host(parsed.host):
                return await client.get(parsed)
        except FetchFailure as failure:
            return failure

    async def run():
        slots = Slots(total=fetch.concurrency, per_host=fetch.per_host)
        async with HttpClient(fetch, slots) as client:
            return await asyncio.gather(*[one(client, slots, url) for url in urls])

    return asyncio.run(run())


def get(url, **settings):
    return get_all([url], **settings)[0]


def test_a_picture_arrives_whole(server, make_jpeg):
    payload = get(server.url("picture/5"))
    assert (payload.data, payload.attempts, payload.http_status) == (make_jpeg(5), 1, 200)


@pytest.mark.parametrize(
    ("path", "reason", "attempts"),
    [
        ("status/404", "http_error", 1),
        ("status/403", "http_error", 1),
        ("status/204", "http_error", 1),
        ("status/500", "http_error", 3),
        ("status/503", "http_error", 3),
        ("status/501", "http_error", 1),
        ("trickle", "timeout", 3),
        ("hang", "timeout", 3),
        ("loop_/a", "redirect_loop", 1),
        ("hop/6", "redirect_loop", 1),
        ("nowhere", "http_error", 1),
        ("to?url=file:///etc/passwd", "forbidden_scheme", 1),
        ("to?url=data:image/png,x", "forbidden_scheme", 1),
        ("to?url=http://", "redirect_loop", 1),  # relative to the page: the page itself
        ("to?url=http://h:99999/", "connect_failed", 1),
        ("long", "read_failed", 3),
        ("reset", "read_failed", 3),
        ("garbage", "read_failed", 1),
        ("huge", "too_many_bytes", 1),
        ("endless", "too_many_bytes", 1),
        ("gzip", "read_failed", 1),
    ],
)
def test_bad_answers_have_a_reason_and_a_number_of_attempts(server, path, reason, attempts):
    failure = get(server.url(path), timeout_s=0.4 if reason == "timeout" else 5)
    assert isinstance(failure, FetchFailure)
    assert (failure.reason, failure.attempts) == (reason, attempts)
    assert failure.http_status == (int(path.split("/")[1]) if "status/" in path else failure.http_status)


def test_an_endless_body_is_cut_off_at_the_cap(server):
    before = server.hits["endless_bytes"]
    get(server.url("endless"), max_bytes=100_000)
    assert server.hits["endless_bytes"] - before < 20_000_000  # what socket buffers hold, not more


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(server, status):
    payload = get(server.url(f"flaky/{status}/2/a"))
    assert (payload.attempts, payload.http_status) == (3, 200)


def test_retries_end_at_the_configured_number(server):
    assert get(server.url("flaky/503/2/b"), retries=1).reason == "http_error"
    assert server.hits["flaky/503/2/b"] == 2


def test_retry_after_is_waited_for(server):
    start = time.monotonic()
    assert get(server.url("busy")).attempts == 2
    assert time.monotonic() - start >= 1.0


def test_a_dead_port_is_a_failed_connection(dead_url):
    failure = get(dead_url)
    assert (failure.reason, failure.attempts) == ("connect_failed", 3)


def test_an_unknown_host_is_a_failed_resolution():
    assert get("http://nosuchhost.invalid/x.jpg", retries=0).reason == "dns_failed"


def test_plain_http_behind_https_is_a_failed_handshake(server):
    assert get(server.url("ok.jpg").replace("http:", "https:")).reason == "tls_failed"


def test_redirects_up_to_the_cap_are_followed(server, make_jpeg):
    assert get(server.url("hop/5")).data == make_jpeg()
    assert get(server.url("hop/1"), max_redirects=0).reason == "redirect_loop"


def test_one_bad_host_does_not_keep_the_others_waiting(server):
    urls = [server.url("hang")] * 4 + [server.url(f"picture/{i}").replace("127.0.0.1", "localhost") for i in range(20)]
    outcomes = get_all(urls, per_host=2, concurrency=4, timeout_s=1, retries=0)
    assert [getattr(o, "reason", "ok") for o in outcomes] == ["timeout"] * 4 + ["ok"] * 20


def test_requests_are_honest_and_carry_nothing_of_ours(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = server.url("cookie")
    urls = [url, url, url.replace("//", "//user:secret@")]
    for outcome in [get(urls[0]), *get_all(urls, concurrency=1, user_agent="openjft-test/1 (me@example.org)")]:
        assert outcome.http_status == 200
    sent = server.headers["cookie"]
    assert sent["User-Agent"] == "openjft-test/1 (me@example.org)"
    assert sent["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(sent)


# -- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ],
)
def test_the_loopback_is_refused_however_it_is_spelt(server, host):
    before = server.hits["ok.jpg"]
    failure = get(f"http://{host}:{server.port}/ok.jpg", allow_private=False)
    assert (failure.reason, failure.attempts) == ("private_address", 1)
    assert server.hits["ok.jpg"] == before


def test_a_name_that_turns_private_after_the_check_is_refused(server, monkeypatch):
    """DNS rebinding: whatever the name gave before, the address that is dialled counts."""
    real = socket.getaddrinfo

    def rebind(host, *args, **kwargs):
        return real("127.0.0.1" if host == "rebind.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    assert get(f"http://rebind.example:{server.port}/ok.jpg").http_status == 200
    assert get(f"http://rebind.example:{server.port}/ok.jpg", allow_private=False).reason == "private_address"


def test_a_redirect_to_a_private_address_is_refused(server, monkeypatch):
    """The first hop is let through, as if it were public; the second is the metadata service of a cloud."""
    from openjft.pipelines.fetch import addresses

    judge = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" or judge(address))
    for target in ("http://169.254.169.254/latest/meta-data", "http://2852039166/", "http://[fe80::1]/"):
        failure = get(server.url(f"to?url={target}"), allow_private=False)
        assert failure.reason == "private_address"


# -- headers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "forbidden"),
    [
        ("noai", True),
        ("noimageai", True),
        ("NoIndex, nofollow", True),
        ("nofollow, noimageindex", True),
        ("none", True),
        ("openjft: noai", True),
        ("*: noai", True),
        ("otherbot: noai, noindex", False),
        ("otherbot: nofollow, openjft: noai", True),
        ("nofollow", False),
        ("unavailable_after: 25 Jun 2030 15:00:00 GMT, noai", True),
        ("max-snippet: 3", False),
        ("", False),
    ],
)
def test_robots_tags(tag, forbidden):
    assert forbids_use([tag], "openjft") is forbidden


def test_a_server_may_disallow_the_use(server):
    url = server.url("robots?tag=noai")
    assert get(url).reason == "disallowed"
    assert get(url, respect_noai=False).http_status == 200


def test_retry_after_as_number_and_as_date():
    now = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)
    assert retry_after("120") == 120
    assert retry_after("Wed, 01 Jan 2025 12:00:30 GMT", now=now) == 30
    assert retry_after("Wed, 01 Jan 2025 11:00:00 GMT", now=now) == 0
    assert [retry_after(value, now=now) for value in (None, "", "soon", "-5", "99999999999")] == [None] * 5


def test_url_is_sent_as_it_stands():
    assert str(parse_url("http://h.example/a%2Fb%7E?x=%41#f")) == "http://h.example/a%2Fb%7E?x=%41"
    assert parse_url("../c d", base=URL("http://h.example/a/b/e")).raw_path == "/a/c%20d"
