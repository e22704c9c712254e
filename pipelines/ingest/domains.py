"""Registered domains of pages: ten links from one site are less evidence than one link from each of ten.

In: a column of page addresses. Out: an integer for each, equal for pages of one registered domain. The public
suffix list is the snapshot that tldextract carries: nothing is downloaded and nothing cached on disk, so a
build gives the same result on every machine with the same tldextract. Private suffixes count (`a.blogspot.com`
and `b.blogspot.com` are two): that is what their owners list them for, different people below one name.
Addresses without a public suffix (IP addresses, `localhost`, intranets) are a domain by themselves.
"""

from __future__ import annotations

import functools
import hashlib
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tldextract

NO_DOMAIN = 0
_MAX_CACHED_HOSTS = 500_000
_MAX_HOST_CHARS = 300
_HOST = r"^\s*[hH][tT][tT][pP][sS]?://(?P<host>[^/?#\\]*)"
_PORT = re.compile(r":[0-9]*$")


@functools.cache
def _extractor() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


def registered_domain(host: str) -> str:
    """The registered domain of a page's authority; without a public suffix, the host itself."""
    host = _PORT.sub("", host.rpartition("@")[2]).lower().rstrip(".")
    return _extractor().extract_str(host).top_domain_under_public_suffix or host


def domain_hash(domain: str) -> int:
    """64 bits that stand for a domain in the files of a run; never `NO_DOMAIN`."""
    return int.from_bytes(hashlib.blake2b(domain.encode(), digest_size=8).digest(), "big") or 1


@functools.cache
def shared_domain_hashes() -> DomainHashes:
    """The one of this process: 40k hosts take half a second to look up, and each split meets them again."""
    return DomainHashes()


class DomainHashes:
    """Hashes of the registered domains of pages; remembers hosts, up to a bound."""

    def __init__(self) -> None:
        self._hosts: dict[str, int] = {}

    def __call__(self, pages: pa.Array) -> npt.NDArray[np.uint64]:
        """(n,) uint64: the hash of each page's domain, `NO_DOMAIN` for null and for what is no web page."""
        hosts = pc.struct_field(pc.extract_regex(pages, _HOST), "host").dictionary_encode()
        names = hosts.dictionary.to_pylist()
        # One call for each host that is new, none for the many that are known.
        known = map(self._hosts.get, names)
        found = [self._add(name) if value is None else value for name, value in zip(names, known, strict=True)]
        hashes = np.array([*found, NO_DOMAIN], np.uint64)
        index: npt.NDArray[np.int32] = hosts.indices.fill_null(len(hashes) - 1).to_numpy(zero_copy_only=False)
        return hashes[index]

    def _add(self, host: str) -> int:
        domain = registered_domain(host) if len(host) <= _MAX_HOST_CHARS else ""
        value = domain_hash(domain) if domain else NO_DOMAIN
        if len(self._hosts) >= _MAX_CACHED_HOSTS:
            self._hosts.clear()
        self._hosts[host] = value
        return value
