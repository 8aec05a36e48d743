"""Random numbers without a state: a 64-bit hash of what they belong to, evaluated over whole arrays.

The hash is the output function of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", with Stafford's 13th mixer), a bijection of 64 bits. `keyed` folds words into one key, `draws` gives the
numbers at any places of the key's own SplitMix64 sequence. It is arithmetic on unsigned 64-bit words that wraps, so the
numbers are the same on every machine and with every release of numpy, which `numpy.random.Generator` does not promise
of its distributions. One core gives about 200 million numbers a second.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(words: np.ndarray) -> np.ndarray:
    """Spread every input bit over all output bits; (n,) uint64 to (n,) uint64, one to one."""
    out = words ^ (words >> np.uint64(30))
    out *= _FIRST
    out ^= out >> np.uint64(27)
    out *= _SECOND
    out ^= out >> np.uint64(31)
    return out


def keyed(*words: int | np.ndarray) -> np.ndarray:
    """One key for each combination of words, whole numbers or (n,) arrays of them; order counts. (n,) uint64."""
    key = np.zeros(1, np.uint64)
    for word in words:
        key = mixed((key ^ _unsigned(word)) + _GOLDEN)
    return key


def draws(key: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The number at `place` (0, 1, ...) of the key's sequence; (n,) uint64, `key` and `place` broadcast."""
    return mixed(key + (_unsigned(place) + np.uint64(1)) * _GOLDEN)


def uniform(numbers: np.ndarray) -> np.ndarray:
    """Numbers as float64 in [0, 1), of which the upper 53 bits are used."""
    return (numbers >> np.uint64(11)) * 2.0**-53


def below(numbers: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Numbers as int64 in [0, bound), for a bound up to 2^31; the bias is below bound / 2^32."""
    return ((numbers >> np.uint64(32)) * _unsigned(bound) >> np.uint64(32)).astype(np.int64)


def _unsigned(word: int | np.ndarray) -> np.ndarray:
    return np.atleast_1d(np.asarray(word, np.int64)).view(np.uint64)
