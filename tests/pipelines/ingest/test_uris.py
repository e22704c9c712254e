import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openjft.pipelines.ingest.uris import (
    TarMember,
    UriError,
    canonical_uri,
    canonical_uris,
    key_bases,
    key_basis,
    parse_tar_member_uri,
    tar_member_uri,
)

SCHEMES = ("http", "https", "file", "s3", "gs", "hdfs", "tar")

CANONICAL = [
    ("http://example.org/a.jpg", "http://example.org/a.jpg"),
    ("HTTP://EXAMPLE.org/A.jpg", "http://example.org/A.jpg"),
    ("http://example.org", "http://example.org/"),
    ("http://example.org?q=1", "http://example.org/?q=1"),
    ("http://example.org:80/a", "http://example.org/a"),
    ("https://example.org:443/a", "https://example.org/a"),
    ("https://example.org:80/a", "https://example.org:80/a"),
    ("http://example.org:/a", "http://example.org/a"),
    ("http://example.org:08080/a", "http://example.org:8080/a"),
    ("http://example.org/a#part", "http://example.org/a"),
    ("  http://example.org/a \n", "http://example.org/a"),
    ("http://example.org/%7euser/%c3%a9%2F", "http://example.org/~user/%C3%A9%2F"),
    ("http://example.org/é b", "http://example.org/%C3%A9%20b"),
    ("http://example.org/100%", "http://example.org/100%25"),
    ("http://example.org/a/./b/../c", "http://example.org/a/c"),
    ("http://example.org/../..", "http://example.org/"),
    ("http://example.org/a/%2e%2e/b", "http://example.org/b"),
    ("http://example.org/.well-known/a", "http://example.org/.well-known/a"),
    ("http://example.org//a//b", "http://example.org//a//b"),
    ("http://example.org/?a=../b&c=[1]", "http://example.org/?a=../b&c=%5B1%5D"),
    ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
    ("http://BÜCHER.example/a", "http://xn--bcher-kva.example/a"),
    ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
    ("file:/data/a.jpg", "file:///data/a.jpg"),
    ("file://localhost/data/x/../a.jpg", "file:///data/a.jpg"),
    ("s3://bucket/Key With Space.jpg", "s3://bucket/Key%20With%20Space.jpg"),
    ("hdfs://name:9000/a.jpg", "hdfs://name:9000/a.jpg"),
    ("tar+file:///a/b.tar?member=x.jpg#512-20", "tar+file:///a/b.tar?member=x.jpg#512-20"),
]

WRONG = [
    ("", "bad_uri"),
    ("example.org/a.jpg", "bad_uri"),
    ("//example.org/a.jpg", "bad_uri"),
    ("/local/a.jpg", "bad_uri"),
    ("http:a.jpg", "bad_uri"),
    ("http:///a.jpg", "bad_uri"),
    ("http://user:secret@example.org/a", "bad_uri"),
    ("http://user@example.org/a", "bad_uri"),
    ("http://example.org:99999/a", "bad_uri"),
    ("http://example.org:0/a", "bad_uri"),
    ("http://example.org:٣/a", "bad_uri"),
    ("http://a..b/x", "bad_uri"),
    ("http://exam ple.org/x", "bad_uri"),
    ("http://example.org%2f@evil/x", "bad_uri"),
    ("http://example.org/a\tb", "bad_uri"),
    ("http://example.org/a\0b", "bad_uri"),
    ("http://example.org/" + "a" * 9000, "bad_uri"),
    ("http://example.org/" + "é" * 2000, "bad_uri"),
    ("http://\u2028.example/x", "bad_uri"),
    ("file://otherhost/a.jpg", "bad_uri"),
    ("file:///", "bad_uri"),
    ("s3://bucket", "bad_uri"),
    ("tar+file:///a/b.tar", "bad_uri"),
    ("tar+file:///a/b.tar?member=x#1-x", "bad_uri"),
    ("data:image/png;base64,AAAA", "forbidden_scheme"),
    ("ftp://example.org/a.jpg", "forbidden_scheme"),
    ("javascript:alert(1)", "forbidden_scheme"),
    ("C:\\pictures\\a.jpg", "forbidden_scheme"),
]


