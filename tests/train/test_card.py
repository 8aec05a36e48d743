"""The model card, the curve and the lines of a run, and the command that makes the run again."""

from __future__ import annotations

import builtins
import json
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protea_ray.cli.options import training_overrides
from protea_ray.config.run import load_fields
from protea_ray.config.training import TrainingConfig, training_config, training_run
from protea_ray.errors import ConfigError
from protea_ray.evaluate.report import write_report
from protea_ray.train.card import Training, command_line, learned_context, model_card
from protea_ray.train.curve import Curve, limits
from protea_ray.train.lines import TrainingLines
from protea_ray.train.results import write_results
from tests import commands
from tests.evaluate.tables import made

BASELINES = {"unigram": 2.892, "composition": 2.856, "composition x both": 2.841}
HELD = {name: {"nats": nats, "standard_error": 0.003} for name, nats in BASELINES.items()}
VALIDATION = {
    "kind": "validation", "step": 20, "steps": 20, "tokens": 300_000, "loss": 2.79, "loss_20": 2.781,
    "standard_error": 0.004, "proteins": 1_277, "targets": 9_000,
    "by_length": {"<=128": {"loss_20": 2.85, "proteins": 100}, ">1022": {"loss_20": 2.75, "proteins": 7}},
}  # fmt: skip
PLAN = {
    "digest": "ab" * 32, "schema": 1,
    "config": training_config({"shape": "small", "attention": "exact"}).model_dump(mode="json"),
    "data": {"uri": "/data/store", "version": 7, "digest": "cd" * 32}, "split": "ef" * 32, "parent": {"shape": "small"},
}  # fmt: skip


def card(**changes: Any) -> str:
    facts = {"plan": PLAN, "steps": 20, "tokens": 300_000, "validation": VALIDATION, "baselines": HELD}
    return model_card(Training(**{**facts, "command": "protea-ray train s o --shape small", **changes}))


def test_the_card_says_what_was_trained_on_what_and_how_well() -> None:
    text = card(attribution="UniProt, CC BY 4.0")

    assert "from fresh weights: 20 steps, 300,000 tokens, stretches of at most 510 residues" in text
    assert "| **this model** | 2.781 | 16.14 | 0.004 |" in text
    assert "| composition x both | 2.841 | 17.13 | 0.003 |" in text
    assert "| <=128 | 2.850 | 17.29 | 100 |" in text
    assert f"`/data/store` at version 7 of its proteins\n* sha256 of their keys in order: `{'cd' * 32}`" in text
    assert "## Licence and attribution\n\nUniProt, CC BY 4.0\n" in text
    assert "| learning_rate | `0.0015` |" in text
    assert "```bash\nprotea-ray train s o --shape small\n```" in text


def test_every_field_of_the_recipe_is_in_the_card() -> None:
    text = card()

    names = [name for name, field in TrainingConfig.model_fields.items() if not field.exclude]
    assert len(names) > 25
    assert [name for name in names if f"| {name} | " not in text] == []


def continued(**fields: Any) -> str:
    """The card of a model that went on from another."""
    config = training_config({"model": "facebook/esm2_t6_8M_UR50D", **fields}).model_dump(mode="json")
    return card(plan={**PLAN, "config": config, "parent": {"model": "facebook/esm2_t6_8M_UR50D"}})


def test_the_card_of_a_model_for_longer_proteins_says_what_its_window_and_its_positions_are() -> None:
    text = continued(adapt=True)

    assert "## Longer proteins" in text
    assert "attends to 512 on each side, a window of 1,024 as Longformer" in text
    assert "read so it is `local:512`; if it was meant for each side, `local:1024`" in text
    assert "attends to 128 on each side, a window of 256 as" in continued(adapt=True, attention="local:128")
    assert "Copying the rows of a position table" in text and "changes no number" in text
    assert "attends with local:512 unless told otherwise. Transformers opens it too, and attends exactly" in text
    assert "stretches of at most 2,048 residues, attention local:512" in text


