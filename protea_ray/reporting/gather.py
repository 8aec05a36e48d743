"""What a report shows, read from a store: what was asked for is checked before anything slow is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from protea_ray.errors import ConfigError, InputError, ProteaRayError, StoreError, UnknownSpaceError, did_you_mean
from protea_ray.evaluate.report import EvaluationTables
from protea_ray.pictures.map_data import Method, SpaceMap
from protea_ray.pictures.store_data import StoreFacts
from protea_ray.query.drift import Drift, drift
from protea_ray.query.space_map import LIMIT, space_map
from protea_ray.query.status import StoreStatus, status
from protea_ray.query.store_facts import read_store_facts
from protea_ray.query.store_pictures import why_no_map
from protea_ray.query.view import View
from protea_ray.store.aliases import CURRENT
from protea_ray.store.evaluations import read_evaluations
from protea_ray.store.location import Location

Phase = Callable[[str], None]


@dataclass(frozen=True)
class ReportOptions:
    """What a report is to show. `space` and `against` are spaces or aliases; `space` None: `current`, if there is one.

    `labels` is a file of labels by id, `label_columns` of it (None: all) colour the map, `colour` is the column that
    colours it first. `limit` points are drawn at most, by `seed`.
    """

    space: str | None = None
    against: str | None = None
    pooling: str | None = None
    method: str = "pca"  # or umap
    labels: Path | None = None
    label_columns: tuple[str, ...] | None = None
    colour: str | None = None
    limit: int = LIMIT
    seed: int = 0


@dataclass(frozen=True)
class ReportData:
    """All that a report shows; `without_map` says in words why there is no map, `notes` what else is to be known."""

    options: ReportOptions
    facts: StoreFacts
    status: StoreStatus
    space_map: SpaceMap | None
    without_map: str
    drift: Drift | None
    without_drift: str
    evaluations: EvaluationTables | None


def gather(location: Location, options: ReportOptions, phase: Phase) -> ReportData:
    """Read everything; `phase` is told what begins. Raises ConfigError with every mistake, StoreError."""
    phase("reading the store's tables")
    held = status(location)
    _require_sensible(location, options, held)
    shown, without_map = _map(location, options, held, phase)
    compared, without_drift = _drift(location, options, phase)
    phase("reading runs, lengths and rejects")
    facts = read_store_facts(location)
    results = read_evaluations(location)
    tables = EvaluationTables.make(results) if len(results) else None
    return ReportData(options, facts, held, shown, without_map, compared, without_drift, tables)


def _require_sensible(location: Location, options: ReportOptions, held: StoreStatus) -> None:
    """Raise one error with all mistakes that the map does not look for itself."""
    problems: list[str] = []
    if options.against is not None:
        try:
            theirs = View.open(location, options.against).pin
            ours = View.open(location, options.space or CURRENT).pin
            if theirs.space == ours.space:
                problems.append(f"space and against are both {ours.space}: there is nothing to compare")
        except (UnknownSpaceError, StoreError, ConfigError) as error:
            problems += _sentences(error)
    if options.space is None and not held.spaces and (options.labels or options.colour):
        problems.append("the store has no vectors, so labels and colour have nothing to colour")
    if problems:
        raise ConfigError(problems, where="report")


def _sentences(error: ProteaRayError) -> list[str]:
    return list(error.problems) if isinstance(error, ConfigError | InputError) else [str(error)]


def _map(location: Location, options: ReportOptions, held: StoreStatus, phase: Phase) -> tuple[SpaceMap | None, str]:
    wanted = options.space or CURRENT
    if options.space is None and held.spaces:
        try:
            View.open(location, CURRENT)
        except UnknownSpaceError as error:
            return None, f"No space was chosen, and {error}"
    if sentence := why_no_map(location, wanted, options.pooling):
        return None, sentence
    phase("laying out the map")
    found = space_map(
        location, wanted, method=cast(Method, options.method), pooling=options.pooling, limit=options.limit,
        seed=options.seed, labels=options.labels, label_columns=options.label_columns,
    )  # fmt: skip
    names = [column.name for column in found.columns]
    if options.colour is not None and options.colour not in names:
        hint = did_you_mean(options.colour, names)
        raise ConfigError(f"colour: the map has no column {options.colour!r}{hint}; it has {', '.join(names)}")
    return found, "" if len(found.ids) else "This space holds no vectors yet, so there is nothing to draw."


def _drift(location: Location, options: ReportOptions, phase: Phase) -> tuple[Drift | None, str]:
    if options.against is None:
        return None, ""
    phase("comparing the two spaces")
    try:
        return drift(location, options.space or CURRENT, options.against), ""
    except StoreError as error:  # too few proteins in both
        return None, str(error)
