"""The main job: sources in, vector spaces out, exactly once.

Order: list the inputs, open the checkpoint, join Ray, take the lease; then ingest, find what is missing, embed,
commit in groups, account. So a mistake costs as little as it can and leaves nothing behind. Running the same command
again is the resume: keys that are present are not wanted.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from protea_ray.cluster.connect import LOCAL, connect, wanted_address
from protea_ray.cluster.meter import Meter
from protea_ray.cluster.progress import Reporter
from protea_ray.cluster.ray_metrics import Recorder, addresses
from protea_ray.cluster.waiting import waiting_is_told
from protea_ray.config.identity import space_name
from protea_ray.config.paths import require_paths
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import attention_notes, misfits, resolve
from protea_ray.config.run import RunConfig, RunOptions
from protea_ray.display import first_of
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import Checkpoint, letter_notes, open_checkpoint
from protea_ray.models.measured_drift import approximation_note
from protea_ray.pipeline.accounting import Summary, account, in_words
from protea_ray.pipeline.calibration import Calibration, calibrate, remember
from protea_ray.pipeline.current import Current, name_only_space, sentences, settle_current
from protea_ray.pipeline.failures import interruptible, own_errors
from protea_ray.pipeline.ingest import columns_of, ingest
from protea_ray.pipeline.interrupted import committed, interruption_recorded
from protea_ray.pipeline.loop import Job, Tally, embed_units
from protea_ray.pipeline.missing import Work, find_work
from protea_ray.pipeline.pool import at_most, device_of, pool_for, require_reach, require_room
from protea_ray.pipeline.reasons import reasons_of
from protea_ray.pipeline.run_metrics import RunMetrics, record_end
from protea_ray.pipeline.run_record import RECORD, run_record
from protea_ray.pipeline.stages import (
    ACCOUNTING,
    CALIBRATION,
    CHECKPOINT,
    DELTA,
    INGEST,
    INPUTS,
    RAY,
    UNITS,
    Stages,
)
from protea_ray.pipeline.targets import make_targets
from protea_ray.pipeline.units import UnitPolicy, plan_units
from protea_ray.pipeline.worker import EncoderSpec, Target
from protea_ray.plan.units import Sizes
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.nucleotides import require_no_nucleotides
from protea_ray.sequences.parts import Source
from protea_ray.sequences.read import require_amino_acids
from protea_ray.store.columns import require_columns
from protea_ray.store.commit import Writer
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location, open_location
from protea_ray.store.runs import new_run_id, record_run

MakeSpec = Callable[..., EncoderSpec]  # from the fields of EncoderSpec to what an actor loads


@dataclass(frozen=True)
class Setting:
    """Everything that is decided before the first record is read. `make_spec`: see `embed`."""

    location: Location
    checkpoint: Checkpoint
    recipes: tuple[EmbeddingConfig, ...]
    options: RunOptions
    device: str
    run: str
    make_spec: MakeSpec = EncoderSpec
    stages: Stages = field(default_factory=Stages)
    inputs: tuple[str, ...] = ()  # as they were given

    @property
    def recorder(self) -> Recorder:
        """Records this run's figures as Ray metrics."""
        return Recorder(run=self.run, family=self.checkpoint.facts.family)

    @property
    def encoder(self) -> EncoderSpec:
        """What an actor loads."""
        found = self.checkpoint
        return self.make_spec(
            model=found.model,
            revision=found.revision,
            directory=found.path,
            host=platform.node(),
            files=found.files,
            family=found.facts.family,
            device=self.device,
            token_budget=self.options.token_budget,
            kernel=self.options.kernel,
            compile=self.options.compile,
            products=self.options.products,
            adapter=found.adapter,
        )


@dataclass(frozen=True)
class Embedding:
    """What the embedding part of a run did. `seconds` run from the first forward pass to the last commit."""

    tally: Tally
    actors: int = 0
    seconds: float = 0.0
    startup_seconds: float = 0.0
    calibration: Calibration | None = None


