"""What a run leaves for people: the curve and the model card, made from the files of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.errors import ConfigError
from protea_ray.pictures.style import INSTALL
from protea_ray.train.baseline_file import read_baselines
from protea_ray.train.card import Training, learns_maps, model_card
from protea_ray.train.curve import Curve, draw
from protea_ray.train.metrics_file import FINAL, read_metrics
from protea_ray.train.plan_file import PLAN

CARD, CURVE, PROBES = "README.md", "curve.png", "probes"


@dataclass(frozen=True)
class RunFiles:
    """A run as its files have it: plan.json, the lines of metrics.jsonl by kind, and baselines.json.

    `final` is the loss of the weights in OUT/model on the whole validation side, None before the end.
    """

    plan: Mapping[str, Any]
    steps: list[dict[str, Any]]
    validations: list[dict[str, Any]]
    final: dict[str, Any] | None
    baselines: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, out: Path) -> RunFiles:
        """Read the files below `out`."""
        lines = list(read_metrics(out))
        kinds = {kind: [line for line in lines if line["kind"] == kind] for kind in ("step", "validation", FINAL)}
        plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
        final = kinds[FINAL][-1] if kinds[FINAL] else None
        return cls(plan, kinds["step"], kinds["validation"], final, read_baselines(out) or {})


def write_results(out: Path, command: str, attribution: str | None) -> list[str]:
    """Write curve.png and README.md below `out`, the card also into the model's directory; returns what to say."""
    run = RunFiles.read(out)
    config = run.plan["config"]
    last = run.validations[-1] if run.validations else None
    probes, said = _probes(out)
    card = model_card(
        Training(
            plan=run.plan,
            steps=run.steps[-1]["step"] if run.steps else 0,
            tokens=run.steps[-1]["tokens"] if run.steps else 0,
            validation=run.final or last,
            baselines=run.baselines,
            command=command,
            attribution=attribution,
            probes=probes,
        )
    )
    for place in (out, out / "model"):
        if place.is_dir():
            (place / CARD).write_text(card, encoding="utf-8")
    of_maps = learns_maps(config)  # a step's loss is no loss of residues then
    losses = [] if of_maps else [(line["tokens"], line["loss"]) for line in run.steps]
    validated = [(line["tokens"], line["loss_20"]) for line in run.validations]
    title = f"{Path(config['model'] or config['shape']).name}, {config['optimiser']}, seed {config['seed']}"
    levels = {name: row["nats"] for name, row in run.baselines.items()}
    if last and of_maps:
        levels["exact attention"] = last["loss_20_exact"]
    if not draw(Curve(title, losses, validated, levels), out / CURVE):
        said.append(f"{CURVE} was not drawn: {INSTALL} installs matplotlib; the same command draws it then")
    return said


def attribution_text(given: str | None) -> str | None:
    """What `--attribution` says: the text of the file of that name, or the words themselves.

    Raises ConfigError for a file that cannot be read, and for the name of a text file that is not there.
    """
    if given is None:
        return None
    if not given.endswith((".md", ".txt")) and not _is_file(given):
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"attribution {given} cannot be read as a text: {error}", where="training") from None


def _is_file(given: str) -> bool:
    try:
        return Path(given).expanduser().is_file()
    except (OSError, ValueError):  # too long for a name, as words may be
        return False


def _probes(out: Path) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The scores of every report of `protea-ray evaluate --out OUT/probes/NAME`, and what to say of unreadable ones.

    A report that is half written or of something else must not cost the card of a run of hours, so it is left out.
    """
    scores: list[Mapping[str, Any]] = []
    said: list[str] = []
    for path in sorted((out / PROBES).glob("*/results.json")):
        try:
            scores += _scores(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said.append(f"{path} is no report of `protea-ray evaluate` and is not in the card: {error!r:.200}")
    return scores, said


def _scores(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the card takes of a report; raises KeyError, TypeError and ValueError for anything else."""
    return [
        {
            **{name: str(score[name]) for name in ("task", "metric", "input", "control")},
            "probes": {
                probe: {"value": float(found["value"]), "sd": None if found["sd"] is None else float(found["sd"])}
                for probe, found in score["probes"].items()
            },
        }
        for score in report["scores"]["values"]
    ]
