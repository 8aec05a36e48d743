"""An error keeps its own words on its way from a worker to a person, and the first one counts."""

from __future__ import annotations

import pytest
import ray
import ray.data

from protea_ray.errors import CommitError, StoreError
from protea_ray.pipeline.failures import own_errors
from protea_ray.pipeline.loop import _flushed


def refuse(_: object) -> None:
    raise StoreError("no space left")


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_task_is_raised_as_it_was() -> None:
    with pytest.raises(StoreError) as caught, own_errors():
        ray.get(ray.remote(refuse).remote(1))

    assert type(caught.value) is StoreError
    assert str(caught.value) == "no space left"


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_data_set_is_raised_as_it_was() -> None:
    with pytest.raises(StoreError) as caught, own_errors():
        list(ray.data.range(3).map_batches(refuse).iter_rows())

    assert type(caught.value) is StoreError
    assert str(caught.value) == "no space left"


def vanish(_: object) -> None:
    raise OSError("LanceError(IO): Generic N/A error: Not found: s/t.lance/data/1.lance, /home/runner/work/l.rs:3")


@pytest.mark.usefixtures("cluster")
def test_a_store_that_vanishes_is_one_clean_error_of_task_and_data_set() -> None:
    """As Lance says it in a worker, which is a page of traces in Ray's words."""
    for read in (
        lambda: ray.get(ray.remote(vanish).remote(1)),
        lambda: list(ray.data.range(1).map_batches(vanish).iter_rows()),
    ):
        with (
            pytest.raises(
                StoreError, match=r"^the store cannot be read or written: .*is still there.*verify"
            ) as caught,
            own_errors(),
        ):
            read()
        assert "Traceback" not in str(caught.value) and "/home/runner" not in str(caught.value)


class Full:
    """A committer whose store is full."""

    def __init__(self) -> None:
        self.asked = 0

    def flush(self) -> None:
        self.asked += 1
        raise CommitError("did not take it")


def test_a_failing_flush_does_not_hide_what_came_first() -> None:
    both = [Full(), Full()]
    with pytest.raises(KeyboardInterrupt) as caught, _flushed(both):  # type: ignore[arg-type]
        raise KeyboardInterrupt

    assert [c.asked for c in both] == [1, 1]  # the second is tried although the first failed
    assert "done again: did not take it" in caught.value.__notes__[0]


def test_a_failing_flush_at_the_end_is_an_error() -> None:
    with pytest.raises(CommitError), _flushed([Full()]):  # type: ignore[list-item]
        pass
