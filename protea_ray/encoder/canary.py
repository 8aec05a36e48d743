"""Five small proteins that are embedded before a run starts, to see that the encoder works.

Digests say that the weights are the recorded ones, not that they work: a tokenizer that reads every letter as
unknown, half precision that overflows, or an attention that lets packed neighbours see each other all give
vectors without an error. The canaries have 180 residues together, a moment even for a large model on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from protea_ray.config.recipe import AlphabetName
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.errors import CheckpointError, EncoderError

CANARIES = {
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "insulin A chain": "GIVEQCCTSICSLYQLENYCN",
    "insulin B chain": "FVNQHLCGSHLVEALYLVCGERGFFYTPKT",
    "every letter": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "polyleucine": "LLLLLLLLLLLLLLLLLLLLLLLLLL",  # as long as the one before: only the letters differ
}
_ALONE = "insulin A chain"
_NOT_3DI = str.maketrans(dict.fromkeys("BJOUXZ", "D"))
_TWINS = ("every letter", "polyleucine")

# distances relative to the length of a vector, measured with the untrained 8M model: the twins are 1.0 apart and
# 0 when every letter is read alike; packed and alone differ by 0.75 when neighbours leak, by 0.007 in bfloat16
_APART = 1e-3
_LEAK = 0.05


def spelt(residues: str, alphabet: AlphabetName) -> str:
    """Amino acids as they are; for 3Di a string of as many structure letters, d for what 3Di lacks."""
    return residues if alphabet == "aa" else residues.translate(_NOT_3DI).lower()


class Embeds(Protocol):
    """The part of an encoder that is used here."""

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]: ...


def check_canaries(encoder: Embeds, alphabet: AlphabetName = "aa") -> float:
    """Embed the canaries, in the letters of `alphabet`, with every recipe of `encoder`; returns seconds per residue.

    The time is that of a first pass over short proteins, warm-up and compilation included: an upper bound for a
    cost model, not a measurement of throughput. Raises CheckpointError when a canary is rejected for any reason but
    a limit of the recipe itself, is not finite, or does not depend on its letters; raises EncoderError when a
    vector depends on the protein's neighbours.
    """
    started = time.perf_counter()
    packed = _vectors(encoder, list(CANARIES), alphabet)
    seconds = time.perf_counter() - started
    for recipe in {recipe for recipe, _ in packed}:
        _require_letters_to_matter(*(packed.get((recipe, name)) for name in _TWINS))
    for place, vector in _vectors(encoder, [_ALONE], alphabet).items():
        _require_neighbours_not_to_matter(vector, packed[place])
    return seconds / sum(map(len, CANARIES.values()))


def _vectors(encoder: Embeds, names: list[str], alphabet: AlphabetName) -> dict[tuple[int, str], np.ndarray]:
    """One vector by (recipe, canary): all vectors of the first stored row end to end, residues as their mean."""
    vectors = {}
    for result in encoder.embed([spelt(CANARIES[name], alphabet) for name in names]):
        name = names[result.index]
        if isinstance(result, Rejected):
            _require_own_limit(name, result)
            continue
        rows = [np.asarray(rows, np.float32)[0] for rows in result.pooled.values()]
        rows += [np.asarray(matrix, np.float32).mean(axis=0) for matrix in (result.residues or ())[:1]]
        vector = np.concatenate(rows)
        if not np.isfinite(vector).all():
            raise CheckpointError(_message(name, "has a vector with NaN or infinity"))
        vectors[result.recipe, name] = vector
    return vectors


def _require_own_limit(name: str, reject: Rejected) -> None:
    """Raise CheckpointError for a reject with another reason than a limit of the recipe: length, or its attention's."""
    if reject.reason not in ("too_long", "approximation_error"):
        raise CheckpointError(_message(name, f"was rejected: {reject.reason}, {reject.detail}"))


def _require_letters_to_matter(one: np.ndarray | None, other: np.ndarray | None) -> None:
    if one is not None and other is not None and _distance(one, other) < _APART:
        raise CheckpointError(_message(" and ".join(_TWINS), "come out the same, so letters are not read"))


def _require_neighbours_not_to_matter(alone: np.ndarray, packed: np.ndarray) -> None:
    distance = _distance(alone, packed)
    if distance > _LEAK:
        raise EncoderError(
            f"the canary {_ALONE} moves by {distance:.2f} of its length when other proteins are in the same batch: "
            "the attention of this installation mixes proteins. Reinstall the pinned torch and transformers."
        )


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / max(np.linalg.norm(other), np.finfo(np.float32).tiny))


def _message(name: str, what: str) -> str:
    return (
        f"the canary {name} {what}. The weights, the vocabulary or the compute dtype do not work: check that the "
        "directory is complete, try --dtype float32 or --store-dtype float32, or use another checkpoint."
    )
