"""The model card of a run: what was trained on what, how well it predicts, and what it must not be used for.

The card is made from the files of the run alone, plan.json and metrics.jsonl, so that it can be written again at any
time; only the command and the attribution of the data come from outside. It follows the sections of Mitchell et al.
2019 (Model Cards for Model Reporting) that apply to a model of residues.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.config.attention_forms import attention_variant
from protea_ray.config.training import TrainingConfig
from protea_ray.config.training_presets import with_preset
from protea_ray.display import markdown_table, printable

PUBLISHED_LENGTH = 1_022  # residues that ESM-2 was trained on
STRONGEST = "composition x both"
ENOUGH_ERRORS = 3.0  # standard errors below the strongest baseline before context was learned
_HEAD = """\
---
library_name: transformers
pipeline_tag: fill-mask
tags: [protein, masked-language-modelling]
---
"""


@dataclass(frozen=True)
class Training:
    """What a card is made of. `plan` is plan.json, `validation` the line of metrics.jsonl of the weights in `model`.

    `baselines` are `nats` and `standard_error` by name; `tokens` and `steps` those of the run so far; `probes` the
    scores that `protea-ray evaluate --out` wrote, a record for each task and input.
    """

    plan: Mapping[str, Any]
    steps: int
    tokens: int
    validation: Mapping[str, Any] | None
    baselines: Mapping[str, Mapping[str, Any]]
    command: str
    attribution: str | None = None
    probes: Sequence[Mapping[str, Any]] = ()


def model_card(run: Training) -> str:
    """The card as Markdown."""
    config = run.plan["config"]
    sections = [
        ("What it is", _what(run)),
        *([("Longer proteins", "\n".join(_longer(run)))] if _is_about_length(config) else []),
        ("How well it predicts", "\n".join(_loss(run))),
        ("Proteins", "\n".join(_data(run))),
        ("Licence and attribution", run.attribution or NO_ATTRIBUTION),
        ("Not good for", "\n".join(f"* {line}" for line in _limits(run))),
        ("Recipe", markdown_table(("field", "value"), [(name, _code(value)) for name, value in config.items()])),
        ("Made by", f"```bash\n{run.command}\n```\n\nThe same command with the same proteins makes the same plan, "
         f"`{run.plan['digest'][:12]}`."),
    ]  # fmt: skip
    if run.probes:
        sections.insert([name for name, _ in sections].index("Proteins"), ("Probes", _probes(run.probes)))
    return f"{_HEAD}\n# {_title(config)}\n\n" + "\n\n".join(f"## {name}\n\n{text}" for name, text in sections) + "\n"


NO_ATTRIBUTION = (
    "Nobody said under which licence the proteins are. Weights may carry the terms of their data: state them with "
    "`--attribution`, as text or as the path of a file, and run the command again."
)


def command_line(store: str, out: str, config: TrainingConfig) -> str:
    """The command that makes this run: the fields that are not those of its preset.

    >>> from protea_ray.config.training import training_config
    >>> command_line("proteins.store", "run", training_config({"shape": "small", "seed": 3, "clip": None}))
    'protea-ray train proteins.store run --shape small --clip null --seed 3'
    """
    chooses = {"model": config.model, "shape": config.shape, "adapt": config.adapt, "adapter": config.adapter}
    chooses |= {"feature_maps": config.feature_maps}
    start = {name: value for name, value in chooses.items() if value not in (None, False, "none")}
    usual = TrainingConfig(**with_preset(start))
    words = ["protea-ray", "train", store, out]
    for name, value in config:
        silent = value is None and name != "clip"  # a model, shape or length that is not given has no flag
        if name in start or (value != getattr(usual, name) and not silent):
            words += [f"--{name.replace('_', '-')}", *_written(value)]
    return shlex.join(words)


def _written(value: Any) -> list[str]:
    """A field's value on the command line."""
    if isinstance(value, bool):
        return []
    return [",".join(value) if isinstance(value, tuple) else "null" if value is None else str(value)]


