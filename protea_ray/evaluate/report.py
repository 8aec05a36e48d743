"""The report of a probe: one JSON file with every figure, and one picture for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protea_ray.errors import ConfigError
from protea_ray.evaluate.metrics import HEADLINE

UNTRAINED = (
    "The model was never trained: its vectors carry no biology. The figures show that everything runs, and what "
    "random projections of a sequence give; they say nothing about a language model."
)


def write_report(found: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write probe.json and probe.png; returns their paths. `found` is what `experiment.evaluate` returns.

    Raises ConfigError where matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    as_json, picture = folder / "probe.json", folder / "probe.png"
    as_json.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _draw(found, picture)
    return as_json, picture


def print_report(found: dict[str, Any]) -> None:
    """Metrics as a table, then everything that one has to know to read it."""
    names = list(next(iter(found["test"].values())))
    print(f"{found['task']} ({found['kind']}): {found['train_proteins']:,} train, {found['test_proteins']:,} test, "
          f"{found['store']['space']} at version {found['store']['version']}")  # fmt: skip
    print(f"{'':22}" + "".join(f"{name:>12}" for name in names) + f"{'  without relatives':>20}")
    headline = HEADLINE[found["kind"]]
    for probe, values in found["test"].items():
        strict = found["test_without_relatives"].get(probe, {}).get(headline)
        shown = "" if strict is None else f"{strict:>20.3f}"
        print(f"{probe:22}" + "".join(f"{values[name]:>12.3f}" for name in names) + shown)
    for note in found["notes"]:
        print(f"* {note}")


def _draw(found: dict[str, Any], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError('the picture needs matplotlib: pip install "protea-ray[report]"', where="report") from error
    metric = HEADLINE[found["kind"]]
    figure = Figure(figsize=(9, 4), layout="constrained")
    bars, curves = figure.subplots(1, 2)
    values = {probe: scores[metric] for probe, scores in found["test"].items()}
    colours = ["tab:blue" if probe.startswith("embedding") else "tab:gray" for probe in values]
    bars.bar_label(bars.bar(list(values), list(values.values()), color=colours), fmt="%.3f")
    bars.tick_params("x", rotation=20)
    bars.set_ylabel(f"{metric}, {found['test_proteins']:,} held-out proteins")
    for probe in values:
        curves.plot([losses[probe] for losses in found["losses"]], label=probe)
    curves.set_xlabel("epoch")
    curves.set_ylabel("training loss")
    curves.legend()
    untrained = "" if found["store"]["trained"] else "  (untrained model: no biology)"
    figure.suptitle(f"{found['task']}, {found['store']['model']}{untrained}")
    figure.savefig(path, dpi=120)
