"""What is looked at before Ray is imported: a name that can be a model, and nothing that takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.errors import CheckpointError
from protea_ray.pipeline.first_look import look_for_checkpoint


@pytest.mark.parametrize("name", ["small", "esm2_650m", "prostt5", "facebook/esm2_t33_650M_UR50D"])
def test_what_may_be_on_the_hub_is_left_to_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("fetched without a word"))
    look_for_checkpoint(name)


@pytest.mark.parametrize("name", ["esm2_650", "./nowhere", "a/b/c"])
def test_what_can_be_nowhere_is_an_error_at_once(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"esm2_650m|no directory"):
        look_for_checkpoint(name)


def test_a_directory_is_what_it_is(tmp_path: Path) -> None:
    look_for_checkpoint(str(tmp_path))
    with pytest.raises(CheckpointError, match="revision"):
        look_for_checkpoint(str(tmp_path), "0" * 40)
