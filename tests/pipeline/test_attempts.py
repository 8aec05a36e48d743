"""The log of attempts: careful from the third try, and a culprit only after two deaths alone."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.pipeline import attempts
from protea_ray.pipeline.attempts import AttemptLog

A, B = b"a" * 16, b"b" * 16


@pytest.fixture(autouse=True)
def kept(monkeypatch: Any) -> dict[str, str]:
    """Ray's key-value store as a dictionary; the chaos suite has the real one."""
    values: dict[str, str] = {}

    def put(key: str, value: str, **_: Any) -> None:
        values[key] = value

    def delete(key: str, del_by_prefix: bool = False, **_: Any) -> None:
        for name in [k for k in values if k == key or (del_by_prefix and k.startswith(key))]:
            del values[name]

    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_get", lambda key, **_: values.get(key))
    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_put", put)
    monkeypatch.setattr(attempts.internal_kv, "_internal_kv_del", delete)
    return values


def test_a_protein_in_hand_at_two_deaths_is_the_culprit() -> None:
    log = AttemptLog("run")
    assert not log.begin("u").careful
    assert not log.begin("u").careful
    third = log.begin("u")
    assert (third.number, third.careful, third.culprits) == (3, True, {})

    log.hold("u", A)
    log.hold("u", B)  # A came back, so B is in hand when the worker dies
    assert log.begin("u").culprits == {}
    log.hold("u", A)
    log.hold("u", B)
    assert log.begin("u").culprits == {B: 2}


def test_deaths_of_different_proteins_condemn_none() -> None:
    log = AttemptLog("run")
    for _ in range(3):
        log.begin("u")
    log.hold("u", A)
    log.begin("u")
    log.hold("u", B)

    assert log.begin("u").culprits == {}


def test_a_finished_unit_is_forgotten() -> None:
    log = AttemptLog("run")
    log.begin("u")
    log.finish("u")

    assert log.begin("u").number == 1


def test_a_protein_that_was_put_down_is_no_suspect() -> None:
    """Its unit waited for the file to be written while another unit killed the worker, three times."""
    log = AttemptLog("run")
    for _ in range(3):
        log.begin("u")
        log.hold("u", A)
        log.put_down("u")

    assert log.begin("u").culprits == {}


def test_the_next_worker_knows_what_a_dead_one_was_doing() -> None:
    for number in range(1, 4):
        assert AttemptLog("run").begin("u").number == number
    for _ in range(2):
        dies = AttemptLog("run")
        dies.begin("u")
        dies.hold("u", B)

    assert AttemptLog("run").begin("u").culprits == {B: 2}


def test_a_run_that_is_over_leaves_nothing_and_takes_nothing_of_another(kept: dict[str, str]) -> None:
    mine, other = AttemptLog("run"), AttemptLog("run-2")
    mine.begin("u")
    mine.begin("v")
    other.begin("u")
    mine.finish("u")
    assert len(kept) == 2

    mine.forget()

    assert list(kept) == ["run-2/u"]


def test_a_death_is_counted_once() -> None:
    """The worker died on A, and then twice while its successor loaded the model: that is no second death on A."""
    log = AttemptLog("run")
    for _ in range(3):
        log.begin("u")
    log.hold("u", A)

    assert [AttemptLog("run").begin("u").culprits for _ in range(3)] == [{}, {}, {}]
    again = AttemptLog("run")
    again.begin("u")
    again.hold("u", A)
    assert AttemptLog("run").begin("u").culprits == {A: 2}
