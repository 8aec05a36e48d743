"""A PyTorch data set over a store: batches of vectors with ids and labels, in an order that the seed decides.

    data = store.torch(labels="labels.csv", columns=["mean"], batch_size=256, shuffle=True, seed=1)
    for epoch in range(10):
        for batch in data:                     # {"mean": (256, D) float16, "label": ...}; dtype="float32" for a layer
            ...

Examples are read in loads (8,192 rows, or 128 MB of residue matrices), one load ahead of the training loop, and each
load is cut into batches. Memory: 28 bytes an example for its row numbers, 8 for the order of the epoch, and three
loads of 21 MB (1,280 half-precision values a row): one being read, one being batched, and what Lance holds.

`data.loader(workers=2)` gives the same examples through processes (see loader.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from protea_ray.errors import ConfigError
from protea_ray.query.training.epoch import BatchLayout, Epoch
from protea_ray.query.training.examples import (
    MASK,
    Examples,
    Reader,
    SelectedColumns,
    content_digest,
    find_examples,
    require_residue_labels,
)
from protea_ray.query.training.labels import LabelReport, Labels
from protea_ray.query.training.loads import Batch, read_batches
from protea_ray.query.training.passes import PassLog
from protea_ray.query.training.read_process import is_forked
from protea_ray.query.view import Pin, View
from protea_ray.store.rows import RESIDUES

if TYPE_CHECKING:
    from protea_ray.query.training.loader import EpochLoader

_FORKED = (
    "the workers of this DataLoader were forked, and Lance's threads do not survive a fork: their rows come through "
    "processes of their own, which costs about a second at the start of each pass. "
    'multiprocessing_context="spawn", persistent_workers=True starts once, and so does data.loader(workers)'
)
_FLOATING = ("float32", "float16", "bfloat16", "float64")
_log = logging.getLogger("protea_ray")


@dataclass(frozen=True)
class Position:
    """How far a pass through an epoch has got: `batches` were taken of the share of `worker`, one of `workers`."""

    epoch: int
    batches: int = 0
    worker: int = 0
    workers: int = 1


class TorchDataset(IterableDataset):
    """Batches of one rank. Every example is in exactly one batch of one rank and one worker.

    A batch maps column names to tensors, (B,) or (B, D) in the stored precision, and texts to lists. Residue
    matrices come as `residues` (B, longest, D), zero-padded, with `mask` (B, longest). `len` is the number of
    batches of this rank. `pin` says what is read, and `report` which labels were joined; record both.

    A pass is one epoch, and a whole pass moves `epoch` on by one. Where the training loop iterates the data set itself,
    `state_dict` is right after each batch, and another process resumes from it. Through workers the state is that of
    `loader(workers)`. A plain torch DataLoader (`batch_size=None`) gives each worker a share of the batches. It has no
    state, and every pass through its workers, whole or broken off, is the next epoch.
    """

    def __init__(
        self,
        reader: Reader,
        examples: Examples,
        layout: BatchLayout,
        report: LabelReport | None,
        dtype: str | None = None,
    ) -> None:
        self.reader = reader
        self.examples = examples
        self.layout = layout
        self.report = report
        self.dtype = dtype
        self._passes = PassLog()
        self._passes_of_worker = 0
        self.set_epoch(0)

    @property
    def pin(self) -> Pin:
        """What is read, however the store grows."""
        return self.reader.pin

    @property
    def classes(self) -> dict[str, tuple[Any, ...]]:
        """The values that the numbers of each class column stand for: `classes["family"][2]`."""
        return dict(self.reader.labels.classes) if self.reader.labels is not None else {}

    def __repr__(self) -> str:
        chosen, layout = self.reader.columns, self.layout
        names = [*chosen.proteins, *chosen.vectors, *([RESIDUES, MASK] if chosen.residues else []), *chosen.labels]
        size = f"{layout.batch_size:,} rows" if layout.batch_size else f"{layout.token_budget:,} residues"
        order = f"shuffled by seed {layout.seed}" if layout.shuffle else "not shuffled"
        lines = [
            f"TorchDataset: {len(self.examples):,} examples in {len(self):,} batches of {size} for rank {layout.rank} "
            f"of {layout.world_size}, {order}, epoch {self.epoch}",
            f"  batch: {', '.join(names)} ({self.dtype or 'as stored'})",
            f"  pin: {json.dumps(self.pin.to_json())}",
        ]
        lines += [f"  classes of {name}: {len(values):,}" for name, values in self.classes.items()]
        return "\n".join([*lines, *([f"  {self.report}"] if self.report is not None else [])])

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next batch belongs to."""
        counted = get_worker_info() is None and not self._in_workers
        return self._passes.following() if counted else self._epoch

    def __len__(self) -> int:
        return sum(self._plan(self.epoch).sizes)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self._passes.restart(epoch)
        self._go_to(Position(epoch))

    def leave_to_workers(self, epoch: int) -> None:
        """Note that a loader reads this epoch: this process cannot know which batches its workers have given."""
        self._go_to(Position(epoch), in_workers=True)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: how far this process's pass has got, and everything that must be equal to resume it.

        Raises ConfigError while an epoch is read through `loader(workers)`, whose own state_dict is the right one.
        """
        if self._in_workers and get_worker_info() is None:
            raise ConfigError("the batches of this epoch come through workers; save loader.state_dict()", where="state")
        return {**asdict(self._at), "reads": self.reads(), "pin": self.pin.to_json()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass resume where `state` was taken.

        Raises ConfigError that names everything that differs, and for a state of another worker's share.
        """
        self.check_reads(state["reads"])
        position = Position(**{field.name: state[field.name] for field in fields(Position)})
        _check_share(position)
        if get_worker_info() is None:
            self._passes.restart(position.epoch)
        self._go_to(position, resume=True)

    @cached_property
    def _content(self) -> int:
        return content_digest(self.reader.view, self.examples, self.reader.labels)

    def reads(self) -> dict[str, Any]:
        """JSON-able: the layout and a checksum of the examples, which together decide every batch, and the pin."""
        same = {**self.layout.to_json(), **self.pin.to_json()}
        return {**same, "examples": len(self.examples), "content": self._content}

    def check_reads(self, wanted: dict[str, Any]) -> None:
        """Compare with what a state was taken of; raises ConfigError that names everything that differs.

        Versions may differ as long as the examples are the same. A state of an earlier version of this package names
        rows, so there the versions count too.
        """
        have = self.reads()
        moved = {name for name in ("version", "proteins") if have[name] != wanted.get(name)}
        if "content" not in wanted:
            have = {**{n: v for n, v in have.items() if n != "content"}, "digest": self.examples.digest}
        decides = [name for name in have if "content" not in have or name not in ("version", "proteins")]
        differ = [f"{n} was {wanted.get(n)!r}, is {have[n]!r}" for n in decides if have[n] != wanted.get(n)]
        if differ and moved:
            pin = {name: wanted.get(name) for name in self.pin.to_json()}
            differ.append(
                f"the store has grown since, or was tended: the state is of version {pin['version']} beside proteins "
                f"at {pin['proteins']}. Go on with store.torch(Pin.from_json({pin}), ...)"
            )
        if differ:
            raise ConfigError(differ, where="this state is of another data set")

    def loader(self, workers: int = 0, **options: Any) -> EpochLoader:
        """Batches through `workers` spawned processes; `options` are those of torchdata's StatefulDataLoader.

        Raises ConfigError where torchdata is not installed, and for options that would lose the order.
        """
        try:
            from protea_ray.query.training.loader import EpochLoader
        except ImportError as error:
            raise ConfigError('a loader needs torchdata: pip install "protea-ray[train]". Without it iterate the data '
                              "set itself, or torch's DataLoader(data, batch_size=None)",
                              where="loader") from error  # fmt: skip
        return EpochLoader(self, workers, **options)

    def __iter__(self) -> Iterator[Batch]:
        start = self._start()
        plan = self._plan(start.epoch)
        loads = plan.loads_of_worker(start.worker, start.workers)
        self._go_to(start)
        batches = read_batches(self.reader, self.examples, plan, loads, start.batches, self.dtype)
        for done, batch in enumerate(batches, start.batches + 1):
            self._at = replace(start, batches=done)
            yield batch
        self._end(start.epoch)

    def _start(self) -> Position:
        """Where a pass of this process begins: at a loaded state, once, else at the beginning of the epoch."""
        resumed = self._at if self._resume else None
        if resumed is not None:
            _check_share(resumed)
        info = get_worker_info()
        if info is not None:
            self._passes_of_worker += 1  # persistent workers have one seed for all their passes
            seen = f"{info.seed - info.id}.{self._passes_of_worker}"
            epoch = self._passes.take(seen, resumed.epoch if resumed else None)
        else:
            epoch = resumed.epoch if resumed else self.epoch
        if is_forked() and self._passes.is_first("forked"):
            _log.warning(_FORKED)
        return replace(resumed or Position(epoch), epoch=epoch, worker=_share()[0], workers=_share()[1])

    def _end(self, epoch: int) -> None:
        """Move on to the next epoch.

        The position of a worker stays at the end of its share: other workers may still be in this epoch, and a state
        saved then must not send this worker into the next one.
        """
        if get_worker_info() is None:
            self.set_epoch(epoch + 1)
        else:
            self._epoch = epoch + 1

    def _go_to(self, position: Position, *, resume: bool = False, in_workers: bool = False) -> None:
        """Set the position, and with it the epoch of the next pass."""
        self._at = position
        self._epoch = position.epoch
        self._resume = resume
        self._in_workers = in_workers

    def _plan(self, epoch: int) -> Epoch:
        return Epoch(self.layout, self.examples.residues, epoch)


