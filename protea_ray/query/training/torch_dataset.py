"""A PyTorch data set over a store: batches of vectors with ids and labels, the same ones every time.

    data = store.torch(labels="labels.csv", columns=["mean"], batch_size=256, shuffle=True, seed=1)
    for epoch in range(10):
        for batch in data.loader(workers=2):   # {"mean": (256, D) float16, "label": ...}
            ...

Memory: 28 bytes an example for its row numbers, 8 for the order of the epoch, and three windows (a window is 8,192
rows, 21 MB of 1,280 half-precision values, or 128 MB of residue matrices): one being read ahead, one being batched,
and what Lance holds.

Windows become batches of tensors, one window ahead of the training loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from protea_ray.errors import ConfigError
from protea_ray.query.training.epoch import BatchLayout, Epoch, resumed_lanes
from protea_ray.query.training.examples import MASK, Examples, Reader, SelectedColumns, find_examples
from protea_ray.query.training.labels import LabelReport, Labels
from protea_ray.query.view import Pin, View, matrix
from protea_ray.store.rows import RESIDUES

Batch = dict[str, Any]


def batches(reader: Reader, examples: Examples, plan: Epoch, windows: Sequence[int], skip: int) -> Iterator[Batch]:
    """Every batch of these windows but the first `skip`, whose windows are not read where they are skipped whole."""
    wanted = list(_wanted(plan, windows, skip))
    with ThreadPoolExecutor(1, thread_name_prefix="protea-ray-read") as ahead:
        waiting = None
        for position, (number, first) in enumerate(wanted):
            waiting = waiting or ahead.submit(_read, reader, examples[plan.windows[number]])
            window = waiting.result()
            following = wanted[position + 1][0] if position + 1 < len(wanted) else None
            waiting = None
            if following is not None:
                waiting = ahead.submit(_read, reader, examples[plan.windows[following]])
            for rows in plan.batches(number)[first:]:
                yield window.batch(rows)


def _wanted(plan: Epoch, windows: Sequence[int], skip: int) -> Iterator[tuple[int, int]]:
    """(window, first batch of it to give)."""
    for number in windows:
        size = plan.sizes[number] if skip else 0
        if skip and skip >= size:
            skip -= size
            continue
        yield number, skip
        skip = 0


@dataclass(frozen=True)
class LoadedRows:
    """What is in memory: columns as arrays with one row per example, and residue matrices if they are wanted."""

    columns: dict[str, np.ndarray | pa.Array]
    residues: list[np.ndarray] | None

    def batch(self, rows: np.ndarray) -> Batch:
        """These rows as tensors and lists."""
        made = {name: _picked(column, rows) for name, column in self.columns.items()}
        if self.residues is not None:
            made |= padded([self.residues[row] for row in rows.tolist()])
        return made


def _read(reader: Reader, examples: Examples) -> LoadedRows:
    table = reader.read(examples)
    columns = {name: _array(table[name]) for name in table.column_names}
    return LoadedRows(columns, reader.read_residues(examples) if reader.columns.residues else None)


def _array(column: pa.ChunkedArray) -> np.ndarray | pa.Array:
    """Numbers as numpy, (n,) or (n, D); anything else stays Arrow."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return matrix(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column.to_numpy()
    return column.combine_chunks()


def _picked(column: np.ndarray | pa.Array, rows: np.ndarray) -> Any:
    if isinstance(column, np.ndarray):
        return torch.from_numpy(column.take(rows, axis=0))
    return column.take(pa.array(rows)).to_pylist()


def padded(matrices: Sequence[np.ndarray]) -> Batch:
    """`residues` (B, longest, D), zeros after each protein's end, and `mask` (B, longest), True on residues."""
    lengths = [len(m) for m in matrices]
    residues = np.zeros((len(matrices), max(lengths), matrices[0].shape[1]), matrices[0].dtype)
    for row, one in enumerate(matrices):
        residues[row, : len(one)] = one
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return {RESIDUES: torch.from_numpy(residues), MASK: torch.from_numpy(mask)}


@dataclass(frozen=True)
class Position:
    """Where a pass is: batches taken of an epoch by `workers` processes together, or of one `lane` of them."""

    epoch: int
    batches: int = 0
    workers: int = 1
    lane: int | None = None


