"""The torch data set: every row once, with its own vector and label, in an order that the seed decides."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.reader import Store
from protea_ray.query.training import epoch
from tests.query.training import helpers
from tests.store import build

PROTEINS = 700


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("torch"), PROTEINS, with_residues=True)


@pytest.fixture
def small_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several loads in a few hundred rows."""
    monkeypatch.setattr(epoch, "BLOCK", 8)
    monkeypatch.setattr(epoch, "LOAD_ROWS", 64)
    monkeypatch.setattr(epoch, "LOAD_BYTES", 40_000)


def test_a_batch_has_what_belongs_together(store: Store) -> None:
    (batch, *_) = store.torch(columns=["id", "length", "mean", "sequence"], batch_size=50)
    assert np.array_equal(batch["mean"].numpy(), helpers.vectors(batch))
    assert batch["mean"].dtype == torch.float32
    assert batch["sequence"] == [build.sequence(helpers.number(id)) for id in batch["id"]]
    assert batch["length"].tolist() == [len(s) for s in batch["sequence"]]


def test_unshuffled_is_the_order_of_the_space(store: Store) -> None:
    data = store.torch(batch_size=64)
    assert helpers.ids(data) == [f"P{n:05d}" for n in range(PROTEINS)]
    assert len(data) == 11
    assert set(next(iter(data))) == {"id", "mean"}


@pytest.mark.usefixtures("small_loads")
@pytest.mark.parametrize("batch", [{"batch_size": 7}, {"token_budget": 300}])
@pytest.mark.parametrize("world", [1, 3])
def test_every_row_once_over_all_ranks(store: Store, world: int, batch: dict[str, int]) -> None:
    columns = ["id", "residues"] if "token_budget" in batch else ["id", "mean"]
    parts = [
        store.torch(columns=columns, shuffle=True, seed=5, rank=r, world_size=world, **batch) for r in range(world)
    ]
    read = [helpers.ids(part) for part in parts]
    assert sorted(id for part in read for id in part) == [f"P{n:05d}" for n in range(PROTEINS)]
    assert max(map(len, read)) - min(map(len, read)) <= 1


@pytest.mark.usefixtures("small_loads")
def test_seed_and_epoch_decide_the_order(store: Store) -> None:
    def order(seed: int, epoch: int) -> list[str]:
        data = store.torch(columns=["id"], batch_size=16, shuffle=True, seed=seed)
        data.set_epoch(epoch)
        return helpers.ids(data)

    orders = [order(1, 0), order(1, 1), order(2, 0)]
    assert order(1, 0) == orders[0]
    assert len({tuple(o) for o in orders}) == 3
    assert all(sorted(o) == sorted(orders[0]) for o in orders)
    data = store.torch(columns=["id"], batch_size=16, shuffle=True, seed=1)
    assert [helpers.ids(data), helpers.ids(data)] == orders[:2]


@pytest.mark.usefixtures("small_loads")
def test_shuffling_moves_rows_far(store: Store) -> None:
    numbers = [helpers.number(id) for id in helpers.ids(store.torch(columns=["id"], batch_size=16, shuffle=True))]
    moved = np.abs(np.array(numbers) - np.arange(PROTEINS))
    assert moved.mean() > PROTEINS / 6  # a third of the length is what a full shuffle gives
    neighbours = np.abs(np.diff(numbers)) == 1
    assert neighbours.mean() < 0.05


