"""The loss of masked residues in two spaces: pairing and errors by hand, real recipes by the encoder alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protea_ray.config.recipe import embedding_config
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.encoder.masked_loss import ResidueLosses, residue_losses
from protea_ray.errors import CheckpointError, StoreError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.query.masked_drift import SpaceModel, compared, masked_drift, space_model
from protea_ray.query.view import View
from protea_ray.sequences.synth import synthesise
from protea_ray.store.location import Location, open_location
from protea_ray.store.spaces import ensure_space
from protea_ray.testing import random_checkpoint as checkpoints
from tests.query.worked import embed_here
from tests.store import build

PROTEINS = {f"p{n}": s for n, s in enumerate(dict.fromkeys(p.sequence for p in synthesise(30, 11, None, 90)))}
OTHERS = {f"q{n}": s for n, s in enumerate(dict.fromkeys(p.sequence for p in synthesise(4, 12, None, 90)))}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def losses(*by_place: dict[int, float]) -> list[ResidueLosses]:
    """Losses by place; those over the 20 amino acids are a tenth."""
    return [
        ResidueLosses(np.array(list(one), np.int64), values := np.array(list(one.values())), values / 10, values)
        for one in by_place
    ]


def test_only_residues_that_both_predict_are_compared() -> None:
    ours = losses({1: 1.0, 4: 2.0, 9: 3.0}, {0: 5.0}, {2: 7.0})
    theirs = losses({1: 1.5, 9: 2.0, 11: 9.0}, {0: 6.0}, {})

    found = compared(ours, theirs)

    assert (found.proteins, found.residues, found.left_out) == (2, 3, 3)
    assert (found.nats_a, found.nats_b) == pytest.approx((9 / 3, 9.5 / 3))
    assert found.difference == pytest.approx(0.5 / 3)
    assert found.sentence() == (
        "masked loss: 3.1667 nats a residue against 3.0000, 3 residues of 2 proteins; 3 residues that only one recipe "
        "predicts are left out"
    )
    assert compared(ours, theirs, over="nats_20").difference == pytest.approx(0.05 / 3)


def test_the_error_is_that_of_leaving_out_a_protein_at_a_time() -> None:
    """The jackknife, which knows nothing of the formula; the two differ by the square of the share of a protein."""
    draw = np.random.default_rng(0)
    ours = losses(*({int(k): float(draw.normal(3)) for k in range(draw.integers(5, 60))} for _ in range(300)))
    rise = [0.1 + 0.2 * draw.normal() for _ in ours]
    theirs = [replace(one, nats=one.nats + up) for one, up in zip(ours, rise, strict=True)]

    found = compared(ours, theirs)

    left_out = [compared(ours[:n] + ours[n + 1 :], theirs[:n] + theirs[n + 1 :]).difference for n in range(300)]
    jackknife = np.sqrt((np.array(left_out) - np.mean(left_out)).__pow__(2).sum() * 299 / 300)
    assert found.standard_error == pytest.approx(jackknife, rel=0.01)
    assert found.interval == pytest.approx(
        (found.difference - 1.96 * jackknife, found.difference + 1.96 * jackknife), abs=1e-3
    )


def test_one_protein_says_nothing() -> None:
    with pytest.raises(StoreError, match="1 of 2 sampled proteins have a masked residue that both recipes predict"):
        compared(losses({1: 1.0}, {}), losses({1: 2.0}, {1: 1.0}))


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return open_location(tmp_path_factory.mktemp("loss") / "s")


@pytest.fixture(scope="module")
def spaces(location: Location, esm2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SpaceModel]:
    """One checkpoint whole, in windows, cut and in 4 bits; another checkpoint; one without a head."""
    t5 = checkpoints.build("t5", tmp_path_factory.mktemp("t5") / "model")
    other = checkpoints.build("esm2", tmp_path_factory.mktemp("other") / "model", layers=2, hidden=32, seed=7)
    made = {
        "whole": embed_here(location, esm2, PROTEINS, "a"),
        "layers": embed_here(location, esm2, PROTEINS | OTHERS, "b", layers=[1], pooling=["max"]),
        "windows": embed_here(location, esm2, PROTEINS, "c", max_residues=25, window_overlap=5),
        "cut": embed_here(location, esm2, PROTEINS, "d", max_residues=25, on_long="truncate"),
        "int4": embed_here(location, esm2, PROTEINS, "e", quantization="int4"),
        "other": embed_here(location, other, PROTEINS, "f"),
        "t5": embed_here(location, t5, PROTEINS, "g"),
    }
    return {name: space_model(View.open(location, space)) for name, space in made.items()}


def by_encoder(model: SpaceModel, **changed: object) -> list[ResidueLosses]:
    """Losses of all proteins by the encoder of a recipe that is written out here."""
    checkpoint = open_checkpoint(model.view.info.model)
    recipe = embedding_config({"model": model.view.info.model, **changed})
    return residue_losses(encoder_here(checkpoint, recipe, "cpu", compiled="off"), list(PROTEINS.values()), seed=3)


def test_the_same_weights_lose_nothing_whatever_is_kept_of_them(spaces: dict[str, SpaceModel]) -> None:
    found = masked_drift(spaces["whole"], spaces["layers"], proteins=500, device="cpu")
    assert (found.proteins, found.difference, found.standard_error) == (len(PROTEINS), 0.0, 0.0)


@pytest.mark.parametrize(
    ("space", "recipe"),
    [("int4", {"quantization": "int4"}), ("windows", {"max_residues": 25, "window_overlap": 5}), ("other", {})],
)
def test_each_space_is_predicted_under_its_own_recipe(
    spaces: dict[str, SpaceModel], space: str, recipe: dict[str, object]
) -> None:
    ours, theirs = by_encoder(spaces["whole"]), by_encoder(spaces[space], **recipe)
    total = sum(len(one.places) for one in ours)

    found = masked_drift(spaces["whole"], spaces[space], proteins=500, seed=3, device="cpu")

    assert found.residues == total
    wanted = [sum(one.nats.sum() for one in several) / total for several in (ours, theirs)]
    assert (found.nats_a, found.nats_b) == pytest.approx(wanted, abs=1e-5)
    assert abs(found.difference) > 1e-4


def test_residues_that_are_cut_off_are_left_out_and_counted(spaces: dict[str, SpaceModel], esm2: Path) -> None:
    found = masked_drift(spaces["whole"], spaces["cut"], proteins=500, seed=3, device="cpu")
    kept = sum(int((one.places < 25).sum()) for one in by_encoder(spaces["whole"]))
    encoder = encoder_here(open_checkpoint(str(esm2)), embedding_config({"model": str(esm2)}), "cpu", compiled="off")
    every = sum(len(one.places) for one in residue_losses(encoder, list(PROTEINS.values()), seed=3))
    assert (found.residues, found.left_out) == (kept, every - kept)


def test_the_sample_follows_from_the_seed(spaces: dict[str, SpaceModel]) -> None:
    one, same, other = (
        masked_drift(spaces["whole"], spaces["other"], proteins=9, seed=seed, device="cpu") for seed in (0, 0, 1)
    )
    assert one == same != other
    assert one.proteins == 9


def test_what_predicts_nothing_says_why(location: Location, spaces: dict[str, SpaceModel]) -> None:
    assert spaces["whole"].why_no_loss == ""
    assert "has no language-model head" in spaces["t5"].why_no_loss


def test_a_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    found = build.store(tmp_path / "s")
    ensure_space(found, build.info("lost"), build.schema())
    with pytest.raises(CheckpointError, match="the checkpoint of space lost cannot be opened"):
        space_model(View.open(found, "lost"))
