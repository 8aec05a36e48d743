"""The words and rows of a report: what each section says, as text that the template lays out and escapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from protea_ray.display import clock_time
from protea_ray.pictures.map_data import SpaceMap
from protea_ray.pictures.store_data import Flow, Packing, RejectExample, RunFacts, StoreFacts
from protea_ray.pipeline.stages import MEANINGS
from protea_ray.query.drift import Drift

NOT_RECORDED = "not recorded"
_LINKED = ("http://", "https://")


@dataclass(frozen=True)
class Table:
    """Rows of text under names; the columns in `right` hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def number(value: float | None, unit: str = "") -> str:
    """A count with its thousands set apart, or that it was not recorded."""
    return NOT_RECORDED if value is None else f"{value:,.0f}{unit}"


def store_lines(facts: StoreFacts) -> list[tuple[str, str]]:
    """The figures at the top: name and value."""
    mean = f"{facts.residues / facts.proteins:,.0f}" if facts.proteins else "none"
    rejected = sum(group.count for group in facts.rejects)
    return [
        ("protein records", f"{facts.proteins:,}"), ("residues", f"{facts.residues:,}"),
        ("mean length", mean), ("longest", f"{facts.longest:,}"), ("rejects", f"{rejected:,}"),
        ("runs", f"{len(facts.runs):,}"),
    ]  # fmt: skip


def run_lines(run: RunFacts) -> list[tuple[str, str]]:
    """One run: name and value of each of its facts."""
    trained = "" if run.trained is not False else " (untrained)"
    actors = NOT_RECORDED if run.actors is None else f"{run.actors} on {run.device or NOT_RECORDED}"
    return [
        ("run", run.run), ("kind", run.kind), ("finished", f"{run.finished:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", NOT_RECORDED if run.seconds is None else clock_time(run.seconds)),
        ("model", f"{run.model or NOT_RECORDED}{trained}"), ("actors", actors),
        ("residues embedded", number(run.residues)), *_packing(run.packing), *_memory(run.peak_memory),
    ]  # fmt: skip


def _packing(packing: Packing | None) -> list[tuple[str, str]]:
    if packing is None:
        return [("tokens", NOT_RECORDED)]
    more = packing.tokens / packing.residues - 1 if packing.residues else 0.0
    share = packing.padding / (packing.tokens + packing.padding) if packing.tokens else 0.0
    return [
        ("tokens", f"{packing.tokens:,} in {packing.packs:,} packs, {more:.1%} more than residues"),
        ("padding", f"{packing.padding:,} tokens, {share:.1%}"),
    ]


def _memory(peak: Mapping[str, int]) -> list[tuple[str, str]]:
    names = {"driver": "peak memory, driver", "actor": "peak memory, largest actor", "gpu": "peak memory, GPU"}
    found = [(names.get(name, name), decimal(value)) for name, value in peak.items()]
    return found or [("peak memory", NOT_RECORDED)]


def flow_table(flows: Sequence[Flow]) -> Table:
    """Records of a run by space; in = stored + already present + duplicate + rejected."""
    columns = ("space", "in", "stored", "already present", "duplicate", "rejected")
    rows = [(f.records, f.stored, f.already_present, f.duplicate, f.rejected) for f in flows]
    shown = tuple((f.space, *(f"{n:,}" for n in row)) for f, row in zip(flows, rows, strict=True))
    return Table(columns, shown, frozenset(range(1, 6)))


def stage_table(run: RunFacts) -> Table:
    """The stages of a run, what each is, and how long it took."""
    rows = tuple((s.name, MEANINGS.get(s.name, ""), f"{s.begins:,.2f}", f"{s.seconds:,.2f}") for s in run.stages)
    return Table(("stage", "what happens", "begins, s", "takes, s"), rows, frozenset({2, 3}))


