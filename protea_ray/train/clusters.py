"""An honest split: proteins that share words are in one cluster, and validation is made of whole clusters.

Clusters are the connected components of `sequences.words.relatives` (single linkage), found by hooking and pointer
jumping (Shiloach and Vishkin 1982) over all pairs at once. The largest cluster, which long and repetitive proteins
chain together, always stays in training. Relatives without common words are not found: the split is honest up to about
50 % identity and no further.
"""

from __future__ import annotations

import numpy as np

from protea_ray.errors import InputError
from protea_ray.plan.hashing import draws, keyed
from protea_ray.sequences.words import relatives_of
from protea_ray.train.proteins import Proteins

_SPLIT_PURPOSE = 6


def split_here(proteins: Proteins, share: float, seed: int) -> Proteins:
    """Clusters and validation of proteins in this process: 17 bytes of memory a residue, 12 s for 31 million of them.

    Raises InputError when nothing would be left to validate with.
    """
    cluster = clusters_of(len(proteins), relatives_of(*_joined(proteins)))
    return proteins.with_split(cluster, choose_validation(cluster, share, seed))


def _joined(proteins: Proteins) -> tuple[np.ndarray, np.ndarray]:
    letters = [proteins.letters.of(example) for example in range(len(proteins))]
    return np.concatenate(letters), np.concatenate([[0], np.cumsum(proteins.lengths)])


def clusters_of(n: int, pairs: np.ndarray) -> np.ndarray:
    """Number of the component of each of n proteins that `pairs` (m, 2) connect, (n,) int64.

    Components are numbered 0, 1, ... in the order of their first proteins.
    """
    root = np.arange(n)
    while True:
        ends = np.sort(root[pairs], axis=1)
        ends = ends[ends[:, 0] != ends[:, 1]]
        if not len(ends):
            return np.unique(root, return_inverse=True)[1]
        np.minimum.at(root, ends[:, 1], ends[:, 0])  # the higher root points to the lowest neighbour
        while (root != (above := root[root])).any():
            root = above


def choose_validation(cluster: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(n,) True for the proteins of clusters drawn for validation, at most `share` of all proteins.

    Clusters come in an order drawn from the seed, each is taken unless the share would be exceeded, and the largest
    is never taken. Raises InputError when that gives less than half of the share.
    """
    size = np.bincount(cluster)
    order = np.argsort(draws(keyed(seed, _SPLIT_PURPOSE), np.arange(len(size))), kind="stable")
    taken = np.zeros(len(size), bool)
    wanted = room = int(share * len(cluster))
    for number in order[order != np.argmax(size)].tolist():
        if size[number] <= room:
            room -= int(size[number])
            taken[number] = True
    if room > wanted / 2 or not wanted:
        raise InputError(
            f"whole clusters give {wanted - room:,} of {len(cluster):,} proteins for validation, not "
            f"{share:.1%}: the largest of {len(size):,} cluster(s) has {size.max():,}. Use more proteins or another "
            "validation_share"
        )
    return taken[cluster]
