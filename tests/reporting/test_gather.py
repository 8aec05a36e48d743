"""What a report reads of a store: a map where there can be one, else the sentence that says why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.errors import ConfigError
from protea_ray.reporting.gather import ReportOptions, gather
from protea_ray.store.rows import space_schema
from protea_ray.store.spaces import ensure_space
from tests.store import build


def silent(_: str) -> None:
    """Tell nobody."""


def test_a_space_of_residues_alone_has_a_reason_and_no_map(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    ensure_space(location, build.info("residues-1"), space_schema({}, "float32", 4, {}))
    found = gather(location, ReportOptions(space="residues-1"), silent)
    assert found.space_map is None
    assert found.without_map == "Space residues-1 keeps no vectors of whole proteins, which a map needs."


def test_several_spaces_and_no_choice_are_said(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    ensure_space(location, build.info("other"), build.schema())
    found = gather(location, ReportOptions(), silent)
    assert found.space_map is None and found.without_map.startswith("No space was chosen")
    chosen = gather(location, ReportOptions(space="esm2-00000001", against="other"), silent)
    assert chosen.space_map is not None and list(chosen.space_map.ids) == ["P00000", "P00001", "P00002"]
    assert chosen.drift is None and chosen.without_drift  # the other one holds nothing


def test_mistakes_that_the_map_does_not_look_for_are_told_at_once(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    with pytest.raises(ConfigError, match="nothing to compare"):
        gather(location, ReportOptions(space="esm2-00000001", against="esm2-00000001"), silent)
    with pytest.raises(ConfigError, match="no column 'lenth'; did you mean length"):
        gather(location, ReportOptions(space="esm2-00000001", colour="lenth"), silent)
