"""plan.json: what a place trains. The same plan there is a resume; another one is refused with what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.config.identity import canonical_json
from protea_ray.config.training import TrainingConfig
from protea_ray.errors import ConfigError
from protea_ray.train.model_files import write_json

PLAN = "plan.json"
SCHEMA = 1


@dataclass(frozen=True)
class TrainingPlan:
    """The recipe, the proteins, their split and the weights at the start: all that decides what comes out.

    `data` is the pin of the proteins, `split` the sha256 of which of them are for validation, `parent` names the
    weights of the start.
    """

    config: TrainingConfig
    data: Mapping[str, Any]
    split: str
    parent: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan as plan.json has it, with its digest."""
        held = self._held()
        return {"digest": hashlib.sha256(canonical_json(held).encode()).hexdigest(), **held}

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of everything else in the plan."""
        return self.to_json()["digest"]

    def _held(self) -> dict[str, Any]:
        unset = {"quantization"} if self.config.quantization is None else set[str]()  # as plans were before it
        unset |= {"feature_maps"} if self.config.feature_maps == "none" else set[str]()
        recipe = self.config.model_dump(mode="json", exclude=unset)
        return {"schema": SCHEMA, "config": recipe, "data": dict(self.data), "split": self.split,
                "parent": dict(self.parent)}  # fmt: skip

    def settle(self, out: Path) -> None:
        """Write the plan where there is none; raises ConfigError that lists what differs from the one that is there."""
        path = out / PLAN
        if not path.exists():
            write_json(path, self.to_json())
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path} is not a plan ({error}); name another place", where="training") from None
        if found := list(_differences(held, self.to_json(), "")):
            raise ConfigError([*found, f"{out} holds another training run: name another place for this one"],
                              where="training")  # fmt: skip


def _differences(held: Any, given: Any, name: str) -> Iterator[str]:
    """In words, each field that is not the same; the location of proteins with equal letters may change."""
    if isinstance(held, dict) and isinstance(given, dict):
        for key in sorted({*held, *given} - ({"digest"} if not name else {"uri", "version"})):
            yield from _differences(held.get(key), given.get(key), f"{name}.{key}" if name else key)
    elif held != given:
        yield f"{name.removeprefix('config.')}: {_short(held)} there, {_short(given)} now"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}...{text[-6:]}"