class TorchDataset(IterableDataset):
    """Batches of one rank. Every example is in exactly one batch of one rank and one worker.

    A batch maps column names to tensors, (B,) or (B, D) in the stored precision, and texts to lists. Residue
    matrices come as `residues` (B, longest, D), zero-padded, with `mask` (B, longest). `len` is the number of
    batches of this rank. `pin` says what is read, and `report` what became of the labels; record both.

    A pass is one epoch, and a whole pass moves `epoch` on. `state_dict` is right after each batch where the training
    loop iterates the data set itself or its `loader`, and in each worker of torchdata's StatefulDataLoader. A plain
    DataLoader with workers tells nobody how many of their batches were used: take `loader(workers)` instead.
    """

    def __init__(self, reader: Reader, examples: Examples, layout: BatchLayout, report: LabelReport | None) -> None:
        self.reader = reader
        self.examples = examples
        self.layout = layout
        self.report = report
        self._at = Position(epoch=0)
        self._resume = False

    @property
    def pin(self) -> Pin:
        """What is read, however the store grows."""
        return self.reader.pin

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next batch belongs to."""
        return self._at.epoch

    def __len__(self) -> int:
        return sum(self._plan().sizes)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self._at, self._resume = Position(epoch), False

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: where this pass is, and everything that has to be the same to go on from there."""
        return {**asdict(self._at), "reads": self._reads()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on where `state` was taken; raises ConfigError that names everything that differs."""
        have, want = self._reads(), state["reads"]
        differ = [f"{name} was {want.get(name)!r}, is {have[name]!r}" for name in have if have[name] != want.get(name)]
        if differ:
            raise ConfigError(differ, where="this state is of another data set")
        self._at = Position(**{name: value for name, value in state.items() if name != "reads"})
        self._resume = True

    def loader(self, workers: int = 0, **options: Any) -> Loader:
        """Batches through `workers` processes; `options` are those of a torch DataLoader."""
        return Loader(self, workers, options)

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        start, plan = self.begin(workers), self._plan()
        windows = _dealt(plan, workers)
        lane, taken = self._lane(start, plan, worker)
        for done, batch in enumerate(batches(self.reader, self.examples, plan, windows[lane], taken), taken + 1):
            self._at = replace(start, batches=done, lane=lane if info is not None else None)
            yield batch
        self.set_epoch(start.epoch + 1)

    def begin(self, workers: int) -> Position:
        """Where a pass by so many workers begins: at a loaded state, once, else at the beginning of the epoch."""
        if not self._resume:
            return Position(self.epoch, workers=workers)
        if self._at.workers != workers:
            raise ConfigError(f"this state was taken with {self._at.workers} worker(s) and cannot be taken up with "
                              f"{workers}: rows are dealt to workers by the window", where="workers")  # fmt: skip
        self._resume = False
        return self._at

    def moved(self, position: Position) -> None:
        """Keep count for workers, who cannot (see Loader)."""
        self._at, self._resume = position, False

    def _lane(self, start: Position, plan: Epoch, worker: int) -> tuple[int, int]:
        if start.lane is not None:
            return start.lane, start.batches
        if not start.batches:
            return worker, 0
        sizes = [sum(plan.sizes[w] for w in lane) for lane in _dealt(plan, start.workers)]
        return resumed_lanes(sizes, start.batches)[worker]

    def _plan(self) -> Epoch:
        return Epoch(self.layout, self.examples.residues, self.epoch)

    def _reads(self) -> dict[str, Any]:
        same = {**self.layout.to_json(), **self.pin.to_json()}
        return {**same, "examples": len(self.examples), "digest": self.examples.digest}


def _dealt(plan: Epoch, workers: int) -> list[range]:
    """The windows of each worker: a window is read by one process only."""
    return [range(worker, len(plan.windows), workers) for worker in range(workers)]


class Loader:
    """A torch DataLoader that keeps the data set's state: batches that the training loop has really been given.

    Workers are spawned, as Lance's threads do not survive a fork. Their batches come in a fixed order, so that an
    epoch taken up with the same number of workers goes on with the very next batch.
    """

    def __init__(self, data: TorchDataset, workers: int, options: dict[str, Any]) -> None:
        self.data = data
        self.workers = workers
        self._options = options

    def __len__(self) -> int:
        return len(self.data)

    def state_dict(self) -> dict[str, Any]:
        """That of the data set."""
        return self.data.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """That of the data set."""
        self.data.load_state_dict(state)

    def __iter__(self) -> Iterator[Batch]:
        if not self.workers:
            yield from DataLoader(self.data, batch_size=None, **self._options)
            return
        options = {"multiprocessing_context": "spawn", **self._options}
        running = iter(DataLoader(self.data, batch_size=None, num_workers=self.workers, **options))
        start = self.data.begin(self.workers)  # after the workers were given the same
        for done, batch in enumerate(running, start.batches + 1):
            self.data.moved(replace(start, batches=done))
            yield batch
        self.data.set_epoch(start.epoch + 1)


def torch_dataset(
    view: View, columns: Sequence[str] | None, filter: str | None, labels: Labels | None, **layout: Any
) -> TorchDataset:
    """Join at the view's pin and lay out batches; `layout` are the fields of Layout but for residue_bytes."""
    chosen = SelectedColumns.choose(view, columns, labels)
    examples, report = find_examples(view, filter, labels)
    if report is not None:
        report.say()
    facts = view.facts
    width = facts["residue_width"] * np.dtype(facts["store_dtype"]).itemsize if chosen.residues else 0
    reader = Reader(view.location, view.pin, chosen, labels)
    return TorchDataset(reader, examples, BatchLayout(**layout, residue_bytes=width), report)
