import numpy as np
import pyarrow as pa
import pytest

from openjft.pipelines.ingest.domains import NO_DOMAIN, DomainHashes, domain_hash, registered_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.example.co.uk", "example.co.uk"),
        ("WWW.Example.CO.UK:8080", "example.co.uk"),
        ("a.blogspot.com", "a.blogspot.com"),
        ("user:pw@www.example.org.", "example.org"),
        ("127.0.0.1:99", "127.0.0.1"),
        ("localhost", "localhost"),
        ("co.uk", "co.uk"),
    ],
)
def test_registered_domain(host, domain):
    assert registered_domain(host) == domain


def test_pages_of_one_domain_share_a_hash_and_others_have_none():
    pages = ["http://a.x.com/1", "https://b.x.com?2", "http://y.com", None, "", "ftp://x.com", "x.com", "http://"]
    found = DomainHashes()(pa.array(pages))
    assert found.tolist() == [domain_hash("x.com")] * 2 + [domain_hash("y.com")] + [NO_DOMAIN] * 5
    assert found.dtype == np.uint64