def _share() -> tuple[int, int]:
    """(worker, workers) of this process; (0, 1) outside of a DataLoader's workers."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _check_share(position: Position) -> None:
    """Raise ConfigError where this process reads another share of the epoch than the position was counted in."""
    worker, workers = _share()
    if position.batches and (position.worker, position.workers) != (worker, workers):
        raise ConfigError(f"this state was taken by worker {position.worker} of {position.workers} and cannot be "
                          f"resumed by worker {worker} of {workers}: resume with as many workers, or begin an epoch "
                          "with set_epoch", where="workers")  # fmt: skip


def torch_dataset(
    view: View,
    columns: Sequence[str] | None,
    where: str | None,
    labels: Labels | None,
    dtype: str | torch.dtype | None,
    **layout: Any,
) -> TorchDataset:
    """Join records, vectors and labels at the view's pin; `layout` has the fields of BatchLayout but residue_bytes.

    Raises ConfigError for columns, a filter, a dtype or a layout that cannot work, StoreError for residues that are not
    kept, InputError for labels of residues that do not fit the proteins.
    """
    kind = _floating(dtype)
    chosen = SelectedColumns.choose(view, columns, labels)
    examples, report = find_examples(view, where, labels)
    if report is not None:
        report.say()
    if labels is not None:
        require_residue_labels(view, examples, labels)
    facts = view.facts
    width = facts["residue_width"] * np.dtype(facts["store_dtype"]).itemsize if chosen.residues else 0
    reader = Reader(view.location, view.pin, chosen, labels)
    planned = BatchLayout(**layout, residue_bytes=width)
    planned.require_batches(len(examples))
    return TorchDataset(reader, examples, planned, report, kind)


def _floating(dtype: str | torch.dtype | None) -> str | None:
    """The name of a floating dtype of torch; raises ConfigError for what is none."""
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    if name is not None and name not in _FLOATING:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(_FLOATING)}", where="dtype")
    return name