def test_the_control_with_exact_attention_says_it_too_and_has_no_window() -> None:
    text = continued(adapt=True, attention="exact")

    assert "## Longer proteins" in text and "Copying the rows of a position table" in text
    assert "on each side" not in text
    assert "Transformers opens the directory, and so does" in text
    assert "## Longer proteins" not in continued(crop=510, attention="exact")
    assert "## Longer proteins" not in card()


@pytest.mark.parametrize(
    "fields",
    [{}, {"attention": "exact"}, {"attention": "local:1024", "warmup_steps": "5%"}, {"adapter": "qlora"},
     {"adapter": "lora", "crop": 1_000, "seed": 3}],
)  # fmt: skip
def test_the_command_of_an_adapted_run_is_short_and_makes_the_same_plan(fields: dict[str, Any]) -> None:
    made = training_config({"model": "m", "adapt": True, **fields})
    words = shlex.split(command_line("s", "o", made))

    assert words[:7] == ["protea-ray", "train", "s", "o", "--model", "m", "--adapt"]
    assert len(words) == 7 + 2 * len(fields)
    given = {words[i].lstrip("-").replace("-", "_"): words[i + 1] for i in range(7, len(words), 2)}
    assert training_config({"model": "m", "adapt": True, **given}) == made


@pytest.mark.parametrize(("loss", "learned"), [(2.8289, True), (2.8291, False), (2.9, False)])
def test_context_is_learned_three_standard_errors_below_the_strongest_baseline(loss: float, learned: bool) -> None:
    run = Training(PLAN, 20, 300_000, {**VALIDATION, "loss_20": loss}, HELD, "")

    assert learned_context(run) is learned
    assert ("**Anything that needs context**" in model_card(run)) is not learned


def test_what_is_not_known_is_said() -> None:
    text = card(validation=None, baselines={})

    assert "No validation was reached." in text
    assert "Nobody said under which licence" in text
    assert "was not compared with that of simple predictors" in text
    assert "## Probes" not in text


def test_what_evaluate_found_is_in_the_card_controls_marked(out: Path) -> None:
    """The report is made by the real writer, so the two cannot part."""
    proteins, residues = (
        made.rows(
            "localization", "classification", {made.SMALL: {"macro_f1": 0.467}, made.COMPOSITION: {"macro_f1": 0.296}}
        ),
        made.rows("secondary-structure", "residue", {made.SMALL: {"accuracy": 0.666}}, probes=["linear"], seeds=[0]),
    )
    write_report(pa.concat_tables([proteins, residues]), [], out / "probes" / "one")
    assert write_results(out, "the command", None) == []
    text = (out / "README.md").read_text()

    assert "## Probes" in text
    assert "| task | metric | input | linear | mlp |" in text
    assert "| localization | macro_f1 | small-1a2b3c4d | 0.467 ± 0.002 | 0.467 ± 0.002 |" in text
    assert "| localization | macro_f1 | composition (control) | 0.296 ± 0.002 | 0.296 ± 0.002 |" in text
    assert "| secondary-structure | accuracy | small-1a2b3c4d | 0.664 |  |" in text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"scores": {"values": [{"task": "a"}]}}', "\xff"])
def test_a_report_that_cannot_be_read_costs_no_card_and_is_named(out: Path, content: str) -> None:
    path = out / "probes" / "one" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    (said,) = write_results(out, "the command", None)

    assert said.startswith(f"{path} is no report of `protea-ray evaluate` and is not in the card: ")
    assert "## Probes" not in (out / "README.md").read_text()


