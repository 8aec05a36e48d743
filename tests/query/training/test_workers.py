"""Through DataLoader workers: every row once, one order, and a state that counts what the training loop got."""

from __future__ import annotations

from itertools import islice

import pytest

from protea_ray.errors import ConfigError
from protea_ray.query.reader import Store
from protea_ray.query.training.epoch import WINDOW_ROWS, resumed_lanes
from protea_ray.query.training.torch_dataset import TorchDataset
from tests.query.training import helpers

BATCH = 2048
PROTEINS = 3 * WINDOW_ROWS + 500  # four windows, so that two workers have two each, the last one short


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("workers"), PROTEINS, per_unit=10_000)


def data(store: Store, **options: object) -> TorchDataset:
    return store.torch(columns=["id", "mean"], batch_size=BATCH, shuffle=True, seed=4, **options)  # type: ignore


def test_workers_and_ranks_share_every_row_once(store: Store) -> None:
    read = [id for rank in range(2) for id in helpers.ids(data(store, rank=rank, world_size=2).loader(workers=2))]
    assert sorted(read) == [f"P{n:05d}" for n in range(PROTEINS)]


def test_an_epoch_through_workers_goes_on_with_the_next_batch(store: Store) -> None:
    whole = data(store)
    batches = list(whole.loader(workers=2))
    assert len(batches) == len(whole) == 13
    assert whole.epoch == 1
    broken = data(store).loader(workers=2)
    assert helpers.same(list(islice(broken, 7)), batches[:7])
    state = broken.state_dict()
    assert (state["batches"], state["workers"]) == (7, 2)
    resumed = data(store)
    resumed.load_state_dict(state)
    assert helpers.same(list(resumed.loader(workers=2)), batches[7:])
    other = data(store)
    other.load_state_dict(state)
    with pytest.raises(ConfigError, match="taken with 2 worker"):
        next(iter(other))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata's own import
def test_torchdata_keeps_the_state_of_each_worker(store: Store) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def fresh():
        return stateful.StatefulDataLoader(data(store), batch_size=None, num_workers=2,
                                           multiprocessing_context="spawn")  # fmt: skip

    whole, broken = list(fresh()), fresh()
    taken = list(islice(broken, 6))
    state = broken.state_dict()
    resumed = fresh()
    resumed.load_state_dict(state)
    assert helpers.same(taken + list(resumed), whole)


@pytest.mark.parametrize("sizes", [[3, 3], [4, 1, 2], [1, 5], [2, 0, 2], [7]])
def test_lanes_are_taken_up_in_the_order_of_their_turns(sizes: list[int]) -> None:
    def deal(lanes: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """What a DataLoader makes of workers with these lanes: one batch of each in turn until all have ended."""
        left = [[(lane, i) for i in range(taken, sizes[lane])] for lane, taken in lanes]
        order = []
        while any(left):
            order += [batches.pop(0) for batches in left if batches]
        return order

    whole = deal([(lane, 0) for lane in range(len(sizes))])
    for done in range(sum(sizes) + 1):
        assert deal(resumed_lanes(sizes, done)) == whole[done:]
