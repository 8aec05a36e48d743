"""Epochs through torch's own DataLoader: every example once in each, another order each time, forked or spawned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from protea_ray.errors import ConfigError
from protea_ray.query.reader import Store
from protea_ray.query.training import epoch
from protea_ray.query.training.passes import PassLog
from protea_ray.query.training.torch_dataset import TorchDataset
from tests.query.training import helpers

PROTEINS = 300
ALL = [f"P{n:05d}" for n in range(PROTEINS)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("epochs"), PROTEINS, per_unit=100)


@pytest.fixture
def data(store: Store, monkeypatch: pytest.MonkeyPatch) -> TorchDataset:
    monkeypatch.setattr(epoch, "LOAD_ROWS", 64)  # several loads, so that both workers have a share
    return store.torch(columns=["id", "mean"], labels=helpers.labels(range(PROTEINS)), batch_size=16, shuffle=True)


def in_one_process(store: Store, number: int) -> list[str]:
    """The ids of an epoch without workers, sorted by the number of their batch."""
    data = store.torch(columns=["id"], labels=helpers.labels(range(PROTEINS)), batch_size=16, shuffle=True)
    data.set_epoch(number)
    return sorted(",".join(batch["id"]) for batch in data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
def test_twelve_epochs_through_forked_workers(store: Store, data: TorchDataset) -> None:
    list(data)  # the parent has read: its threads of Lance do not come along
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    orders = [[batch["id"] for batch in loader] for _ in range(12)]

    assert all(sorted(id for ids in order for id in ids) == ALL for order in orders)
    assert len({str(order) for order in orders}) == 12
    assert data.epoch == 13
    for number, order in enumerate(orders, 1):  # the same batches as without workers
        assert sorted(",".join(ids) for ids in order) == in_one_process(store, number)
    assert not data._passes.is_first("forked")  # a worker has said it


def test_passes_are_counted_in_the_order_in_which_they_appear() -> None:
    log, other = PassLog(), PassLog.__new__(PassLog)
    other.__setstate__(log.__getstate__())  # a worker's copy
    log.restart(3)
    assert [log.take("a"), other.take("a"), other.take("b"), log.take("a"), log.take("b")] == [3, 3, 4, 3, 4]
    assert (log.following(), other.following()) == (5, 5)
    log.restart(9)
    assert [other.take("a"), log.take("c", 20), other.take("c"), other.take("d")] == [9, 20, 20, 21]
    path = Path(log.__getstate__()["_path"])
    del log, other
    assert not path.exists()


def test_a_count_that_was_removed_is_no_new_count() -> None:
    log = PassLog()
    Path(log.__getstate__()["_path"]).unlink()
    with pytest.raises(ConfigError, match="counts its epochs, was removed"):
        log.take("a")


SCRIPT = """
import sys
from protea_ray import open_store
loader = open_store(sys.argv[1]).torch(columns=["id"], batch_size=16).loader(2)
{guard}print(sum(len(batch["id"]) for batch in loader))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("guard", "code"), [("", 1), ('if __name__ == "__main__": ', 0)])
def test_a_script_without_a_guard_is_told_so_once(store: Store, tmp_path: Path, guard: str, code: int) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(guard=guard))
    done = subprocess.run([sys.executable, str(script), store.uri], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(Path.cwd())})  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stderr.count("Traceback") == code
    assert (f"{script}:5 starts worker processes" in done.stderr) is bool(code)
    assert done.stdout.strip() == ("" if code else str(PROTEINS))
