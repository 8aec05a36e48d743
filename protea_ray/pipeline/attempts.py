"""How often a unit was tried, and which protein was in hand when a worker died.

Ray Data retries a unit whose worker died for ever, so somebody must remember: from the third attempt on a unit is
embedded one protein at a time, each announced before its forward pass, and a protein that was in hand when a
worker died twice is set aside. Twice, because a machine that is lost takes innocent proteins with it.

The memory is Ray's own key-value store, in the process that keeps the cluster together. An actor would not do: where
memory runs out, Ray kills several workers at once, small ones too, and an actor that counts died in 16 of 20 kills of
a protein that takes all memory: 40 attempts, where four are meant.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ray.experimental import internal_kv

CAREFUL_FROM = 3  # attempts 1 and 2 run at full speed: most deaths are the machine's, not the protein's
DEATHS_TO_REJECT = 2
_NAMESPACE = "protea-ray-attempts"


@dataclass(frozen=True)
class Attempt:
    """One try at a unit. `culprits` maps a key to how often a worker died with it in hand."""

    number: int
    careful: bool
    culprits: dict[bytes, int]


@dataclass
class _History:
    """Of one unit; keys in hexadecimal."""

    tries: int = 0
    in_hand: str | None = None
    deaths: Counter[str] = field(default_factory=Counter)


class AttemptLog:
    """Of the units of one run; every worker has one, and a unit is with one worker at a time."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._known: dict[str, _History] = {}

    def begin(self, unit: str) -> Attempt:
        """Count one more try; a protein still in hand from the try before has seen a worker die."""
        history = self._read(unit)
        history.tries += 1
        if history.in_hand is not None:
            history.deaths[history.in_hand] += 1
            history.in_hand = None
        self._known[unit] = history
        self._write(unit)
        culprits = {bytes.fromhex(key): n for key, n in history.deaths.items() if n >= DEATHS_TO_REJECT}
        return Attempt(history.tries, history.tries >= CAREFUL_FROM, culprits)

    def hold(self, unit: str, key: bytes) -> None:
        """This protein's forward pass starts now."""
        self._known[unit].in_hand = key.hex()
        self._write(unit)

    def put_down(self, unit: str) -> None:
        """No protein of this unit is in hand: from here on the worker dies of something else."""
        self._known[unit].in_hand = None
        self._write(unit)

    def finish(self, unit: str) -> None:
        """The unit is done; forget it, so that memory follows the units in flight and not those of the run."""
        self._known.pop(unit, None)
        internal_kv._internal_kv_del(self._key(unit), namespace=_NAMESPACE)

    def forget(self) -> None:
        """The run is over: forget the units that it did not finish."""
        internal_kv._internal_kv_del(self._key(""), del_by_prefix=True, namespace=_NAMESPACE)

    def _key(self, unit: str) -> str:
        return f"{self._run}/{unit}"

    def _read(self, unit: str) -> _History:
        found: Any = internal_kv._internal_kv_get(self._key(unit), namespace=_NAMESPACE)
        if found is None:
            return _History()
        stored = json.loads(found)
        return _History(stored["tries"], stored["in_hand"], Counter(stored["deaths"]))

    def _write(self, unit: str) -> None:
        text = json.dumps(vars(self._known[unit]))
        internal_kv._internal_kv_put(self._key(unit), text, namespace=_NAMESPACE)
