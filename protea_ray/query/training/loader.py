"""A data set's batches through worker processes, with a state that another process resumes from.

The work is done by torchdata's StatefulDataLoader, which saves the position of each worker with the batch that it
gives. Added here: the epoch moves on after a whole pass, and a state of another data set or of another number of
workers raises before a worker starts (docs/decisions/0008-stateful-dataloader.md).

    loader = data.loader(workers=2)
    loader.load_state_dict(json.loads(saved))   # only to resume
    for batch in loader:
        ...
        saved = json.dumps(loader.state_dict())
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torchdata.stateful_dataloader import StatefulDataLoader

from protea_ray.errors import ConfigError
from protea_ray.query.training.main_guard import require_main_guard

if TYPE_CHECKING:
    from protea_ray.query.training.loads import Batch
    from protea_ray.query.training.torch_dataset import TorchDataset


class EpochLoader(StatefulDataLoader):
    """A StatefulDataLoader over whole batches; one pass is one epoch.

    Workers are spawned, because Lance's threads do not survive a fork. Their batches come in a fixed order, so that
    an epoch resumed with the same number of workers goes on with the very next batch. `persistent_workers=True` starts
    them once and not for each epoch. Raises ConfigError for options that would lose that order.
    """

    def __init__(self, data: TorchDataset, workers: int, **options: Any) -> None:
        problems = [f"{name}={options[name]!r} loses the order of the batches" for name, wanted in _FIXED.items()
                    if options.get(name, wanted) != wanted]  # fmt: skip
        if problems:
            raise ConfigError(problems, where="loader")
        if workers:
            options = {"multiprocessing_context": "spawn", **options}
        super().__init__(data, num_workers=workers, **{**options, **_FIXED})
        self.data = data
        self._reached: dict[str, Any] | None = {}  # torchdata's state where no pass is running; None while one is

    def __repr__(self) -> str:
        return f"EpochLoader(workers={self.num_workers}, {self.data!r})"

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: the epoch, the number of workers, what they read, and the position of each of them."""
        reached = super().state_dict() if self._reached is None else self._reached
        return {"epoch": self.data.epoch, "workers": self.num_workers, "reads": self.data.reads(), "loader": reached,
                "pin": self.data.pin.to_json()}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next pass resume where the state was taken.

        Raises ConfigError for a state of another data set, of another number of workers, or of no loader.
        """
        if "loader" not in state_dict:
            raise ConfigError("this state is of a data set that was iterated without a loader; load it there",
                              where="state")  # fmt: skip
        self.data.check_reads(state_dict["reads"])
        if state_dict["workers"] != self.num_workers:
            raise ConfigError(f"this state was taken with {state_dict['workers']} worker(s) and cannot be resumed with "
                              f"{self.num_workers}: resume with as many, or begin an epoch with set_epoch",
                              where="workers")  # fmt: skip
        self.data.set_epoch(state_dict["epoch"])
        super().load_state_dict(state_dict["loader"])
        self._reached = state_dict["loader"]

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch's type has nothing but an iterator
        epoch = self.data.epoch
        if self.num_workers:
            require_main_guard()
            self.data.set_epoch(epoch)  # for workers that live on, and after a pass that was broken off
        batches = super().__iter__()
        self._reached = None
        if self.num_workers:
            self.data.leave_to_workers(epoch)
        yield from batches
        self.data.set_epoch(epoch + 1)
        self._reached = {}


_FIXED: dict[str, Any] = {"batch_size": None, "in_order": True}
