"""The whole loop with real processes: store, train, checkpoint, stop, go on, watch, drift, alias."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from protea_ray.models.checkpoint import open_checkpoint
from tests import commands
from tests.train import tiny

WAIT_SECONDS = 240


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted((out / "checkpoints").glob("step-*"))


def stopped_after_a_checkpoint(log: Path, *command: object) -> list[Path]:
    """Start training, ask it to stop when it has written a new checkpoint; returns the checkpoints."""
    out = Path(str(command[2]))
    before = checkpoints(out)
    process = commands.start(*command, log=log)
    try:
        end = time.monotonic() + WAIT_SECONDS
        while checkpoints(out)[-1:] == before[-1:]:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 130, log.read_text()
    finally:
        commands.kill_group(process)
    assert "It is safe to run the same command again" in log.read_text()
    return checkpoints(out)


def space_of(store: Path, alias: str) -> str:
    """The space that an alias points to."""
    return commands.call_json("alias", store)["aliases"][alias]["space"]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # four processes, two of them with a cluster of their own, on a machine that may be busy
def test_a_checkpoint_embeds_and_the_next_one_is_taken_compared_and_moved_to(tmp_path: Path) -> None:
    store, out = tiny.store(tmp_path / "store"), tmp_path / "out"
    train = (
        "train", store, out, *tiny.RECIPE, "--shape", tiny.shape(tmp_path), "--workers", 0, "--device", "cpu",
        "--tokens", 2_000 * 1024, "--checkpoint-minutes", "0.001",
    )  # fmt: skip

    earlier = stopped_after_a_checkpoint(tmp_path / "first.log", *train)[-1]
    assert open_checkpoint(str(earlier)).trained
    first = commands.run_json("reembed", store, "--model", earlier, "--actors", 1, "--window-overlap", 20, timeout=600)
    assert space_of(store, "current") == first["after"]

    later = stopped_after_a_checkpoint(tmp_path / "second.log", *train)[-1]
    assert later.name > earlier.name
    watched = commands.run(
        "reembed", store, "--watch", out / "checkpoints", "--alias", "candidate", "--watch-interval", "0.5",
        "--watch-rounds", 2, "--actors", 1, "--json", timeout=600,
    )  # fmt: skip
    assert watched.returncode == 0, watched.stderr
    taken = json.loads(watched.stdout.splitlines()[-1])
    assert Path(taken["checkpoint"]).name == later.name
    assert space_of(store, "candidate") == taken["after"] != first["after"]

    drift = commands.call_json("drift", store, "current", "candidate")
    assert -1 < drift["whole"]["cosine_mean"] < 0.99999
    assert drift["shared"] == 160
    commands.call_json("alias", store, "current", "candidate")
    assert space_of(store, "current") == taken["after"]