def learned_context(run: Training) -> bool | None:
    """Whether the loss is clearly below what needs no context; None where that was not measured."""
    strongest = run.baselines.get(STRONGEST)
    if strongest is None or run.validation is None:
        return None
    return run.validation["loss_20"] + ENOUGH_ERRORS * run.validation["standard_error"] < strongest["nats"]


def _title(config: Mapping[str, Any]) -> str:
    if config["model"]:
        return f"A protein language model continued from {printable(config['model'])}"
    return f"A protein language model of shape {printable(Path(config['shape']).name)}, trained from fresh weights"


def _what(run: Training) -> str:
    config = run.plan["config"]
    start = f"the weights of `{printable(config['model'])}`" if config["model"] else "fresh weights"
    if learns_maps(config):
        return _what_maps(run)
    base = f", frozen weights in {config.get('quantization') or 'int4'}" if config["adapter"] == "qlora" else ""
    adapter = "" if config["adapter"] == "none" else f" through an adapter ({config['adapter']}{base})"
    return (
        f"An encoder that was trained to predict masked residues ({config['mask_rate']:.0%} of them), from {start}"
        f"{adapter}: {run.steps:,} steps, {run.tokens:,} tokens, stretches of at most {config['crop']:,} residues, "
        f"attention {config['attention']}. {_opened(config['attention'])}"
    )


def _opened(attention: str) -> str:
    """What opens the model, and whether that attends as the model was trained to."""
    if attention == "exact":
        return "Transformers opens the directory, and so does `protea-ray embed --model`."
    return (
        f"`protea-ray embed --model` opens the directory and attends with {attention} unless told otherwise. "
        "Transformers opens it too, and attends exactly: another function than the one that was trained."
    )


def _is_about_length(config: Mapping[str, Any]) -> bool:
    """Whether a model went on in a way that is meant for longer proteins: attention by distance, or a long crop."""
    near = attention_variant(config["attention"]).kind in ("local", "global")
    return config["model"] is not None and (near or config["crop"] > PUBLISHED_LENGTH)


def _longer(run: Training) -> Iterator[str]:
    """What of arXiv 2501.07747 (longer ESM-2, quantised) this model has, and what could not be had."""
    config = run.plan["config"]
    variant = attention_variant(config["attention"])
    if variant.kind in ("local", "global"):
        yield (
            f"* A residue attends to {variant.window:,} on each side, a window of {2 * variant.window:,} as Longformer "
            '(Beltagy et al. 2020) counts it. arXiv 2501.07747 has "a window of 1,024, inspired by Longformer": read '
            "so it is `local:512`; if it was meant for each side, `local:1024`."
        )
    yield (
        "* Positions are rotary: computed from the distance of two residues, from no table. Copying the rows of a "
        "position table to double it, as that paper describes, changes no number of such a model, and is not done."
    )
    yield (
        "* Set it beside the model that it started from with overlapping windows, and beside the same training with "
        "exact attention: the first says whether anything was gained, the second whether the attention gained it."
    )


def learns_maps(config: Mapping[str, Any]) -> bool:
    """Whether a run of this recipe, as plan.json has it, learned feature maps."""
    return config.get("feature_maps", "none") != "none"  # plans older than the field have none


def _what_maps(run: Training) -> str:
    config = run.plan["config"]
    return (
        f"The weights of `{printable(config['model'])}`, unchanged, and feature maps of linear attention "
        f"({config['feature_maps']}, Zhang et al. 2024) that learned to return what its exact attention returns: "
        f"{run.steps:,} steps, {run.tokens:,} tokens, stretches of at most {config['crop']:,} residues. "
        f"`protea-ray embed --model` attends through the maps with `--attention {config['feature_maps']}`. "
        "Transformers opens the directory and attends exactly: it does not know the maps."
    )


