"""The recipe of a training run: presets, what may be combined, every mistake at once; where STORE and OUT may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.config.paths import require_training_paths
from protea_ray.config.run import load_fields
from protea_ray.config.training import SHAPE_NAMES, TrainingConfig, training_config, training_run
from protea_ray.config.training_presets import PRESETS
from protea_ray.errors import ConfigError


def problems(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        training_config(fields)
    return caught.value.problems


def test_the_three_recipes() -> None:
    small, default = training_config({"shape": "small"}), training_config({"shape": "default"})
    onward = training_config({"model": "facebook/esm2_t6_8M_UR50D"})

    assert (small.tokens, small.epochs, small.optimiser, small.learning_rate) == (60_000_000, None, "adamw", 1.5e-3)
    assert (small.crop, small.pack_tokens, small.warmup_steps, small.dropout) == (510, 1_536, 200, 0.0)
    assert (default.tokens, default.epochs, default.optimiser, default.learning_rate) == (None, 35.0, "muon", 1e-3)
    assert (default.crop, default.step_tokens, default.dropout, default.ema) == (1_022, 131_072, 0.1, 0.999)
    assert (onward.crop, onward.pack_tokens, onward.step_tokens, onward.learning_rate) == (2_046, 16_384, 65_536, 5e-5)
    assert {c.mask_rate for c in (small, default, onward)} == {0.15}


@pytest.mark.parametrize("shape", [*SHAPE_NAMES[1:], "my/config.json"])
def test_other_fresh_shapes_take_the_recipe_of_default(shape: str) -> None:
    assert training_config({"shape": shape}) == TrainingConfig(**PRESETS["default"], shape=shape)


def test_what_is_given_wins_over_the_preset() -> None:
    made = training_config({"shape": "default", "tokens": "60e6", "optimiser": "adamw", "learning_rate": "3e-3"})

    assert (made.tokens, made.epochs, made.optimiser, made.learning_rate) == (60_000_000, None, "adamw", 3e-3)
    assert made.crop == 1_022


def test_an_adapter_has_its_own_rate_and_no_decay() -> None:
    made = training_config({"model": "m", "adapter": "lora"})

    assert (made.learning_rate, made.weight_decay, made.lora_targets) == (2e-4, 0.0, ("query", "key", "value"))


def test_qlora_is_in_4_bits_unless_told_otherwise() -> None:
    given = ({"adapter": "qlora"}, {"adapter": "qlora", "quantization": "hqq:2"}, {"adapter": "lora"}, {})
    assert [training_config({"model": "m", **fields}).base_quantization for fields in given] == [
        "int4", "hqq:2", None, None,
    ]  # fmt: skip


def test_adapt_is_a_recipe_for_a_model_and_longer_proteins() -> None:
    made = training_config({"model": "m", "adapt": True})

    assert (made.attention, made.crop, made.step_tokens, made.epochs) == ("local:512", 2_048, 32_768, 5.0)
    assert (made.learning_rate, made.weight_decay, made.optimiser, made.mask_rate) == (5e-5, 0.01, "adamw", 0.15)
    assert [made.warm_up(steps) for steps in (1, 33, 34, 100, 1_000)] == [1, 1, 2, 3, 30]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"attention": "exact"}, ("exact", 5e-5, 0.01)),
        ({"attention": "local:1024"}, ("local:1024", 5e-5, 0.01)),
        ({"adapter": "qlora"}, ("local:512", 2e-4, 0.0)),
        ({"adapter": "qlora", "learning_rate": 1e-4}, ("local:512", 1e-4, 0.0)),
    ],
)
def test_what_is_given_beside_adapt_wins(fields: dict[str, Any], found: tuple[str, float, float]) -> None:
    made = training_config({"model": "m", "adapt": True, **fields})

    assert (made.attention, made.learning_rate, made.weight_decay) == found
    assert made.crop == 2_048


def test_adapt_chooses_fields_and_is_none_of_the_plan() -> None:
    made = training_config({"model": "m", "adapt": True})
    written = {name: value for name, value in made if name != "adapt"}

    assert "adapt" not in made.model_dump(mode="json")
    assert TrainingConfig(**written).model_dump() == made.model_dump()
    assert training_config({"model": "m", "adapt": False}) == training_config({"model": "m"})


@pytest.mark.parametrize(
    ("given", "found", "steps"),
    [("3%", "3%", 3), ("2.50 %", "2.5%", 3), ("0%", "0%", 0), (40, 40, 40), ("1e2", 100, 100), (400, 400, 100)],
)
def test_a_warm_up_is_steps_or_a_share(given: Any, found: Any, steps: int) -> None:
    made = training_config({"shape": "small", "warmup_steps": given})

    assert (made.warmup_steps, made.warm_up(100)) == (found, steps)


@pytest.mark.parametrize("given", ["100%", "-1", 1.5, "3 percent", "", None, float("nan"), float("inf"), "-3%"])
def test_another_warm_up_is_refused(given: Any) -> None:
    (problem,) = problems(shape="small", warmup_steps=given)

    assert problem.startswith("warmup_steps: is neither a whole number of steps nor a share below 100% such as 3%")


def test_mistakes_of_fields_and_of_combinations_come_at_once() -> None:
    found = problems(shape="smal", mask_rate=15, tokens=10**6, epochs=1, crop=40_000, seed=True, colour=1, clip=0)

    starts = ("shape: is not known; did you mean small?", "mask_rate", "unknown field 'colour'", "seed", "clip")
    assert [sum(p.startswith(start) for p in found) for start in starts] == [1] * 5
    assert sum("both given" in p for p in found) == 1
    assert sum("pack_tokens 32768 cannot hold a crop of 40000 residues; set at least 40002" in p for p in found) == 1
    assert len(found) == 7


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "neither model nor shape is given"),
        ({"model": "m", "shape": "small"}, "both given; give one of them"),
        ({"shape": "small", "adapter": "lora"}, "adapter lora needs a model"),
        (
            {"model": "m", "adapter": "lora", "quantization": "hqq:4"},
            "hqq:4 is for frozen weights; set adapter to qlora",
        ),
        ({"model": "m", "adapter": "qlora", "quantization": "int8"}, "quantization: 'int8' is not int4, hqq:8, hqq:4"),
        ({"adapt": True}, "adapt goes on with a trained model: name it as model"),
        ({"adapt": True, "shape": "small"}, "name it as model in place of shape small"),
        ({"model": "m", "adapt": "yes"}, "adapt"),
        ({"shape": "small", "lora_rank": 4}, "lora_rank without an adapter would change nothing"),
        ({"shape": "small", "attention": "local:0"}, "W is '0'; it must be a whole number above 0"),
        ({"shape": "small", "step_tokens": 16_384}, "nearest: 15360 or 16896"),
        ({"shape": "small", "step_tokens": 1_000}, "nearest: 1536"),
        ({"shape": "small", "tokens": 100}, "tokens 100 is less than step_tokens 15360, one step"),
        ({"shape": "small", "crop": 1_535}, "set at least 1537"),
        ({"shape": "small", "tokens": "6.5"}, "tokens"),
        ({"shape": "8m"}, "did you mean 8M?"),
        ({"shape": "zzz"}, "is not known; choose from small"),
    ],
)
def test_what_cannot_work_is_said(fields: dict[str, Any], said: str) -> None:
    (problem,) = problems(**fields)

    assert said in problem


def test_crop_and_two_special_tokens_fit_a_pack_exactly() -> None:
    assert training_config({"shape": "small", "crop": 1_534}).pack_tokens == 1_536


def test_a_written_null_ends_clipping_and_a_written_count_is_whole() -> None:
    made = training_config({"shape": "small", "clip": "null", "warmup_steps": "1e2", "tokens": "1_000_000"})

    assert (made.clip, made.warmup_steps, made.tokens) == (None, 100, 1_000_000)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_nearest_step_that_is_offered_is_taken(pack: int, step: int) -> None:
    sizes = {"shape": "small", "crop": 1, "pack_tokens": pack + 2, "epochs": 1}
    if step % (pack + 2) == 0:
        assert training_config({**sizes, "step_tokens": step}).step_tokens == step
        return
    (problem,) = problems(**sizes, step_tokens=step)
    for near in problem.rpartition("nearest: ")[2].split(" or "):
        assert abs(int(near) - step) <= max(pack + 2, step)
        assert training_config({**sizes, "step_tokens": int(near)}).step_tokens == int(near)


def test_a_recipe_is_read_back_from_its_own_dump() -> None:
    made = training_config({"model": "m", "adapter": "qlora", "attention": "local:256"})

    assert TrainingConfig(**made.model_dump(mode="json")) == made
    assert made.variant.window == 256


def test_options_stand_under_run_and_their_mistakes_come_along(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("shape: small\nrun: {keep: 5}\n")
    config, options = training_run(load_fields(str(tmp_path / "t.yaml"), ["run.workers=0"], {"seed": "3"}))
    assert (config.seed, options.keep, options.workers) == (3, 5, 0)

    with pytest.raises(ConfigError) as caught:
        training_run({"run": {"keep": 0, "colour": 1}})
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="run: must be a mapping"):
        training_run({"shape": "small", "run": 3})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store" / "proteins.lance").mkdir(parents=True)
    return tmp_path / "store"


def refused(store: object, out: object) -> str:
    with pytest.raises(ConfigError) as caught:
        require_training_paths(str(store), str(out))
    return str(caught.value)


def test_places_that_work(store: Path, tmp_path: Path) -> None:
    for name in ("empty", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "plan.json").touch()
    for out in ("new", "deep/new", "empty", "run"):
        require_training_paths(str(store), str(tmp_path / out))
    require_training_paths("s3://bucket/store", str(tmp_path / "new"))


def test_places_that_are_something_else(store: Path, tmp_path: Path) -> None:
    fasta, model, other, new = (tmp_path / name for name in ("a.fasta", "model", "other", "new"))
    fasta.touch()
    for path in (model / "config.json", other / "a.txt"):
        path.parent.mkdir()
        path.touch()

    assert f"wrong order: {store} is the store; write protea-ray train {store} {new}" in refused(new, store)
    assert f"STORE {fasta} is a file; proteins are read from a store: protea-ray embed {fasta}" in refused(fasta, new)
    assert f"there is no store at {new}; protea-ray embed INPUT {new} makes one" in refused(new, other / "x")
    assert "is a directory without proteins.lance" in refused(other, new)
    assert "lies inside STORE" in refused(store, store / "run")
    assert "lies inside STORE" in refused(store, store)
    assert f"OUT {fasta} is a file" in refused(store, fasta)
    assert f"OUT {model} holds a checkpoint" in refused(store, model)
    assert f"OUT {other} holds other files (a.txt)" in refused(store, other)
    assert "is a URL" in refused(store, "s3://bucket/out")
    assert refused(fasta, model).count("\n") == 2