def rate_table(run: RunFacts) -> Table:
    """Residues per second in each interval of a run."""
    pairs = zip(run.rate, run.rate[1:], strict=False)
    rows = tuple((f"{a.seconds:,.1f}", f"{b.seconds:,.1f}", f"{b.residues_per_second:,.0f}") for a, b in pairs)
    return Table(("from, s", "to, s", "residues/s"), rows, frozenset({0, 1, 2}))


def runs_table(runs: Sequence[RunFacts]) -> Table:
    """Every run, the newest first."""
    rows = tuple(
        (
            run.run, run.kind, f"{run.finished:%Y-%m-%d %H:%M}", run.model or "",
            "" if run.residues is None else f"{run.residues:,}",
            "" if run.seconds is None else clock_time(run.seconds),
        )
        for run in reversed(runs)
    )  # fmt: skip
    return Table(("run", "kind", "finished (UTC)", "model", "residues", "took"), rows, frozenset({4, 5}))


def length_table(facts: StoreFacts) -> Table:
    """Proteins by length."""
    rows = tuple(
        (f"{b.first:,} and more" if b.last is None else f"{b.first:,} to {b.last:,}", f"{b.proteins:,}")
        for b in facts.lengths
    )
    return Table(("residues", "proteins"), rows, frozenset({1}))


def drift_table(found: Drift) -> Table:
    """Agreement of two spaces by length, the whole sample last."""
    rows = tuple(tuple(agreement.cells()) for agreement in (*found.buckets, found.whole))
    return Table(tuple(found.columns()), rows, frozenset(range(1, len(found.columns()))))


def settings(run: RunFacts) -> list[tuple[str, Table]]:
    """Config, digests and versions of a run, each as a table of names and values; those recorded alone."""
    config: dict[str, str] = {}
    for place, recipe in enumerate(run.config.get("recipes", ())):
        prefix = f"recipe {place + 1}: " if len(run.config["recipes"]) > 1 else ""
        config |= {f"{prefix}{name}": _written(value) for name, value in recipe.items()}
    config |= {f"run.{name}": _written(value) for name, value in run.config.get("run", {}).items()}
    parts = [
        ("Inputs", _inputs(run)),
        ("Configuration", config),
        ("Digests (sha256)", run.digests),
        ("Versions", run.versions),
    ]
    return [(title, Table(("name", "value"), tuple((k, str(v)) for k, v in values.items())))
            for title, values in parts if values]  # fmt: skip


def _inputs(run: RunFacts) -> dict[str, str]:
    """The inputs as they were given, those that were recorded; how many there were if that is more."""
    held = run.config.get("inputs", ())
    more = run.config.get("inputs_given", 0) - len(held)
    return {str(place): given for place, given in enumerate(held, 1)} | ({"and": f"{more:,} more"} if more > 0 else {})


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def place(example: RejectExample) -> str:
    """File and line of a reject, as compilers write them."""
    return f"{example.file}:{example.line}" if example.line else example.file


def link(example: RejectExample) -> str | None:
    """Where a browser finds the file: its own URL, or that of a local path that is there; None for anything else."""
    if example.file.startswith(_LINKED):
        return example.file
    path = Path(example.file)
    try:
        return path.resolve().as_uri() if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def map_sentences(shown: SpaceMap) -> list[str]:
    """What the map is, for those who do not see it too."""
    what = "principal components" if shown.method == "pca" else "UMAP"
    points = f"{len(shown.ids):,} of {shown.total:,} proteins" if shown.sampled else f"{shown.total:,} proteins"
    lines = [
        f"{points} of {shown.space} (version {shown.version}, model {shown.model}, pooling {shown.pooling}) by {what}."
    ]
    if shown.explained is not None:
        lines.append(f"The two components hold {sum(shown.explained):.1%} of the variance: what is far apart here "
                     "is far apart in the space, and what is near here need not be.")  # fmt: skip
    return [*lines, *shown.notes]


def store_name(uri: str) -> str:
    """The last part of a store's URI, for a title."""
    return uri.rstrip("/").rsplit("/", 1)[-1] or uri
