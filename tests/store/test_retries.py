"""What is repeated, how often, after which pauses, and what is raised in the end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from protea_ray.errors import CommitError
from protea_ray.store import retries
from protea_ray.store.retries import attempts, with_retries


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every sleep, none of which is slept."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def failing(*errors: Exception) -> Callable[[], str]:
    """An operation that raises these errors, one a call, and then returns."""
    left = list(errors)

    def operation() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return operation


def test_the_first_attempt_waits_for_nothing(slept: list[float]) -> None:
    assert with_retries(failing()) == "done"
    assert slept == [0.0]


def test_every_attempt_has_its_own_pause(slept: list[float]) -> None:
    assert with_retries(failing(*[OSError("slow down")] * 3)) == "done"
    assert slept == [0.0, 0.2, 1.0, 3.0]


def test_attempts_without_an_operation_pause_alike(slept: list[float]) -> None:
    assert len(list(attempts())) == 4
    assert slept == [0.0, 0.2, 1.0, 3.0]


def test_after_the_last_attempt_the_last_error_is_raised() -> None:
    errors = [OSError(str(number)) for number in range(4)]
    with pytest.raises(OSError, match="3") as caught:
        with_retries(failing(*errors))
    assert caught.value is errors[3]
    assert caught.value.__cause__ is None


def test_giving_up_makes_an_error_that_names_its_cause() -> None:
    errors = [OSError(str(number)) for number in range(4)]
    with pytest.raises(CommitError, match="gave up after 3") as caught:
        with_retries(failing(*errors), give_up=lambda last: CommitError(f"gave up after {last}"))
    assert caught.value.__cause__ is errors[3]


def test_other_errors_are_raised_at_once_and_unchanged(slept: list[float]) -> None:
    error = ValueError("damaged")
    with pytest.raises(ValueError) as caught:
        with_retries(failing(OSError("slow down"), error), give_up=lambda last: CommitError(str(last)))
    assert caught.value is error
    assert slept == [0.0, 0.2]


def test_the_caller_says_what_is_repeated() -> None:
    assert with_retries(failing(ValueError("once")), retry_on=lambda error: str(error) == "once") == "done"
    with pytest.raises(OSError):
        with_retries(failing(OSError("x")), retry_on=lambda _: False)


def test_pauses_are_read_when_they_are_needed(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.5, 0.0))
    with pytest.raises(OSError):
        with_retries(failing(*[OSError("slow down")] * 4))
    assert slept == [0.5, 0.0]


def test_an_interrupt_is_not_repeated(slept: list[float]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_retries(interrupted, retry_on=lambda _: True)
    assert slept == [0.0]