@pytest.mark.parametrize(("given_uri", "expected"), CANONICAL)
def test_canonical_spelling(given_uri, expected):
    assert canonical_uri(given_uri, SCHEMES) == expected


@pytest.mark.parametrize(("given_uri", "reason"), WRONG)
def test_no_canonical_spelling(given_uri, reason):
    with pytest.raises(UriError) as caught:
        canonical_uri(given_uri, SCHEMES)
    assert caught.value.reason == reason


def test_a_column_gives_what_each_uri_gives():
    uris = [uri for uri, _ in CANONICAL + WRONG]
    found = canonical_uris(pa.array(uris), SCHEMES)
    assert found.uris.to_pylist() == [expected for _, expected in CANONICAL] + [None] * len(WRONG)
    assert found.reasons.tolist() == [None] * len(CANONICAL) + [reason for _, reason in WRONG]


def test_schemes_that_are_not_allowed_are_rejected_also_when_canonical():
    found = canonical_uris(pa.array(["http://a.b/c", "https://a.b/c", "file:///a"]), ("https",))
    assert found.reasons.tolist() == ["forbidden_scheme", None, "forbidden_scheme"]
    assert canonical_uris(pa.array(["http://a.b/c"]), ()).reasons.tolist() == ["forbidden_scheme"]


_PARTS = st.sampled_from(
    [
        *"aZ09-._~%/?#:@!$&'()*+,;=[]{}|\\^ \"<>é日\t",
        "..",
        "/.",
        "/../",
        "%2e",
        "%2F",
        "%7E",
        "%zz",
        ":80",
        "xn--",
        "//",
    ]
)


@given(st.sampled_from(["http://", "https://", "HTTP://", "file://", "tar+file://"]), st.lists(_PARTS, max_size=12))
def test_canonical_is_final_and_the_fast_path_agrees_with_the_slow_one(head, parts):
    uri = head + "h.example/" * (len(parts) % 2) + "".join(parts)
    reason = None
    try:
        expected = canonical_uri(uri, SCHEMES)
    except UriError as error:
        expected, reason = None, error.reason
    assert canonical_uris(pa.array([uri]), SCHEMES).reasons.tolist() == [reason]
    if expected is None:
        return
    assert canonical_uri(expected, SCHEMES) == expected
    assert canonical_uris(pa.array([uri, expected]), SCHEMES).uris.to_pylist() == [expected, expected]


def test_a_tar_members_locator_is_stored_but_not_hashed():
    uri = canonical_uri(tar_member_uri("/data dir/a?.tar", "x y/é&#.jpg", 1536, 99), ("tar",))
    assert uri == "tar+file:///data%20dir/a%3F.tar?member=x%20y/%C3%A9%26%23.jpg#1536-99"
    assert parse_tar_member_uri(uri) == TarMember("/data dir/a?.tar", "x y/é&#.jpg", 1536, 99)
    assert key_basis(uri) == "tar+file:///data%20dir/a%3F.tar?member=x%20y/%C3%A9%26%23.jpg"
    assert key_bases(pa.array([uri, "http://a.b/"])).to_pylist() == [key_basis(uri), "http://a.b/"]
    with pytest.raises(UriError):
        parse_tar_member_uri("tar+file:///a.tar?member=b")


def test_members_of_tars_in_object_stores_keep_the_store():
    uri = tar_member_uri("s3://bucket/a.tar", "b.jpg", 512, 3)
    assert parse_tar_member_uri(canonical_uri(uri, ("tar",))) == TarMember("s3://bucket/a.tar", "b.jpg", 512, 3)