def test_a_path_cannot_break_out_of_the_card() -> None:
    config = {**PLAN["config"], "model": "a\n# b|c", "shape": None}

    assert "\n# b" not in card(plan={**PLAN, "config": config})
    assert "\n# b" not in card(plan={**PLAN, "data": {**PLAN["data"], "uri": "x\n# b"}})


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": "small"},
        {"shape": "8M", "tokens": 10**7, "clip": None, "gradient_checkpointing": True, "attention": "local:64"},
        {
            "model": "a b/model",
            "adapter": "lora",
            "lora_targets": ["query", "value"],
            "epochs": 0.5,
            "dtype": "float16",
        },
        {"model": "m", "learning_rate": 1e-3, "seed": 2**40, "epsilon": 1e-12},
    ],
)
def test_the_command_makes_the_same_recipe_again(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = training_config(fields)
    seen: list[TrainingConfig] = []

    def keep(given: Any) -> Any:
        seen.append(training_run(given)[0])
        raise ConfigError("enough was seen")

    monkeypatch.setattr("protea_ray.config.paths.require_training_paths", lambda *_: None)
    monkeypatch.setattr("protea_ray.config.training.training_run", keep)
    program, *words = shlex.split(command_line("the store", "out", config))

    assert "enough was seen" in commands.call(*words).stderr
    assert (program, words[1]) == ("protea-ray", "the store")
    assert seen == [config]


def test_given_flags_become_fields() -> None:
    given = {"mask_rate": "0.2", "lora_targets": "query, key", "keep": "3", "seed": None}

    assert load_fields(None, [], training_overrides(given)) == {
        "mask_rate": "0.2", "lora_targets": ["query", "key"], "run": {"keep": "3"},
    }  # fmt: skip


def test_the_axis_of_losses_leaves_out_the_first_steps_alone() -> None:
    training = [(1, 3.5), (2, 3.3), (3, 2.9), (4, 2.70)]
    validation = [(2, 2.95), (3, 2.72)]

    assert limits(Curve("", training, validation, BASELINES)) == pytest.approx((2.66, 3.03))
    assert limits(Curve("", training, validation[1:], {})) == pytest.approx((2.66, 2.98))
    assert limits(Curve("", [(1, 3.5)], [], {})) is None


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of 20 steps that is finished, as its files have it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    steps = [{"kind": "step", "step": n, "tokens": n * 15_000, "loss": 3.4 - n / 40} for n in range(1, 21)]
    lines = [*steps, VALIDATION, {**VALIDATION, "kind": "final", "loss_20": 2.777}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "baselines.json").write_text(json.dumps(HELD))
    return tmp_path


def test_card_and_curve_are_written_from_the_files_of_the_run(out: Path) -> None:
    pytest.importorskip("matplotlib")
    assert write_results(out, "the command", None) == []

    assert (out / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = (out / "README.md").read_text()
    assert text == (out / "model" / "README.md").read_text()
    assert "| **this model** | 2.777 | " in text
    assert "20 steps, 300,000 tokens" in text


def test_without_matplotlib_the_card_is_written_and_the_install_named(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    (note,) = write_results(out, "the command", None)

    assert 'pip install "protea-ray[report]"' in note
    assert (out / "README.md").exists()
    assert not (out / "curve.png").exists()


def test_lines_show_the_last_validation_beside_the_baselines() -> None:
    said: list[str] = []
    shown: list[tuple[str, float]] = []
    lines = TrainingLines(said.append, lambda text, done: shown.append((text, done)))
    progress = {
        "kind": "progress",
        "step": 5,
        "steps": 20,
        "loss": 2.9004,
        "tokens_per_second": 4282.4,
        "seconds_left": 75.0,
    }
    lines(progress)
    lines({"kind": "baselines", "nats": {**BASELINES, "left": 2.876}})
    lines(VALIDATION)
    lines(progress)

    assert shown[0] == ("step 5 of 20: loss 2.900, 4,282 tokens/s, 1:15 left", 0.25)
    beside = "validation 2.781 ± 0.004 (unigram 2.892, composition 2.856, composition x both 2.841)"
    assert shown[1] == (f"step 5 of 20: loss 2.900, {beside}, 4,282 tokens/s, 1:15 left", 0.25)
    assert said == [
        "baselines in nats: unigram 2.892, composition 2.856, composition x both 2.841, left 2.876",
        f"step 20: {beside}",
    ]
