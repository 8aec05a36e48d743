"""Where `current` points after a run: never at random vectors while a trained space is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import ConfigError
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.reembed import reembed
from protea_ray.query.reader import open_store
from protea_ray.store import aliases
from protea_ray.store.commit import Writer
from protea_ray.store.location import open_location
from tests.toy import ToySpec

pytestmark = pytest.mark.usefixtures("cluster")
FIRST = ">a\nMKTAYIAKQR\n>b\nGIVEQCCTSI\n>long\n" + "MKT" * 40 + "\n"
Run = Callable[..., Summary]


@pytest.fixture
def untrained(esm2: Path, tmp_path: Path) -> Path:
    """The same weights under another epsilon, marked as never trained."""
    place = Path(shutil.copytree(esm2, tmp_path / "fresh"))
    config = json.loads((place / "config.json").read_text())
    told = config | {"layer_norm_eps": 1e-6, "protea_ray": {"trained": False}}
    (place / "config.json").write_text(json.dumps(told))
    return place


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Embed letters into the store `s` with a model."""

    def embed_letters(model: Path, letters: str = FIRST, **fields: Any) -> Summary:
        (tmp_path / "in.fasta").write_text(letters)
        config = run_config({"model": str(model), **fields})
        return embed([str(tmp_path / "in.fasta")], str(tmp_path / "s"), config, LineReporter(), ToySpec)

    return embed_letters


def points_to(store: Path) -> str:
    return aliases.resolve(open_location(str(store)))[0]


def test_an_untrained_space_gives_way_to_a_complete_trained_one(
    run: Run, esm2: Path, untrained: Path, tmp_path: Path
) -> None:
    first = run(untrained)
    assert (first.current, first.current_before, first.current_trained) == (first.spaces[0].space, None, False)
    assert first.current_notes == (f"current -> {first.current} (untrained)",)

    second = run(esm2)

    assert (second.current, second.current_before, second.current_trained) == (
        second.spaces[0].space, first.current, True,
    )  # fmt: skip
    assert second.current_notes == (f"current -> {second.current}, moved from {first.current}",)
    assert points_to(tmp_path / "s") == second.current


def test_a_trained_space_stays(run: Run, esm2: Path, untrained: Path, tmp_path: Path) -> None:
    first = run(esm2).current
    for other in (run(untrained), run(esm2, pooling=["max"])):
        assert (other.current, other.current_before, other.current_trained) == (first, first, True)
        assert other.current_notes == (
            f"current -> {first}, not moved",
            f"`protea-ray alias {tmp_path / 's'} current {other.spaces[0].space}` moves it",
        )
    assert points_to(tmp_path / "s") == first


def test_a_trained_space_without_all_proteins_waits(run: Run, esm2: Path, untrained: Path, tmp_path: Path) -> None:
    """Rejects count as done; what is merely missing does not."""
    first = run(untrained).current
    part = run(esm2, ">a\nMKTAYIAKQR\n", max_residues=64, window_overlap=8, on_long="reject")
    assert part.current == first
    assert f"{part.spaces[0].space} lacks 2 of the store's proteins: not moved there" in part.current_notes

    whole = run(esm2, max_residues=64, window_overlap=8, on_long="reject")
    assert whole.spaces[0].rejected == 1
    assert whole.current == part.spaces[0].space == points_to(tmp_path / "s")


def test_a_store_of_before_is_mended_by_any_run(run: Run, esm2: Path, untrained: Path, tmp_path: Path) -> None:
    """Earlier versions left `current` where it was; a run of the untrained model itself moves it away."""
    trained, random = run(esm2).current, run(untrained).spaces[0].space
    aliases.move(open_location(str(tmp_path / "s")), "current", random, version=2, run="r", writer=Writer.unleased())

    mended = run(untrained)
    assert (mended.current, mended.current_before) == (trained, random)
    assert points_to(tmp_path / "s") == trained


@pytest.mark.filterwarnings("ignore::protea_ray.query.random_vectors.UntrainedSpaceWarning")
def test_reembed_takes_an_alias_to_untrained_vectors_only_when_asked(
    run: Run, esm2: Path, untrained: Path, tmp_path: Path
) -> None:
    first, store = run(esm2).current, str(tmp_path / "s")
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=rf"never trained.*{first}.*--allow-untrained"):
        reembed(store, {"model": str(untrained)}, LineReporter(), make_spec=ToySpec)
    assert before == {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}

    done = reembed(store, {"model": str(untrained)}, LineReporter(), allow_untrained=True, make_spec=ToySpec)
    assert (done.moved, done.summary.current, done.summary.current_trained) == (True, done.after, False)
    assert open_store(store).pin().space == done.after
    reembed(store, {"model": str(untrained)}, LineReporter(), make_spec=ToySpec)  # from untrained to untrained


def test_the_only_space_keeps_the_name_that_nobody_gave_it(run: Run, esm2: Path, tmp_path: Path) -> None:
    """A store with one space and no alias, as an import leaves it, answers as `current`; a second space must not."""
    first = run(esm2).current
    shutil.rmtree(tmp_path / "s" / "aliases.lance")
    second = run(esm2, pooling=["max"])
    assert (second.current, second.current_before) == (first, first)