def prepare(
    inputs: Sequence[str], store: str, config: RunConfig, report: Reporter, make_spec: MakeSpec, stages: Stages
) -> tuple[Setting, list[Source]]:
    """List the inputs, open the checkpoint, join Ray and resolve the recipes, in this order; nothing is written.

    Raises InputError for inputs that hold no sequences, ConfigError for a store that is a file and for recipes that
    do not fit the checkpoint or leave open what letters the inputs hold, CheckpointError for weights that must not be
    used, and StoreError for a table to which nothing can be appended.
    """
    require_paths(inputs, store)
    stages.enter(INPUTS)
    report.phase(f"looking at {first_of(inputs)}")
    location = open_location(store)
    require_columns(location)
    first = config.recipes[0]
    columns = columns_of(config.run, first.alphabet)
    sources = expand(inputs, columns, location.uri)
    if first.alphabet is None:
        require_no_nucleotides(sources, columns)
    stages.enter(CHECKPOINT)
    report.phase(f"opening the checkpoint {first.model}")
    checkpoint = open_checkpoint(first.model, first.revision, first.family)
    if checkpoint.facts.reads_3di and first.alphabet is None:
        require_amino_acids(sources, columns)
    setting = join(location, checkpoint, config, report, make_spec, stages)
    require_reach(sources)
    return replace(setting, inputs=tuple(map(str, inputs))), sources


def join(
    location: Location, checkpoint: Checkpoint, config: RunConfig, report: Reporter, make_spec: MakeSpec,
    stages: Stages,
) -> Setting:  # fmt: skip
    """Join the Ray cluster and resolve the recipes for its device; raises ConfigError for recipes that do not fit.

    Warns of an attention that approximates what the checkpoint was trained with.
    Whatever does not depend on the device is an error before Ray starts.
    """
    require_fitting(config, checkpoint)
    stages.enter(RAY)
    address = wanted_address(config.run)
    report.phase("starting Ray" if address == LOCAL else f"joining the Ray cluster at {address}")
    connect(config.run)
    report.detail(
        f"metrics of this run: {', '.join(f'http://{place}/metrics' for place in addresses()) or 'not served'}"
    )
    require_room()
    device = device_of(config.run)
    recipes = tuple(resolve(r, checkpoint.facts, device, checkpoint.revision) for r in config.recipes)
    for note in dict.fromkeys(approximation_note(checkpoint, recipe.variant) for recipe in recipes):
        if note:
            report.warn(note)
    return Setting(location, checkpoint, recipes, config.run, device, new_run_id(), make_spec, stages)


def require_fitting(config: RunConfig, checkpoint: Checkpoint) -> None:
    """Raise ConfigError with all that the recipes want and the checkpoint, or the device asked for, cannot do."""
    device = "cpu" if config.run.device == "cpu" else None
    problems = [problem for recipe in config.recipes for problem in misfits(recipe, checkpoint.facts, device)]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), where=checkpoint.model)


