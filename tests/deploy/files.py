"""Where deploy/ is, what is in it, and the commands that its files would run."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests import stores

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONSTRAINTS = ROOT / "constraints.txt"


def read(name: str) -> Any:
    """A YAML file below deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def pinned(package: str) -> str:
    """The version that constraints.txt names."""
    found = re.search(rf"^{package}==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, package
    return found[1]


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def local(command: str, proteins: Path, store: Path) -> list[str]:
    """The command of a manifest for one machine: its own words, but places, model, device and size of the cluster.

    Raises AssertionError where one of these is not in the command.
    """
    words = shlex.split(command)
    for option, value in {"--model": "small", "--device": "cpu", "--actors": "1"}.items():
        assert option in words, f"{option} is not in: {command}"
        words[words.index(option) + 1] = value
    places = [number for number, word in enumerate(words) if word.startswith("s3://")]
    assert len(places) == 2, command
    for number, place in zip(places, (proteins, store), strict=True):
        words[number] = str(place)
    return words


def embedded(store: Path) -> int:
    """Proteins of a store, all of which have a vector."""
    assert stores.vectors(store).keys() == stores.sequences(store).keys()
    return len(stores.sequences(store))
