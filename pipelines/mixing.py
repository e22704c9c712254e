"""Fast mixing of 64-bit words: permanent random numbers and sketches, the same on every machine.

In: words. Out: words that look random, one for one. The finaliser of splitmix64 (Steele, Lea and Flood 2014). It is no
cryptographic hash: where strangers could gain from a collision, hash with BLAKE2b first, as image keys are.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def mix64(words: Words) -> Words:
    """(n,) uint64 mixed; a bijection."""
    with np.errstate(over="ignore"):
        mixed = words + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def text_word(text: str) -> np.uint64:
    """64 bits of BLAKE2b of a text: a salt, a template; never 0."""
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1)
