"""Count the attempts at each unit, and record which protein was being computed when a worker died.

Ray Data retries a unit whose worker died without end. So from the third attempt on a unit is embedded one protein at
a time, each recorded before its forward pass, and a protein that was being computed when a worker died is rejected
after the second death. Not after the first: a machine that is lost takes other proteins with it.

The counts are kept in Ray's own key-value store, in the process that keeps the cluster together. They were once kept
in an actor: where memory runs out, Ray kills several workers at once, small ones too, and that actor died in 16 of 20
kills of a protein that takes all memory, which gave 40 attempts instead of four.
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
    """One attempt at a unit.

    `careful`: one protein at a time. `culprits`: keys that were being computed at two or more deaths, with the number.
    """

    number: int
    careful: bool
    culprits: dict[bytes, int]


@dataclass
class _History:
    """Attempts at one unit, the key that is being computed, and deaths by key; keys in hexadecimal."""

    tries: int = 0
    in_hand: str | None = None
    deaths: Counter[str] = field(default_factory=Counter)


class AttemptLog:
    """The attempts at the units of one run. Every worker has a log; a unit is with one worker at a time."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._known: dict[str, _History] = {}

    def begin(self, unit: str) -> Attempt:
        """Count one more attempt. A key left in hand by the attempt before counts one more death."""
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
        """Record that the forward pass of the protein with this key starts now."""
        self._known[unit].in_hand = key.hex()
        self._write(unit)

    def put_down(self, unit: str) -> None:
        """Record that no protein of this unit is being computed: a death from here on has another cause."""
        self._known[unit].in_hand = None
        self._write(unit)

    def finish(self, unit: str) -> None:
        """Delete a unit that is done, so that memory grows with the units in flight and not with those of the run."""
        self._known.pop(unit, None)
        internal_kv._internal_kv_del(self._key(unit), namespace=_NAMESPACE)

    def forget(self) -> None:
        """Delete the units that the run did not finish; called when it is over."""
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