def test_drop_last_gives_every_rank_the_same_number_of_full_batches(store: Store) -> None:
    for world in (1, 2, 3, 5):
        parts = [store.torch(columns=["id"], batch_size=23, drop_last=True, rank=r, world_size=world)
                 for r in range(world)]  # fmt: skip
        sizes = [[len(b["id"]) for b in part] for part in parts]
        assert {len(s) for s in sizes} == {PROTEINS // world // 23} == {len(part) for part in parts}
        assert {n for s in sizes for n in s} == {23}


@pytest.mark.usefixtures("small_loads")
def test_residues_come_padded_in_batches_of_similar_length(store: Store) -> None:
    data = store.torch(columns=["id", "residues"], token_budget=400, shuffle=True)
    seen, padded = 0, 0
    for batch in data:
        rows, longest, _ = batch["residues"].shape
        assert rows == 1 or rows * longest <= 400
        padded += rows * longest
        for row, id in enumerate(batch["id"]):
            whole = build.residues(helpers.number(id))
            mask = batch["mask"][row]
            assert np.array_equal(batch["residues"][row][mask].numpy(), whole)
            assert not batch["residues"][row][~mask].any()
            seen += len(whole)
    assert seen == sum(len(build.sequence(n)) for n in range(PROTEINS))
    assert seen / padded > 0.85


def test_a_protein_longer_than_the_budget_is_a_batch_of_its_own(store: Store) -> None:
    shapes = [tuple(b["residues"].shape[:2]) for b in store.torch(columns=["residues"], token_budget=12)]
    assert all(rows == 1 for rows, longest in shapes if longest > 6)
    assert sum(rows for rows, _ in shapes) == PROTEINS


def test_filters_and_chunks(store: Store) -> None:
    data = store.torch(columns=["id", "length"], where="length > 50", batch_size=1000)
    (batch,) = data
    assert sorted(batch["id"]) == [f"P{n:05d}" for n in range(PROTEINS) if len(build.sequence(n)) > 50]
    with pytest.raises(ConfigError, match="no protein of the store passes 'length < 0'"):
        store.torch(where="length < 0", batch_size=4)


def test_the_same_letters_under_two_ids_are_two_examples_and_a_repeated_record_is_one(tmp_path: Path) -> None:
    store = helpers.make(tmp_path, 6)
    build.ingest(store.location, build.proteins([2, 4], "b", ids=["other", "P00004"]), "b", "d2")
    (batch,) = store.torch(batch_size=100)
    assert sorted(batch["id"]) == ["P00000", "P00001", "P00002", "P00003", "P00004", "P00005", "other"]
    assert np.array_equal(batch["mean"][batch["id"].index("other")].numpy(), build.vector(2))


@pytest.mark.usefixtures("small_loads")
@pytest.mark.parametrize("taken", [0, 1, 9, 17, 43])
@pytest.mark.parametrize("batch", [{"batch_size": 16}, {"token_budget": 500}])
def test_an_interrupted_epoch_goes_on_with_the_next_batch(store: Store, taken: int, batch: dict[str, int]) -> None:
    columns = ["id", "residues"] if "token_budget" in batch else ["id", "mean"]

    def fresh():
        return store.torch(columns=columns, shuffle=True, seed=3, **batch)

    whole, again, broken = list(data := fresh()), list(data), fresh()
    passing = iter(broken)
    assert helpers.same(list(islice(passing, taken)), whole[:taken])
    state = broken.state_dict()
    resumed = fresh()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert helpers.same(list(resumed), whole[taken:])
    assert helpers.same(list(resumed), again)


def test_a_new_pass_begins_anew_unless_a_state_was_loaded(store: Store) -> None:
    data = store.torch(columns=["id"], batch_size=100, shuffle=True)
    first = next(iter(data))
    assert next(iter(data)) == first
    assert data.epoch == 0


def test_a_state_of_something_else_is_refused(store: Store, tmp_path: Path) -> None:
    state = store.torch(batch_size=16, seed=1).state_dict()
    with pytest.raises(ConfigError, match=r"seed was 1, is 2") as caught:
        store.torch(batch_size=8, seed=2).load_state_dict(state)
    assert len(caught.value.problems) == 2
    other = helpers.make(tmp_path, 10).torch(batch_size=16, seed=1)
    with pytest.raises(ConfigError, match=r"examples was 700, is 10"):
        other.load_state_dict(state)


def test_what_cannot_work_is_said_at_once(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of them"):
        store.torch()
    with pytest.raises(ConfigError, match="5 problem"):
        store.torch(batch_size=0, rank=3, world_size=2, token_budget=0)
    with pytest.raises(ConfigError, match="token_budget is for residue matrices"):
        store.torch(columns=["mean"], token_budget=100)
    with pytest.raises(ConfigError, match="unknown columns nope"):
        store.torch(columns=["nope"], batch_size=1)
    with pytest.raises(StoreError, match="keeps no residue matrices"):
        helpers.make(tmp_path, 3).torch(columns=["residues"], token_budget=10)
