"""What a report shows, read from a store: what was asked for is checked before anything slow is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError
from protea_ray.evaluate.report import EvaluationTables
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.map_data import Method, SpaceMap
from protea_ray.pictures.store_data import StoreFacts
from protea_ray.query.drift import Drift, common_pooling, drift
from protea_ray.query.map_request import LIMIT, MapOptions, MapRequest, map_request
from protea_ray.query.space_map import space_map
from protea_ray.query.status import StoreStatus, status
from protea_ray.query.store_facts import read_store_facts
from protea_ray.query.store_pictures import why_no_map
from protea_ray.query.view import View
from protea_ray.store.aliases import CURRENT
from protea_ray.store.evaluations import read_evaluations
from protea_ray.store.location import Location
from protea_ray.store.spaces import list_spaces

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


@dataclass(frozen=True)
class ReportRequest:
    """A report that can be written: `asked` is the map to lay out, or `without_map` says in words why there is none."""

    location: Location
    options: ReportOptions
    asked: MapRequest | None
    without_map: str


def report_request(location: Location, options: ReportOptions, mistakes: Mistakes) -> ReportRequest:
    """Check what is asked of a store; no vector is read.

    Raises with what `mistakes` holds already: several are one ConfigError, a single one is what it is, ConfigError,
    InputError for the labels, StoreError or UnknownSpaceError.
    """
    if options.against is not None:
        mistakes.catch(lambda: _require_two(location, options))
    spaces = bool(list_spaces(location))
    if options.space is None and not spaces and (options.labels or options.colour):
        mistakes.add(["the store has no vectors, so labels and colour have nothing to colour"])
    without_map = mistakes.catch(lambda: _without_map(location, options, spaces))
    if without_map:
        mistakes.tell()
        return ReportRequest(location, options, None, without_map)
    wanted = MapOptions(
        cast(Method, options.method), options.pooling, options.limit, options.seed, options.labels,
        options.label_columns, options.colour,
    )  # fmt: skip
    return ReportRequest(location, options, map_request(location, options.space or CURRENT, wanted, mistakes), "")


def gather(request: ReportRequest, phase: Phase) -> ReportData:
    """Read everything; `phase` is told what begins. Raises StoreError."""
    location, options = request.location, request.options
    phase("reading the store's tables")
    held = status(location)
    shown, without_map = _map(request, phase)
    compared, without_drift = _drift(location, options, phase)
    phase("reading runs, lengths and rejects")
    facts = read_store_facts(location)
    results = read_evaluations(location)
    tables = EvaluationTables.make(results) if len(results) else None
    return ReportData(options, facts, held, shown, without_map, compared, without_drift, tables)


def _require_two(location: Location, options: ReportOptions) -> None:
    """Raise an error where there are no two spaces to compare, or their vectors are not of one pooling."""
    theirs = View.open(location, str(options.against))
    ours = View.open(location, options.space or CURRENT)
    if theirs.pin.space == ours.pin.space:
        raise ConfigError(f"space and against are both {ours.pin.space}: there is nothing to compare", where="report")
    common_pooling(ours, theirs, None)


def _without_map(location: Location, options: ReportOptions, spaces: bool) -> str | None:
    """Why there can be no map, None where there can; raises UnknownSpaceError for a space that was named wrongly."""
    if options.space is None and spaces:
        try:
            View.open(location, CURRENT)
        except UnknownSpaceError as error:
            return f"No space was chosen, and {error}"
    return why_no_map(location, options.space or CURRENT, options.pooling)


def _map(request: ReportRequest, phase: Phase) -> tuple[SpaceMap | None, str]:
    if request.asked is None:
        return None, request.without_map
    phase("laying out the map")
    found = space_map(request.asked)
    return found, "" if len(found.ids) else "This space holds no vectors yet, so there is nothing to draw."


def _drift(location: Location, options: ReportOptions, phase: Phase) -> tuple[Drift | None, str]:
    if options.against is None:
        return None, ""
    phase("comparing the two spaces")
    try:
        return drift(location, options.space or CURRENT, options.against), ""
    except StoreError as error:  # too few proteins in both
        return None, str(error)
