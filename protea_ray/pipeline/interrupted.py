"""The trace of a run that was stopped: a row in `runs` of the kind `interrupted`, with what it had committed by then.

It is written under the run's lease, so a run that lost it leaves none, and neither does one that was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from protea_ray.errors import ProteaRayError
from protea_ray.pipeline.loop import Tally
from protea_ray.store.commit import Writer
from protea_ray.store.location import Location
from protea_ray.store.runs import record_run

INTERRUPTED = "interrupted"


@contextmanager
def interruption_recorded(
    location: Location, run: str, writer: Writer, facts: Callable[[], dict[str, Any]]
) -> Iterator[None]:
    """Record the run with `facts()` when Ctrl-C or SIGTERM ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(ProteaRayError):  # the lease is lost, or the store cannot be written: the person still stops
            record_run(location, run, facts(), writer=writer, kind=INTERRUPTED)
        raise


def committed(tally: Tally, wanted: int, model: str, started: float) -> dict[str, Any]:
    """What a stopped run had done of `wanted` proteins; the first space's counts at the top, as of a whole run."""
    spaces = [
        {"space": space, "stored": stored, "rejected": tally.rejected[space]} for space, stored in tally.stored.items()
    ]
    seconds = round(time.time() - started, 3)
    return {
        **spaces[0], "model": model, "wanted": wanted, "residues": tally.residues, "seconds": seconds, "spaces": spaces
    }  # fmt: skip
