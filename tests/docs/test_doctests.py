"""The examples in docstrings of the pure parts say what is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import protea_ray.config
import protea_ray.plan
import protea_ray.sequences

PURE = (protea_ray.config, protea_ray.plan, protea_ray.sequences)
TAUGHT = {"protea_ray.plan.windows", "protea_ray.plan.pack", "protea_ray.sequences.records", "protea_ray.config.recipe"}
TAUGHT |= {"protea_ray.display", "protea_ray.plan.steps"}


def modules() -> Iterator[str]:
    for package in PURE:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield module.name
    yield "protea_ray.display"


@pytest.mark.parametrize("name", list(modules()))
def test_examples_hold(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))

    assert failed == 0
    assert attempted or name not in TAUGHT  # these modules teach by example
