"""Say what a run waits for, where Ray waits without a word.

A task or actor whose resources are not free is queued for ever. So a thread of the driver looks at the requests that
Ray cannot place; when there were some for a minute, and the run reported nothing in that time, it says which and what
is free. It asks the process that keeps the cluster together, which needs no dashboard.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import ray
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.experimental import internal_kv

R = TypeVar("R")

SILENT_SECONDS = 60.0  # without a report and with requests that wait, before it is said
_REPEATED_AFTER = 5  # so many times as long before it is said again
_LOOKS = 6  # in each of these times
_KINDS = ("CPU", "GPU")


@dataclass(frozen=True)
class Demand:
    """Requests that Ray could not place, by what each asks for, and what of the cluster's CPUs and GPUs is free."""

    waiting: dict[tuple[tuple[str, float], ...], int]
    free: dict[str, float]
    total: dict[str, float]

    def line(self, seconds: float) -> str:
        """One sentence with numbers."""
        asked = ", ".join(
            f"{count} x {' and '.join(f'{amount:g} {kind}' for kind, amount in request)}"
            for request, count in sorted(self.waiting.items())
        )
        kinds = [kind for kind in _KINDS if self.total.get(kind) or any(kind in dict(r) for r in self.waiting)]
        have = ", ".join(f"{self.free.get(kind, 0):g} of {self.total.get(kind, 0):g} {kind}s" for kind in kinds)
        return (
            f"nothing was finished for {seconds:.0f} s: Ray has no room for {asked}; free: {have}. "
            "Other work holds the rest. The run goes on when it is free; Ctrl-C stops it, and the same command resumes"
        )


def demand() -> Demand:
    """What waits in this cluster now; only requests as small as those of this package are counted."""
    state = get_cluster_resource_state(internal_kv.internal_kv_get_gcs_client())
    waiting: Counter[tuple[tuple[str, float], ...]] = Counter()
    for pending in state.pending_resource_requests:
        bundle = {kind: amount for kind, amount in pending.request.resources_bundle.items() if amount}
        if bundle and all(kind in _KINDS and amount <= 1 for kind, amount in bundle.items()):
            waiting[tuple(sorted(bundle.items()))] += pending.count
    return Demand(dict(waiting), _resources(ray.available_resources()), _resources(ray.cluster_resources()))


def _resources(amounts: Mapping[Any, float]) -> dict[str, float]:
    return {kind: float(amounts.get(kind, 0)) for kind in _KINDS}


@contextmanager
def waiting_is_told(
    report: R, say: Callable[[str], None], look: Callable[[], Demand] = demand, silent_seconds: float | None = None
) -> Iterator[R]:
    """While the block runs, call `say` when Ray has no room for a request and nothing was reported for a minute.

    Yields `report`, every call of which counts as a sign of life.
    """
    watch = _Watch(say, look, SILENT_SECONDS if silent_seconds is None else silent_seconds)
    thread = threading.Thread(target=watch.run, name="protea-ray-waiting", daemon=True)
    thread.start()
    try:
        yield cast("R", _Heard(report, watch))
    finally:
        watch.over.set()
        thread.join(timeout=1.0)


class _Watch:
    """Looks until the run is over."""

    def __init__(self, say: Callable[[str], None], look: Callable[[], Demand], silent_seconds: float) -> None:
        self.over = threading.Event()
        self.heard = time.monotonic()
        self._say, self._look, self._silent = say, look, silent_seconds

    def run(self) -> None:
        """The thread: tell once after the silence, then more rarely, and anew after a sign of life."""
        quiet_since, pause = time.monotonic(), self._silent
        while not self.over.wait(self._silent / _LOOKS):
            found: Demand | None = None
            with suppress(Exception):  # the cluster is gone, or too busy to answer: the run itself will say so
                found = self._look()
            now = time.monotonic()
            if found is None or not found.waiting or self.heard > quiet_since:
                quiet_since, pause = now, self._silent
            elif now - quiet_since >= pause and not self.over.is_set():
                self._say(found.line(now - quiet_since))
                pause = now - quiet_since + _REPEATED_AFTER * self._silent


class _Heard(Generic[R]):
    """Stands for a reporter: passes every call on, and tells the watch that the run is alive."""

    def __init__(self, report: R, watch: _Watch) -> None:
        self._report, self._watch = report, watch

    def __getattr__(self, name: str) -> Any:
        self._watch.heard = time.monotonic()
        return getattr(self._report, name)
