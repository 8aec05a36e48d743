"""Residues of a task's chains, some in memory at a time: stored matrices at a pin, or a control made on the fly.

A block holds whole chains, about 64 MB of single-precision rows, and the next one is read meanwhile. Chains come in the
task's order or one that a seed decides, never in that of the store's rows, so what is trained on them is the same after
upkeep and in another store of the same proteins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, StoreError
from protea_ray.evaluate.inputs import COMPOSITION, RANDOM, WINDOW, Input
from protea_ray.evaluate.letters import letter_rows, random_rows, window_rows
from protea_ray.evaluate.task import UNRESOLVED, Task
from protea_ray.query.view import CHUNK, Pin, View
from protea_ray.store.keys import KeyIndex, join, key_array
from protea_ray.store.ledger import ROW_ID
from protea_ray.store.location import open_location
from protea_ray.store.object_store_errors import outage_as_store_error
from protea_ray.store.rows import RESIDUES

BLOCK_BYTES = 64 << 20  # of a block's rows in single precision
_EXAMPLES = 5  # chains that a message names

Matrices = Callable[[np.ndarray], list[np.ndarray]]  # numbers of chains to (residues, width) of each


@dataclass(frozen=True)
class Block:
    """Resolved residues of some chains: `chains` are their numbers in the task, `rows` (residues, width) of each, in
    the stored precision, and `states` (residues of all,) int64."""

    chains: np.ndarray
    rows: list[np.ndarray]
    states: np.ndarray


def why_no_residues(view: View) -> str:
    """Say in words why a probe cannot be trained on the residues of a space; empty where it can. Reads no row."""
    space = view.pin.space
    if not view.facts["residue_width"]:
        return f"{space} keeps no residues; `protea-ray embed` with --pooling mean,none makes a space that does"
    if view.info.chunked:
        return f"{space} stores chunks, whose residues overlap; embed without --chunk-size"
    return ""


def matrices_of(task: Task, given: Input, location_uri: str) -> tuple[Matrices, int]:
    """What gives the rows of any chains, and their width.

    Raises ConfigError for an input without residues, StoreError for chains without a whole matrix.
    """
    made: dict[str, Matrices] = {
        COMPOSITION: lambda chains: [letter_rows(task.sequences[i]) for i in chains],
        WINDOW: lambda chains: [window_rows(task.sequences[i]) for i in chains],
        RANDOM: lambda chains: [random_rows(task.keys[i], len(task.sequences[i]), given.width) for i in chains],
    }
    if given.control in made:
        matrices = made[given.control]
        return matrices, matrices(np.zeros(1, np.int64))[0].shape[1]
    if given.source:
        raise ConfigError(f"{given.space} holds vectors of whole proteins; a task per residue needs a space with "
                          "residue matrices", where=given.name)  # fmt: skip
    view = View(open_location(location_uri), Pin(given.space, given.version, given.proteins))
    if why_not := why_no_residues(view):
        raise ConfigError(why_not, where=given.name)
    return _stored(task, view), view.facts["residue_width"]


def _stored(task: Task, view: View) -> Matrices:
    """Matrices from a space, by the row of each chain, which is looked up once."""
    rows = _rows_of_chains(task, view)

    @outage_as_store_error()
    def read(chains: np.ndarray) -> list[np.ndarray]:
        """Rows are read in the table's order, which is faster, and given in that of `chains`."""
        order = np.argsort(rows[chains])
        blobs = view.vectors.read_blobs(RESIDUES, ids=rows[chains][order].tolist(), preserve_order=True)
        found = [np.zeros(0)] * len(chains)
        for at, (_, raw) in zip(order.tolist(), blobs, strict=True):
            found[at] = _matrix(raw or b"", view, task.ids[chains[at]], len(task.sequences[chains[at]]))
        return found

    return read


def _matrix(raw: bytes, view: View, id: str, residues: int) -> np.ndarray:
    """One (residues, width) matrix, not copied; raises StoreError for bytes that are not so many."""
    dtype, width = np.dtype(view.facts["store_dtype"]), view.facts["residue_width"]
    if len(raw) != residues * width * dtype.itemsize:
        raise StoreError(f"{view.vectors.uri}: the residue matrix of {id} has {len(raw):,} bytes, "
                         f"{residues * width * dtype.itemsize:,} are wanted; run `protea-ray verify`")  # fmt: skip
    return np.frombuffer(raw, dtype).reshape(residues, width)


@outage_as_store_error()
def _rows_of_chains(task: Task, view: View) -> np.ndarray:
    """(n,) row ids of the task's chains; raises StoreError that names chains without a row of all their residues."""
    keys = key_array(task.keys)
    wanted = KeyIndex(keys)
    parts = [
        batch.filter(pa.array(wanted.contains(batch.column("key"))))
        for batch in view.vectors.to_batches(columns=["key", *CHUNK], with_row_id=True)
    ]
    found = pa.Table.from_batches(parts) if parts else pa.table({n: [] for n in ("key", *CHUNK, ROW_ID)})
    chains, at = join(pa.chunked_array([keys]), found["key"]) if len(found) else (np.zeros(0, np.int64),) * 2
    start, end = (found[name].to_numpy()[at] for name in CHUNK)
    whole = (start == 0) & (end == task.lengths[chains])
    rows = np.full(len(task), -1, np.int64)
    rows[chains[whole]] = found[ROW_ID].to_numpy()[at[whole]]
    lacking = np.flatnonzero(rows < 0)
    if len(lacking):
        shown = ", ".join(task.ids[i] for i in lacking[:_EXAMPLES])
        raise StoreError(f"{view.pin.space} at version {view.pin.version} has no residue matrix of the whole of "
                         f"{len(lacking):,} of {len(task):,} chains of {task.name} ({shown}, ...): embed them, and "
                         "with an on_long other than truncate")  # fmt: skip
    return rows


def blocks(
    task: Task, chains: np.ndarray, matrices: Matrices, width: int, ahead: ThreadPoolExecutor
) -> Iterator[Block]:
    """Yield the resolved residues of `chains` in their order, block by block; the next is read in `ahead` meanwhile.

    Chains without a resolved residue are left out. A chain longer than a block is a block of its own. One thread for
    all passes keeps the memory of one: a new thread in each held about 70 MB more after each pass over 2.8 million
    residues of 320 values.
    """
    ends = np.cumsum(task.lengths)
    cuts = _cuts(task.lengths[chains], width)
    waiting = [ahead.submit(_block, task, ends, chains[a:b], matrices) for a, b in cuts[:1]]
    for number in range(len(cuts)):
        block = waiting.pop().result()
        waiting = [ahead.submit(_block, task, ends, chains[a:b], matrices) for a, b in cuts[number + 1 :][:1]]
        if len(block.states):
            yield block


def _cuts(lengths: np.ndarray, width: int) -> list[tuple[int, int]]:
    """First chain and end of each block."""
    filled = np.cumsum(lengths, dtype=np.int64) * width * 4 // BLOCK_BYTES
    inner = (np.flatnonzero(np.diff(filled)) + 1).tolist()
    return list(pairwise([0, *inner, len(lengths)])) if len(lengths) else []


def _block(task: Task, ends: np.ndarray, chains: np.ndarray, matrices: Matrices) -> Block:
    rows, states = [], []
    for chain, matrix in zip(chains.tolist(), matrices(chains), strict=True):
        own = task.targets[ends[chain] - len(matrix) : ends[chain]]
        rows.append(matrix[own != UNRESOLVED])
        states.append(own[own != UNRESOLVED])
    return Block(chains, rows, np.concatenate(states).astype(np.int64))