def _maps_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Each layer, its mean squared error and its relative error."""
    for number, (mse, relative) in enumerate(zip(found["mse_by_layer"], found["relative_error_by_layer"], strict=True)):
        yield str(number + 1), f"{mse:.2e}", f"{relative:.3f}"


def _loss(run: Training) -> Iterator[str]:
    """The loss beside the baselines, then by length."""
    if run.validation is None:
        yield "No validation was reached."
        return
    found = run.validation
    ours = {"nats": found["loss_20"], "standard_error": found["standard_error"]}
    exact = {"exact attention": {"nats": found["loss_20_exact"], "standard_error": None}} if "mse" in found else {}
    shown = [_loss_row(name, row) for name, row in {**run.baselines, **exact, "**this model**": ours}.items()]
    yield (
        f"Loss of a masked residue of {found['proteins']:,} validation proteins, among the 20 amino acids (15 % "
        "masked, the same masks at every validation; the standard error is over proteins):\n"
    )
    yield markdown_table(("predictor", "nats", "perplexity", "standard error"), shown)
    yield f"\nOver the whole vocabulary, as others report it: {found['loss']:.3f} nats."
    if by_length := found.get("by_length"):
        yield "\nBy length of the protein:\n"
        yield markdown_table(("residues", "nats", "perplexity", "proteins"), list(_length_rows(by_length)))
    if "mse" in found:
        yield "\nOutputs of each layer's attention beside the exact ones for the same inputs:\n"
        yield markdown_table(("layer", "mean squared error", "relative error"), list(_maps_rows(found)))
    yield "\nLosses of other validation sets are not comparable: the same model differs by 0.25 nats between two."


def _loss_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    error = row["standard_error"]
    return name, f"{row['nats']:.3f}", f"{math.exp(row['nats']):.2f}", "" if error is None else f"{error:.3f}"


def _length_rows(by_length: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, row in by_length.items():
        yield name, f"{row['loss_20']:.3f}", f"{math.exp(row['loss_20']):.2f}", f"{row['proteins']:,}"


def _data(run: Training) -> Iterator[str]:
    data = run.plan["data"]
    version = "" if data.get("version") is None else f" at version {data['version']} of its proteins"
    yield f"* read from: `{printable(str(data.get('uri')))}`{version}"
    yield f"* sha256 of their keys in order: `{data['digest']}`"
    yield (
        f"* {_share(run)} kept for validation as whole clusters of proteins that share words; "
        f"sha256 of the split: `{run.plan['split'][:12]}`"
    )


def _share(run: Training) -> str:
    return f"{run.plan['config']['validation_share']:.0%}"


def _limits(run: Training) -> Iterator[str]:
    """What the figures do not support, most important first."""
    config = run.plan["config"]
    match learned_context(run):
        case False:
            yield (
                f"**Anything that needs context**: its loss is not {ENOUGH_ERRORS:g} standard errors below that of "
                f"{STRONGEST}, which looks at two residues and the composition."
            )
        case None:
            yield "Claims about what it learned: its loss was not compared with that of simple predictors."
        case True:
            pass
    yield f"Proteins much longer than {config['crop']:,} residues: it has seen no distance beyond."
    if config["attention"] != "exact":
        yield f"Exact attention: it was trained with {config['attention']}, which `protea-ray embed` takes by itself."
    yield "Structures, effects of variants and functions, unless a probe on your task says otherwise."
    yield "Clinical decisions, and the design of proteins that are made without being tested."


def _probes(probes: Sequence[Mapping[str, Any]]) -> str:
    """Frozen vectors on labelled tasks, controls among them, as `protea-ray evaluate` measured them."""
    names = list(dict.fromkeys(name for probe in probes for name in probe["probes"]))
    rows = [
        (
            str(probe["task"]),
            str(probe["metric"]),
            f"{probe['input']} (control)" if probe["control"] else str(probe["input"]),
            *(_score(probe["probes"].get(name)) for name in names),
        )
        for probe in probes
    ]
    reading = "Frozen vectors, mean ± standard deviation over seeds, of tested proteins (`protea-ray evaluate`):"
    return f"{reading}\n\n{markdown_table(('task', 'metric', 'input', *names), rows)}"


def _score(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['value']:.3f}" + ("" if found["sd"] is None else f" ± {found['sd']:.3f}")


def _code(value: Any) -> str:
    return f"`{printable(json.dumps(value))}`"