@own_errors()
def embed(
    inputs: Sequence[str],
    store: str,
    config: RunConfig,
    report: Reporter,
    make_spec: MakeSpec = EncoderSpec,
    started: float | None = None,
) -> Summary:
    """Embed every record of `inputs` into one space per recipe of `store`, and account for each.

    `make_spec` takes the fields of EncoderSpec and says what actors load: a subclass loads another encoder, such as
    the simulated one of benchmarks/cluster. `started` is when the command was given, in seconds since the epoch.
    Raises InputError, CheckpointError, ConfigError, LeaseHeldError and StoreError; KeyboardInterrupt after the
    finished units were committed.
    """
    stages = Stages(started or time.time())
    setting, sources = prepare(inputs, store, config, report, make_spec, stages)
    with (
        interruptible(),
        waiting_is_told(report, report.warn) as report,
        Lease.acquire(setting.location, setting.options.heartbeat_seconds) as lease,
    ):
        writer = Writer(lease)
        alphabet = setting.recipes[0].alphabet
        stages.enter(INGEST)
        ingested = ingest(sources, setting.location, setting.options, setting.run, writer, alphabet, report)
        if ingested.repeated:
            report.note(f"{first_of(ingested.repeated)}: byte for byte another input of this run; read once.")
        name_only_space(setting.location, setting.run, writer)
        targets = make_targets(setting.location, setting.checkpoint, setting.recipes, setting.run)
        note_other_names(setting, targets, report)
        spaces = [t.space for t in targets]
        stages.enter(DELTA)
        report.phase("finding the proteins that have no vector yet")
        work = find_work(
            setting.location, ingested.labels, spaces, setting.options.retry_rejects, alphabet=alphabet,
            memory=setting.options.task_memory,
        )  # fmt: skip
        tally = Tally.of(spaces)
        with stops_recorded(setting, work, tally, writer):
            done = embed_work(setting, work, targets, writer, report, tally, ingested.rejects)
        stages.enter(ACCOUNTING)
        report.phase("checking the accounting")
        summary = summarise(setting, ingested.records, ingested.rejects, ingested.labels, work, done)
        summary = with_current(summary, settle_current(setting.location, spaces, setting.run, writer))
        summary = finished(summary, setting)
        if work.proteins or ingested.read_now:
            record_run(setting.location, summary.run, with_record(summary.to_json(), setting, tally), writer=writer)
        return summary


def stops_recorded(setting: Setting, work: Work, tally: Tally, writer: Writer) -> AbstractContextManager[None]:
    """Within the block, Ctrl-C and SIGTERM leave a row in `runs`."""

    def facts() -> dict[str, Any]:
        stages = setting.stages
        stages.leave()
        done = committed(tally, work.proteins, setting.checkpoint.model, stages.began)
        done |= {"trained": setting.checkpoint.trained, "device": setting.device}
        return with_record({**done, "stages": [asdict(stage) for stage in stages.times()]}, setting, tally)

    return interruption_recorded(setting.location, setting.run, writer, facts)


def embed_work(
    setting: Setting,
    work: Work,
    targets: Sequence[Target],
    writer: Writer,
    report: Reporter,
    tally: Tally,
    ingest_rejects: int = 0,
) -> Embedding:
    """Calibrate, cut into units, embed and commit under the lease; nothing at all when no protein is wanted.

    `tally` counts what was done, also when the run is stopped. `ingest_rejects`: records of this run's inputs that are
    no proteins, for the progress line and the metrics alone.
    """
    metrics = RunMetrics(setting.recorder, setting.stages.began)
    metrics.planned(dict(zip(tally.stored, work.counts, strict=True)), ingest_rejects)
    if not work.proteins:
        return Embedding(tally)
    options, stages = setting.options, setting.stages
    stages.enter(CALIBRATION)
    gpus = float(setting.device == "cuda")
    calibration = calibrate(setting.encoder, setting.checkpoint, setting.recipes, gpus, report)
    stages.enter(UNITS)
    report.phase(f"planning units of {work.proteins:,} proteins")
    pool = pool_for(options, setting.device, work.proteins)
    for line in calibration.lines(setting.recipes[0]):
        report.detail(line)
    for line in [*letter_notes(setting.checkpoint), *([pool.shortage] if pool.shortage else [])]:
        report.note(line)
    for line in attention_notes(setting.recipes[0], setting.checkpoint.facts):
        report.warn(line)
    encoder = replace(setting.encoder, token_budget=calibration.token_budget)
    sizes = Sizes(options.unit_seconds, pool.actors)
    pooled_only = not any(r.keeps_residues or r.keeps_logits for r in setting.recipes)
    policy = UnitPolicy(setting.run, calibration.cost, options.window_proteins, sizes, widens=pooled_only)
    units = plan_units(work, policy)
    pool = at_most(pool, units.count)
    rejects = ingest_rejects + max(count.rejected for count in work.counts)
    foretold = calibration.load_seconds + calibration.first_forward_seconds + units.seconds / pool.actors
    report.start(work.proteins, work.residues, units.seconds, rejects, foretold)
    report.phase(f"loading {setting.checkpoint.model} in {pool.actors} {setting.device} actor(s)")
    job = Job(setting.location, tuple(targets), encoder, pool, options, setting.run, writer, metrics)
    meter = Meter(work.proteins, work.residues, units.seconds, time.monotonic, rejects, foretold)
    with stages.actors_work(lambda: tally.began), metrics.embedding(units.count, meter):
        embed_units(job, units, report, tally)
    if tally.budget < calibration.token_budget:
        smaller = replace(calibration, token_budget=int(tally.budget))
        remember(setting.encoder, setting.checkpoint, setting.recipes, smaller)
    return Embedding(tally, pool.actors, time.time() - tally.began, tally.began - stages.began, calibration)


