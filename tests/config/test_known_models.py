"""Short names of published models: one space whatever they are called, never a directory by accident, true figures."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from protea_ray.config.identity import space_name
from protea_ray.config.known_models import KNOWN, KnownModel, full_name, nearest_name
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import run_config
from protea_ray.config.training import TrainingConfig
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models import checkpoint
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.families import esm2, esmc, t5

ESM2_650M = "facebook/esm2_t33_650M_UR50D"
BIG_ESMC = {"esmc_300m": 2560, "esmc_600m": 3072, "esmc_6b": 6912}  # inner widths: 8/3 of the width, up to 256s
ANKH = {"ankh_base": (12, 3072), "ankh_large": (16, 3840)}  # heads of 64, and the inner width


@pytest.mark.parametrize(
    ("short", "hub_id"),
    [
        ("esm2_650m", ESM2_650M),
        ("esm2_t33_650M_UR50D", ESM2_650M),
        ("ESM2-650M", ESM2_650M),
        ("prot_t5", "Rostlab/prot_t5_xl_uniref50"),
        ("ProtT5-XL-U50", "Rostlab/prot_t5_xl_uniref50"),
        ("prot_t5_xl_half_uniref50-enc", "Rostlab/prot_t5_xl_half_uniref50-enc"),
        ("ProstT5", "Rostlab/ProstT5"),
        ("ANKH_base", "ElnaggarLab/ankh-base"),
        ("ankh-large", "ElnaggarLab/ankh-large"),
        ("esmc_300m", "biohub/ESMC-300M"),
        ("esmc-600m-2024-12", "biohub/ESMC-600M"),
        ("ESMplusplus_small", "biohub/ESMC-300M"),
    ],
)
def test_one_model_has_one_name_in_the_end(short: str, hub_id: str) -> None:
    recipe, spelt_out = EmbeddingConfig(model=short), EmbeddingConfig(model=hub_id)
    assert recipe == spelt_out
    assert recipe.model == hub_id
    assert space_name(recipe, {"w": "0"}) == space_name(spelt_out, {"w": "0"})
    assert TrainingConfig(model=short, epochs=1) == TrainingConfig(model=hub_id, epochs=1)
    assert run_config({"model": short}).recipes[0].model == hub_id


def test_no_two_models_share_a_name() -> None:
    names = [n.lower().replace("-", "_") for k in KNOWN for n in (k.name, *k.others, k.hub_id.split("/")[1])]
    others = [n for k in KNOWN for n in {n.lower().replace("-", "_") for n in (k.name, k.hub_id.split("/")[1])}]
    assert len({full_name(name) for name in names}) == len(KNOWN)
    assert len(others) == len(set(others))


def test_a_directory_of_that_name_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esm2_650m").mkdir()
    for given in (lambda: run_config({"model": "esm2_650m"}), lambda: open_checkpoint("esm2_650m")):
        with pytest.raises((ConfigError, CheckpointError), match=rf"Name \./esm2_650m .*, or {ESM2_650M}"):
            given()
    assert EmbeddingConfig(model="./esm2_650m").model == "./esm2_650m"
    assert EmbeddingConfig(model=ESM2_650M).model == ESM2_650M


@pytest.mark.parametrize(
    ("given", "meant"), [("esm2_65Om", "esm2_650m"), ("prot_t5x", "prot_t5"), ("ankh_bas", "ankh_base"), ("gpt", None)]
)
def test_a_misspelt_name_asks_no_network(given: str, meant: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "from_hub", None)  # calling it would be a TypeError
    assert nearest_name(given) == meant
    with pytest.raises(CheckpointError, match="`protea-ray models` lists those") as refused:
        open_checkpoint(given)
    assert str(refused.value).endswith(f" Did you mean {meant}?" if meant else "those.")


def config_of(known: KnownModel) -> tuple[Any, dict[str, Any]]:
    """The family of a model, and the sizes of its published config.json."""
    if known.name.startswith("esm2"):
        sizes = {"num_attention_heads": 20, "intermediate_size": 4 * known.width, "vocab_size": 33}
        return esm2.FAMILY, sizes | {"hidden_size": known.width, "num_hidden_layers": known.layers,
                                     "max_position_embeddings": 1026}  # fmt: skip
    if known.name.startswith("esmc"):
        sizes = {"num_attention_heads": known.width // 64, "intermediate_size": BIG_ESMC[known.name]}
        return esmc.FAMILY, sizes | {"hidden_size": known.width, "num_hidden_layers": known.layers, "vocab_size": 64,
                                     "max_position_embeddings": 2048}  # fmt: skip
    heads, ffn = ANKH.get(known.name, (32, 16384))
    return t5.FAMILY, {
        "d_model": known.width, "num_layers": known.layers, "num_heads": heads, "d_ff": ffn,
        "d_kv": 64 if known.name in ANKH else 128, "vocab_size": 144,
        "feed_forward_proj": "gated-gelu" if known.name in ANKH else "relu",
    }  # fmt: skip


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_the_figures_are_those_of_the_shapes(known: KnownModel) -> None:
    """Every tensor that is loaded, counted; within the last digit that is shown."""
    family, config = config_of(known)
    counted = sum(prod(size) for size in family.wanted(config).sizes.values()) / 1e6
    assert abs(counted - known.millions) <= (0.05 if known.millions < 10 else 0.6)
    assert family.trained_length(config) == known.trained_length


@pytest.mark.parametrize(
    ("flag", "python", "whole"),
    [
        ({"layers": 0}, {"layers": "0"}, {"layers": (0,)}),
        ({"layers": "0,1"}, {"layers": [0, 1]}, {"layers": (0, 1)}),
        ({"pooling": "mean,max"}, {"pooling": "mean, max"}, {"pooling": ("mean", "max")}),
        ({"pooling": "mean"}, {"pooling": ["mean"]}, {"pooling": ("mean",)}),
        ({"outputs": "embeddings,logits"}, {"outputs": ["logits", "embeddings"]},
         {"outputs": ("embeddings", "logits")}),
    ],
)  # fmt: skip
def test_a_file_and_a_keyword_take_what_the_flag_takes(
    flag: dict[str, Any], python: dict[str, Any], whole: dict[str, Any]
) -> None:
    """One value alone, or several with commas, where a list is meant."""
    recipes = [EmbeddingConfig(model="m", **fields) for fields in (flag, python, whole)]
    assert recipes[0] == recipes[1] == recipes[2]


@pytest.mark.parametrize("fields", [{"layers": True}, {"layers": "last"}, {"pooling": "mean max"}, {"pooling": 3}])
def test_what_no_flag_takes_is_still_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        run_config({"model": "m", **fields})


@pytest.mark.parametrize("device", ["mps", "MPS", "metal"])
def test_a_macs_gpu_is_answered_in_words(device: str) -> None:
    with pytest.raises(ConfigError, match=r"a Mac's GPU is not used.*use cpu"):
        run_config({"model": "m", "run": {"device": device}})
