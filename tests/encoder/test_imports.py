"""What the driver imports from encoder, models, sequences, plan and config loads no torch, transformers or Ray.

Each list is imported in a process of its own, module by module, so a failure names the module that is at fault.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pkgutil import walk_packages

import pytest

import protea_ray.config
import protea_ray.models
import protea_ray.plan
import protea_ray.sequences

TORCH_FREE = ["layout", "collect", "canary", "budget", "in_memory"]  # of encoder; the rest is the forward pass itself
# `fused` defines torch modules. It is imported inside `Family.load`, by the process that loads a model.
LOADED_WITH_A_MODEL = {"protea_ray.models.families.fused"}

CODE = """
import importlib, json, sys
heavy, loaded = {"torch", "transformers", "ray"}, {}
for name in json.loads(sys.argv[1]):
    before = heavy & set(sys.modules)
    importlib.import_module(name)
    loaded[name] = sorted(heavy & set(sys.modules) - before)
print(json.dumps({name: new for name, new in loaded.items() if new}))
"""


def modules(package: object) -> list[str]:
    name, path = package.__name__, package.__path__  # type: ignore[attr-defined]
    return [name, *(module.name for module in walk_packages(path, f"{name}."))]


@pytest.mark.parametrize("room", [protea_ray.config, protea_ray.plan, protea_ray.sequences, protea_ray.models])
def test_a_room_below_the_encoder_loads_no_framework(room: object) -> None:
    names = [name for name in modules(room) if name not in LOADED_WITH_A_MODEL]
    assert len(names) > 3
    assert heavy_imports(names) == {}


def test_what_the_driver_needs_of_the_encoder_loads_no_framework() -> None:
    names = ["protea_ray.encoder", *(f"protea_ray.encoder.{name}" for name in TORCH_FREE)]
    assert heavy_imports(names) == {}


def test_the_check_sees_torch_where_it_is_imported() -> None:
    assert heavy_imports(["protea_ray.encoder.pool"]) == {"protea_ray.encoder.pool": ["torch"]}


def heavy_imports(names: list[str]) -> dict[str, list[str]]:
    """By module the frameworks that its import loads first."""
    command = [sys.executable, "-c", CODE, json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
