"""Predict what a run would do, without writing a byte. The model is loaded once, to be timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from protea_ray.cluster.progress import Reporter
from protea_ray.cluster.waiting import waiting_is_told
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunConfig
from protea_ray.display import first_of
from protea_ray.encoder.layout import Layout, layout
from protea_ray.models.families.base import Shape
from protea_ray.pipeline.calibration import calibrate
from protea_ray.pipeline.embed import MakeSpec, Setting, prepare
from protea_ray.pipeline.ingest import columns_of, scan_all
from protea_ray.pipeline.missing import missing_of
from protea_ray.pipeline.pool import pool_for, remote
from protea_ray.pipeline.reading import grouped
from protea_ray.pipeline.stages import Stages
from protea_ray.pipeline.targets import space_names
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.plan.delta import Counts
from protea_ray.sequences.parts import Part, Source
from protea_ray.sequences.read import read_part
from protea_ray.sequences.records import KEY
from protea_ray.store.location import Location

ROW_BYTES = 64  # key, unit, spans and counts of one stored row
_SEEN = pa.schema([pa.field("key", KEY), pa.field("length", pa.int32())])  # a reject has neither


@dataclass(frozen=True)
class SpacePlan:
    """What one space would get. `windows` are forward passes, `bytes` what its rows take on disk.

    `rejected` counts what cannot be stored: bad records, rejects of earlier runs, proteins past `on_long: reject`.
    """

    space: str
    proteins: int
    residues: int
    windows: int
    bytes: int
    already_present: int
    duplicate: int
    rejected: int


@dataclass(frozen=True)
class DryRun:
    """The whole run. `seconds` is predicted compute on `actors` actors, from the first forward pass on.

    `startup_seconds` is what comes before it: what this dry run took for the same, from the command to the comparison
    with the store, and the load of an encoder with its first pass. Writing the proteins is in neither. `remembered`:
    the model was timed by an earlier run on this machine.
    """

    store: str
    model: str
    records: int
    device: str
    actors: int
    seconds: float
    startup_seconds: float
    remembered: bool
    spaces: tuple[SpacePlan, ...]


def dry_run(
    inputs: Sequence[str],
    store: str,
    config: RunConfig,
    report: Reporter,
    make_spec: MakeSpec = EncoderSpec,
    started: float | None = None,
) -> DryRun:
    """Read the inputs, compare them with the store, time the model; raises what `embed` would raise.

    `started` is when the command was given, in seconds since the epoch.
    """
    stages = Stages(started or time.time())
    setting, sources = prepare(inputs, store, config, report, make_spec, stages)
    with waiting_is_told(report, report.warn) as report:
        return _predict(setting, sources, report)


def _predict(setting: Setting, sources: Sequence[Source], report: Reporter) -> DryRun:
    """The plan of a run whose inputs were listed."""
    report.phase(f"reading {first_of([source.name for source in sources])}")
    names = space_names(setting.location, setting.checkpoint, setting.recipes)
    seen = _records(sources, setting).to_arrow_refs()
    task = remote(_compare, num_cpus=1)
    found: _Comparison = ray.get(task.remote(setting.location, names, setting.options.retry_rejects, *seen))
    spaces = tuple(
        _space_plan(setting, recipe, name, found.lengths[found.masks >> position & 1 == 1], count, found.rejects)
        for position, (recipe, name, count) in enumerate(zip(setting.recipes, names, found.counts, strict=True))
    )
    pool = pool_for(setting.options, setting.device, max(len(found.lengths), 1))
    seconds, startup, remembered = 0.0, time.time() - setting.stages.began, False
    if len(found.lengths):
        one = calibrate(setting.encoder, setting.checkpoint, setting.recipes, pool.num_gpus, report)
        seconds = float(one.cost.of(found.lengths).sum()) / pool.actors
        remembered = one.remembered
        startup += one.load_seconds + one.first_forward_seconds
    return DryRun(
        store=setting.location.uri,
        model=setting.checkpoint.model,
        records=found.records,
        device=setting.device,
        actors=pool.actors,
        seconds=seconds,
        startup_seconds=round(startup, 3),
        remembered=remembered,
        spaces=spaces,
    )


@dataclass(frozen=True)
class _Comparison:
    records: int
    rejects: int
    lengths: np.ndarray  # (m,) residues of the proteins to embed
    masks: np.ndarray  # (m,) which spaces lack them
    counts: tuple[Counts, ...]


def _records(sources: Sequence[Source], setting: Setting) -> ray.data.Dataset:
    """Key and length of every record, read in parallel as ingest would; the first `limit` of them."""
    options = setting.options
    columns = columns_of(options, setting.recipes[0].alphabet)
    scans, _ = scan_all(sources, columns, options)

    def read(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for part in row["parts"]:
            for batch in read_part(part, columns, "", "", limit=options.limit):
                yield from batch.proteins.select(_SEEN.names).to_pylist()
                yield from ({"key": None, "length": None} for _ in range(batch.rejects.num_rows))

    parts = [part for found in scans for part in found.parts]
    groups: list[dict[str, list[Part]]] = [{"parts": group} for group in grouped(parts, lambda p: p.source.size)]
    blocks = 1 if options.limit else len(groups)
    records = ray.data.from_items(groups, override_num_blocks=blocks).flat_map(read, num_cpus=1)
    return records.limit(options.limit) if options.limit else records


def _compare(location: Location, spaces: Sequence[str], retry_rejects: bool, *tables: pa.Table) -> _Comparison:
    records = pa.concat_tables([t.cast(_SEEN) for t in tables if t.num_rows] or [_SEEN.empty_table()])
    accepted = records.drop_null()
    found = missing_of(location, accepted["key"].combine_chunks(), spaces, retry_rejects)
    lengths = accepted["length"].to_numpy()[found.rows]
    return _Comparison(len(records), len(records) - len(accepted), lengths, found.masks, found.counts)


def _space_plan(
    setting: Setting, recipe: EmbeddingConfig, name: str, lengths: np.ndarray, count: Counts, rejects: int
) -> SpacePlan:
    distinct, times = np.unique(lengths, return_counts=True)
    laid = [(length, n, layout(length, recipe)) for length, n in zip(distinct.tolist(), times.tolist(), strict=True)]
    kept = [(length, n, found) for length, n, found in laid if found is not None]
    proteins = sum(n for _, n, _ in kept)
    return SpacePlan(
        space=name,
        proteins=proteins,
        residues=sum(length * n for length, n, _ in kept),
        windows=sum(n * len(found.windows) for _, n, found in kept),
        bytes=sum(n * _bytes(found, recipe, setting.checkpoint.shape) for _, n, found in kept),
        already_present=count.already_present,
        duplicate=count.duplicate,
        rejected=rejects + count.rejected + len(lengths) - proteins,
    )


def _bytes(laid: Layout, recipe: EmbeddingConfig, shape: Shape) -> int:
    """What the rows of one protein take on disk: vectors for each row, matrices for each residue of a row."""
    item = np.dtype(recipe.store_dtype).itemsize
    row = ROW_BYTES + item * sum(recipe.widths(shape.hidden).values())
    columns = recipe.width(shape.hidden) if recipe.keeps_residues else 0
    columns += shape.vocabulary if recipe.keeps_logits else 0
    return len(laid.spans) * row + item * columns * sum(end - start for start, end in laid.spans)
