"""The main job: sources in, vector spaces out, exactly once.

Order: check options and weights, take the lease, ingest, find what is missing, embed, commit in groups, account.
Running the same command again is the resume: keys that are present are not wanted.

The tables that a run writes: one per recipe, created once, refused to any other recipe.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from protea_ray.config.libraries import OF_EMBEDDING, versions
from protea_ray.config.recipe import EmbeddingConfig, identity, resolve, space_name
from protea_ray.config.run import RunConfig, RunOptions
from protea_ray.models.checkpoint import Checkpoint, logit_tokens, open_checkpoint
from protea_ray.models.weights import verify_digests
from protea_ray.pipeline import cluster
from protea_ray.pipeline.accounting import Summary, account
from protea_ray.pipeline.calibration import Calibration, calibrate, remember
from protea_ray.pipeline.failures import interruptible, own_errors
from protea_ray.pipeline.ingest import ingest
from protea_ray.pipeline.loop import Job, Tally, embed_units
from protea_ray.pipeline.progress import Reporter
from protea_ray.pipeline.work import UnitPolicy, Work, cut_units, find_work
from protea_ray.pipeline.worker import EncoderSpec, Target
from protea_ray.plan.units import Sizes
from protea_ray.store.aliases import CURRENT, list_aliases, move
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_schema
from protea_ray.store.runs import new_run_id, record_run
from protea_ray.store.spaces import SpaceInfo, ensure_space, list_spaces


def make_targets(
    location: Location, checkpoint: Checkpoint, recipes: Sequence[EmbeddingConfig], run: str
) -> list[Target]:
    """Open or create the table of every recipe.

    Raises StoreError for a table that holds something else, and CheckpointError when a commit of a hub id does not
    have the weights that an earlier run recorded for it.
    """
    _require_recorded_weights(location, checkpoint)
    return [_target(location, checkpoint, recipe, run) for recipe in recipes]


def _require_recorded_weights(location: Location, checkpoint: Checkpoint) -> None:
    """One commit has one set of weights: another digest under it is a damaged download, not a new model."""
    for space in list_spaces(location):
        known = space.checkpoint
        if checkpoint.revision and (known["model"], known["revision"]) == (checkpoint.model, checkpoint.revision):
            verify_digests(checkpoint.path, known["files"])


def _target(location: Location, checkpoint: Checkpoint, recipe: EmbeddingConfig, run: str) -> Target:
    hidden = checkpoint.shape.hidden
    info = SpaceInfo(
        name=space_name(recipe, checkpoint.files),
        identity=identity(recipe, checkpoint.files),
        config=recipe.model_dump(mode="json"),
        checkpoint={"model": checkpoint.model, "revision": checkpoint.revision, "files": checkpoint.files},
        versions=versions(OF_EMBEDDING),
        run=run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hidden=hidden,
        trained=checkpoint.trained,
        imported=False,
    )
    residue_width = recipe.width(hidden) if recipe.keeps_residues else None
    tokens = logit_tokens(checkpoint) if recipe.keeps_logits else None
    schema = space_schema(recipe.widths(hidden), recipe.store_dtype, residue_width, {}, tokens)
    ensure_space(location, info, schema)
    return Target(info.name, location.table(info.name), schema, recipe)


@dataclass(frozen=True)
class Setting:
    """Everything that is decided before the first record is read. `make_spec`: see `embed`."""

    location: Location
    checkpoint: Checkpoint
    recipes: tuple[EmbeddingConfig, ...]
    options: RunOptions
    device: str
    run: str
    make_spec: Callable[..., EncoderSpec] = EncoderSpec

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
        )


@dataclass(frozen=True)
class Embedding:
    """What the embedding part of a run did. `seconds` run from the first forward pass to the last commit."""

    tally: Tally
    actors: int = 0
    seconds: float = 0.0
    startup_seconds: float = 0.0
    seen: Calibration | None = None


def prepare(store: str, config: RunConfig) -> Setting:
    """Open the checkpoint, connect, and resolve the recipes; nothing is written.

    Raises CheckpointError for weights that must not be used and ConfigError for recipes that do not fit them.
    """
    first = config.recipes[0]
    return settle(open_location(store), open_checkpoint(first.model, first.revision, first.family), config)


def settle(location: Location, checkpoint: Checkpoint, config: RunConfig) -> Setting:
    """Connect, and fit the recipes to an open checkpoint; raises ConfigError for recipes that do not fit it."""
    cluster.connect(config.run)
    device = cluster.device_of(config.run)
    recipes = tuple(resolve(r, checkpoint.facts, device, checkpoint.revision) for r in config.recipes)
    return Setting(location, checkpoint, recipes, config.run, device, new_run_id())


@own_errors()
def embed(
    inputs: Sequence[str],
    store: str,
    config: RunConfig,
    report: Reporter,
    make_spec: Callable[..., EncoderSpec] = EncoderSpec,
    started: float | None = None,
) -> Summary:
    """Embed every record of `inputs` into one space per recipe of `store`, and account for each.

    `make_spec` takes the fields of EncoderSpec and says what actors load: a subclass loads another encoder, such as
    the simulated one of benchmarks/cluster. `started` is when the command was given, in seconds since the epoch.
    Raises InputError, CheckpointError, ConfigError, LeaseHeldError and StoreError; KeyboardInterrupt after the
    finished units were committed.
    """
    started = started or time.time()
    setting = replace(prepare(store, config), make_spec=make_spec)
    with interruptible(), Lease.acquire(setting.location, setting.options.heartbeat_seconds) as lease:
        ingested = ingest(inputs, setting.location, setting.options, setting.run, lease.check)
        for uri in ingested.repeated:
            report.note(f"{uri} is byte for byte another input of this run; it was read once.")
        targets = make_targets(setting.location, setting.checkpoint, setting.recipes, setting.run)
        spaces = [t.space for t in targets]
        work = find_work(setting.location, ingested.labels, spaces, setting.options.retry_rejects)
        done = embed_work(setting, work, targets, lease, report, started)
        summary = summarise(setting, ingested.records, ingested.rejects, work, done, started)
        if CURRENT not in list_aliases(setting.location):
            move(setting.location, CURRENT, spaces[0], run=setting.run, guard=lease.check)
        if work.proteins or ingested.read_now:
            record_run(setting.location, summary.run, summary.to_json(), guard=lease.check)
        return summary


def embed_work(
    setting: Setting, work: Work, targets: Sequence[Target], lease: Lease, report: Reporter, started: float
) -> Embedding:
    """Probe, cut, embed and commit under the lease; nothing at all when nothing is wanted.

    `started`: seconds since the epoch, from which start-up is counted.
    """
    if not work.proteins:
        return Embedding(Tally.of([t.space for t in targets]))
    options = setting.options
    pool = cluster.pool_for(options, setting.device, work.proteins)
    seen = calibrate(setting.encoder, setting.checkpoint, setting.recipes, pool.num_gpus)
    for line in seen.lines(setting.recipes[0]):
        report.note(line)
    encoder = replace(setting.encoder, token_budget=seen.token_budget)
    sizes = Sizes(options.unit_seconds, pool.actors)
    pooled_only = not any(r.keeps_residues or r.keeps_logits for r in setting.recipes)
    policy = UnitPolicy(setting.run, seen.cost, options.window_proteins, sizes, widens=pooled_only)
    units = cut_units(work.wanted, policy)
    pool = cluster.pool_for(options, setting.device, units.count)
    report.start(work.proteins, work.residues, units.seconds)
    job = Job(setting.location, tuple(targets), encoder, pool, options, setting.run, lease.check)
    tally = embed_units(job, units, report)
    if tally.budget < seen.token_budget:
        remember(setting.encoder, setting.checkpoint, setting.recipes, replace(seen, token_budget=int(tally.budget)))
    return Embedding(tally, pool.actors, time.time() - tally.began, tally.began - started, seen)


def summarise(
    setting: Setting, records: int, ingest_rejects: int, work: Work, done: Embedding, started: float
) -> Summary:
    """The accounting of a run over `records`, `ingest_rejects` of which were no proteins; raises AccountingError."""
    tally = done.tally
    counts = account(records, ingest_rejects, list(tally.stored), work.counts, tally.stored, tally.rejected)
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
        seconds=round(time.time() - started, 3),
        embed_seconds=round(done.seconds, 3),
        startup_seconds=round(done.startup_seconds, 3),
        load_seconds=round(done.seen.load_seconds, 3) if done.seen else 0.0,
        first_forward_seconds=round(done.seen.first_forward_seconds, 3) if done.seen else 0.0,
        token_budget=int(min(done.seen.token_budget, tally.budget)) if done.seen else 0,
        attention=done.seen.attention if done.seen else "",
        layers=done.seen.layers if done.seen else "",
    )
