"""What Ray has no room for is said after a silence, and nothing is said while a run goes on."""

from __future__ import annotations

import threading
import time

import pytest
import ray

from protea_ray.cluster.waiting import Demand, demand, waiting_is_told

READER = (("CPU", 0.5),)
STUCK = Demand({READER: 2, (("CPU", 1.0),): 1}, {"CPU": 0.0, "GPU": 0.0}, {"CPU": 4.0, "GPU": 0.0})
BUSY = Demand({}, {"CPU": 0.0, "GPU": 0.0}, {"CPU": 4.0, "GPU": 0.0})


def test_the_sentence_has_numbers() -> None:
    line = STUCK.line(61.2)
    assert "nothing was finished for 61 s" in line
    assert "2 x 0.5 CPU, 1 x 1 CPU; free: 0 of 4 CPUs." in line
    gpu = Demand({(("GPU", 1.0),): 3}, {"CPU": 2.0, "GPU": 0.0}, {"CPU": 2.0, "GPU": 2.0})
    assert "3 x 1 GPU; free: 2 of 2 CPUs, 0 of 2 GPUs" in gpu.line(60)


class Told:
    """Collects what is said, and gives the looks of a script, the last one for ever; knows when so many were taken."""

    def __init__(self, *looks: Demand | Exception) -> None:
        self.lines: list[str] = []
        self.said, self.taken = threading.Event(), 0
        self._looks = list(looks)
        self._enough = threading.Event()

    def note(self, text: str) -> None:
        self.lines.append(text)
        self.said.set()

    def look(self) -> Demand:
        self.taken += 1
        if self.taken >= 30:
            self._enough.set()
        found = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def wait(self) -> None:
        assert self._enough.wait(60)


def test_it_is_said_once_and_then_more_rarely() -> None:
    told = Told(STUCK)
    with waiting_is_told(told, told.note, told.look, 0.06):
        assert told.said.wait(60)
        first = told.taken
    assert len(told.lines) == 1
    assert first >= 6


@pytest.mark.parametrize("looks", [(BUSY,), (ConnectionError("no head"),), (*([STUCK, STUCK, BUSY] * 20), BUSY)])
def test_nothing_is_said_while_nothing_waits_for_long(looks: tuple[Demand | Exception, ...]) -> None:
    told = Told(*looks)
    with waiting_is_told(told, told.note, told.look, 0.06):
        told.wait()
    assert told.lines == []


def test_every_report_is_a_sign_of_life() -> None:
    told = Told(STUCK)

    def look() -> Demand:
        report.taken  # noqa: B018 - any use of the reporter that came back
        return told.look()

    with waiting_is_told(told, told.note, look, 0.06) as report:
        told.wait()
    assert told.lines == []


def test_the_reporter_that_comes_back_passes_calls_on() -> None:
    told = Told(BUSY)
    with waiting_is_told(told, told.note, told.look) as report:
        report.note("hello")
    assert told.lines == ["hello"]


@pytest.mark.usefixtures("cluster")
def test_ray_itself_tells_what_waits() -> None:
    """A request for every CPU and one more task; a request that is larger than any of ours is not counted."""
    total = ray.cluster_resources()["CPU"]

    @ray.remote(num_cpus=total)
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote(), timeout=120)
    waiting = [ray.remote(_nothing).options(num_cpus=cpus).remote() for cpus in (1, 0.5, total)]
    try:
        for _ in range(100):
            found = demand()
            if len(found.waiting) == 2:
                break
            time.sleep(0.1)
        assert found.waiting == {(("CPU", 1.0),): 1, (("CPU", 0.5),): 1}
        assert (found.free["CPU"], found.total["CPU"]) == (0.0, total)
    finally:
        ray.kill(holder)
        ray.get(waiting, timeout=120)


def _nothing() -> None:
    """A task that ends at once."""