def summarise(
    setting: Setting,
    records: int,
    ingest_rejects: int,
    labels: Sequence[str] | None,
    work: Work,
    done: Embedding,
) -> Summary:
    """The accounting of a run over `records`, `ingest_rejects` of which were no proteins; raises AccountingError.

    `labels`: the sources of the records, None for all of the store. Where `current` points is added by `with_current`.
    """
    tally = done.tally
    counts = account(records, ingest_rejects, list(tally.stored), work.counts, tally.stored, tally.rejected)
    most = max(counts, key=lambda count: count.rejected)
    return Summary(
        run=setting.run,
        store=setting.location.uri,
        model=setting.checkpoint.model,
        trained=setting.checkpoint.trained,
        device=setting.device,
        actors=done.actors,
        records=records,
        spaces=counts,
        residues=done.tally.residues,
        seconds=round(time.time() - setting.stages.began, 3),
        embed_seconds=round(done.seconds, 3),
        startup_seconds=round(done.startup_seconds, 3),
        first_vector_seconds=_since(setting.stages.began, tally.first_vector),
        load_seconds=round(tally.load_seconds, 3),
        first_forward_seconds=done.calibration.measured_first_forward if done.calibration else None,
        token_budget=int(min(done.calibration.token_budget, tally.budget)) if done.calibration else 0,
        attention=done.calibration.attention if done.calibration else "",
        layers=done.calibration.layers if done.calibration else "",
        recipes=tuple(in_words(recipe) for recipe in setting.recipes),
        reasons=reasons_of(setting.location, labels, most.space) if most.rejected else (),
    )


def _since(began: float, moment: float) -> float | None:
    return round(moment - began, 3) if math.isfinite(moment) else None


def finished(summary: Summary, setting: Setting) -> Summary:
    """The summary of a run that ends now."""
    stages = setting.stages
    stages.leave()
    summary = replace(summary, seconds=round(time.time() - stages.began, 3), stages=stages.times())
    record_end(setting.recorder, summary.seconds, summary.stages)
    return summary


def with_record(facts: dict[str, Any], setting: Setting, tally: Tally) -> dict[str, Any]:
    """What the row of a run holds: its summary, and the record that the report reads."""
    files, began = setting.checkpoint.files, setting.stages.began
    return {**facts, RECORD: run_record(setting.recipes, setting.options, files, tally, began, setting.inputs)}


def with_current(summary: Summary, current: Current) -> Summary:
    """The summary of a run that knows where `current` points at its end."""
    notes = tuple(sentences(current, [count.space for count in summary.spaces], summary.store))
    return replace(
        summary,
        current=current.space,
        current_before=current.before,
        current_trained=current.trained,
        current_notes=notes,
    )


def note_other_names(setting: Setting, targets: Sequence[Target], report: Reporter) -> None:
    """Say so where the store has vectors of the same weights under the name of another directory or hub id."""
    for target in targets:
        if target.space != space_name(target.config, setting.checkpoint.files):
            report.note(f"{setting.checkpoint.model} has the weights and the recipe of {target.space}: the same space.")
