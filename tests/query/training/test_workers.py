"""Through workers: every row once, one order, and a state that another process resumes from."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from protea_ray.errors import ConfigError
from protea_ray.query.reader import Store
from protea_ray.query.training import torch_dataset
from protea_ray.query.training.epoch import LOAD_ROWS
from protea_ray.query.training.torch_dataset import TorchDataset
from tests.query.training import helpers
from tests.query.training.interrupted import data

PROTEINS = 3 * LOAD_ROWS + 500  # four loads, so that two workers have two each, the last one short
BATCHES = (8, 5)  # of each worker; the second ends while the first still has three to give
ALL = [f"P{n:05d}" for n in range(PROTEINS)]

needs_torchdata = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata's own call


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("workers"), PROTEINS, per_unit=10_000)


def plain(read: TorchDataset, workers: int) -> DataLoader:
    return DataLoader(read, batch_size=None, num_workers=workers, multiprocessing_context="spawn")


def test_a_plain_loader_shares_every_row_once_over_workers_and_ranks(store: Store) -> None:
    read = [id for rank in range(2) for id in helpers.ids(plain(data(store, rank=rank, world_size=2), 2))]
    assert sorted(read) == ALL


@pytest.mark.slow
def test_workers_of_a_plain_loader_that_live_on_move_to_the_next_epoch(store: Store) -> None:
    alone, shared = data(store), data(store)
    loader = DataLoader(
        shared, batch_size=None, num_workers=2, multiprocessing_context="spawn", persistent_workers=True
    )
    for number in (4, 5, 9):
        for one in (alone, shared) if number != 5 else ():  # an epoch that follows is not set
            one.set_epoch(number)
        assert sorted(batch["id"] for batch in loader) == sorted(batch["id"] for batch in alone)
        assert shared.epoch == alone.epoch == number + 1


@needs_torchdata
@pytest.mark.parametrize("persistent", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_whole_pass_moves_the_epoch_on(store: Store, persistent: bool) -> None:
    whole = data(store)
    loader = whole.loader(workers=2, persistent_workers=persistent)
    first = [batch["id"] for batch in loader]
    assert (len(first), len(loader), len(whole), whole.epoch) == (13, 13, 13, 1)
    second = [batch["id"] for batch in loader]
    assert first != second
    assert sorted(id for ids in second for id in ids) == ALL
    assert sorted(second) == sorted(batch["id"] for batch in _epoch(store, 1))
    broken = next(iter(loader))["id"]
    assert next(iter(loader))["id"] == broken  # a pass that was broken off is begun anew
    assert whole.epoch == 2
    resumed = data(store).loader(workers=2)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.data.epoch == 2


def _epoch(store: Store, number: int) -> TorchDataset:
    read = data(store)
    read.set_epoch(number)
    return read


@needs_torchdata
@pytest.mark.parametrize("taken", [7, pytest.param(11, marks=pytest.mark.slow)])
def test_a_killed_epoch_goes_on_with_the_next_batch(store: Store, tmp_path: Path, taken: int) -> None:
    """After 7 batches both workers are at work, after 11 one of them has given everything."""
    saved = tmp_path / "state.json"
    command = [sys.executable, "-m", "tests.query.training.interrupted", store.uri, str(taken), str(saved)]
    log = tmp_path / "log"
    with log.open("wb") as sink:  # no pipe: workers that lost their parent may hold it open for ever
        killed = subprocess.Popen(command, stdout=sink, stderr=sink, start_new_session=True)
    try:
        assert killed.wait(300) == -9, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    found = json.loads(saved.read_text())
    batches = list(plain(data(store), 2))
    assert found["read"] == [batch["id"] for batch in batches[:taken]]
    resumed = data(store).loader(workers=2)
    resumed.load_state_dict(found["state"])
    assert resumed.state_dict() == found["state"]
    remaining = list(resumed)
    assert helpers.same(remaining, batches[taken:])
    assert sorted([id for ids in found["read"] for id in ids] + helpers.ids(remaining)) == ALL
    assert resumed.data.epoch == 1


@needs_torchdata
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")  # none of them is started
def test_another_number_of_workers_or_another_data_set_cannot_resume(store: Store) -> None:
    broken = data(store).loader(workers=2)
    taken = list(islice(broken, 3))
    assert len(taken) == 3
    state = broken.state_dict()
    for workers in (0, 1, 3):
        with pytest.raises(ConfigError, match=f"taken with 2 worker.* cannot be resumed with {workers}"):
            data(store).loader(workers).load_state_dict(state)
    with pytest.raises(ConfigError, match="world_size was 1, is 2"):
        data(store, world_size=2).loader(workers=2).load_state_dict(state)
    with pytest.raises(ConfigError, match=r"save loader\.state_dict"):
        broken.data.state_dict()


@needs_torchdata
def test_a_state_without_workers_is_not_dealt_to_workers(store: Store) -> None:
    alone = data(store)
    taken = list(islice(alone, 3))
    assert len(taken) == 3
    with pytest.raises(ConfigError, match="without a loader"):
        data(store).loader(workers=2).load_state_dict(alone.state_dict())
    resumed = data(store)
    resumed.load_state_dict(alone.state_dict())
    with pytest.raises(ConfigError, match=r"worker 0 of 1 and cannot be\s+resumed by worker 0 of 2"):
        next(iter(plain(resumed, 2)))


@needs_torchdata
def test_a_loader_without_workers_resumes(store: Store) -> None:
    whole, broken, resumed = list(data(store)), data(store).loader(), data(store).loader()
    taken = list(islice(broken, 6))
    resumed.load_state_dict(json.loads(json.dumps(broken.state_dict())))
    assert helpers.same(taken + list(resumed), whole)
    assert resumed.data.epoch == 1
    assert helpers.ids(resumed) != helpers.ids(whole)


@needs_torchdata
def test_options_that_lose_the_order_are_named(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"batch_size=4[\s\S]*in_order=False"):
        data(store).loader(workers=2, in_order=False, batch_size=4)


def test_a_loader_needs_torchdata_and_the_data_set_does_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdata.stateful_dataloader", None)
    monkeypatch.delitem(sys.modules, "protea_ray.query.training.loader", raising=False)
    with pytest.raises(ConfigError, match=r'pip install "protea-ray\[train\]"'):
        data(store).loader(workers=2)
    assert sorted(helpers.ids(data(store))) == ALL


@dataclass(frozen=True)
class Info:
    """What torch tells a worker of itself."""

    id: int
    num_workers: int
    seed: int = 7


@pytest.mark.parametrize("worker", [0, 1])
def test_each_worker_resumes_from_every_batch_of_its_share(
    store: Store, monkeypatch: pytest.MonkeyPatch, worker: int
) -> None:
    """Also from the last one: a worker that has given everything must not begin the next epoch."""
    monkeypatch.setattr(torch_dataset, "get_worker_info", lambda: Info(worker, 2))
    whole = [batch["id"] for batch in data(store)]
    assert len(whole) == BATCHES[worker]
    for taken in range(len(whole) + 1):
        assert _resumed(store, taken, until_the_end=False) == whole[taken:]
    assert _resumed(store, len(whole), until_the_end=True) == []


def _resumed(store: Store, taken: int, *, until_the_end: bool) -> list[Any]:
    """Ids of the batches that are left after `taken`, whether or not the worker has noticed that there is no other."""
    broken, resumed = data(store), data(store)
    passing = iter(broken)
    assert len(list(passing if until_the_end else islice(passing, taken))) == taken
    resumed.load_state_dict(broken.state_dict())
    return [batch["id"] for batch in resumed]


@needs_torchdata
def test_torchdata_alone_keeps_the_state_of_each_worker(store: Store) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def fresh(workers: int = 2):
        return stateful.StatefulDataLoader(data(store), batch_size=None, num_workers=workers,
                                           multiprocessing_context="spawn")  # fmt: skip

    whole, broken = list(fresh()), fresh()
    taken = list(islice(broken, 6))
    state = broken.state_dict()
    resumed = fresh()
    resumed.load_state_dict(state)
    assert helpers.same(taken + list(resumed), whole)
    other = fresh(1)
    other.load_state_dict(state)
    with pytest.raises(ConfigError, match="worker 0 of 2 and cannot be"):
        next(iter(other))
