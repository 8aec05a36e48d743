"""A new checkpoint lands: fill its space from the proteins in the store, verify it, only then move the alias.

Until the one row that moves the alias is there, its readers get the old space; from then on the new one, whole.
Stopping at any point and running the same command again costs what was in flight, and once the alias has moved,
nothing. A gate judges the verified space while the lease is given up: it may embed a control into the same store.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from protea_ray.cluster.progress import Reporter
from protea_ray.cluster.waiting import waiting_is_told
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunConfig, run_config
from protea_ray.errors import CommitError, ConfigError, StoreError, UnknownSpaceError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline.acceptance import Acceptance, verified
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.current import name_only_space, require_untrained_alias, where_current
from protea_ray.pipeline.embed import (
    MakeSpec,
    Setting,
    embed_work,
    finished,
    join,
    note_other_names,
    stops_recorded,
    summarise,
    with_current,
    with_record,
)
from protea_ray.pipeline.failures import interruptible, own_errors
from protea_ray.pipeline.gate_figures import Candidate, Gate, GateResult
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.missing import find_work
from protea_ray.pipeline.stages import ACCOUNTING, CHECKPOINT, DELTA, VERIFICATION, Stages
from protea_ray.pipeline.targets import make_targets, space_names
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.store.aliases import CURRENT, Alias, check_name, list_aliases, move, resolve
from protea_ray.store.commit import Writer
from protea_ray.store.lease import Lease
from protea_ray.store.location import PROTEINS_TABLE, Location, open_location
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import SpaceInfo, open_space

_OF_THE_CHECKPOINT = ("model", "revision", "family")
_OF_THE_FAMILY = ("max_residues", "dtype")  # trained length and stable precision: facts of a family, not choices


@dataclass(frozen=True)
class Reembedding:
    """What will be embedded, and which alias is to move. `base` is the space that gave the recipe, if any."""

    setting: Setting
    alias: str
    base: SpaceInfo | None

    @property
    def space(self) -> str:
        """Name of the space to fill."""
        return space_names(self.setting.location, self.setting.checkpoint, self.setting.recipes)[0]


@dataclass(frozen=True, repr=False)
class Reembedded:
    """One re-embedding. `before` and `after` are the spaces that the alias points to, and differ not when only a pinned
    version was given up; `accepted` is None when there was nothing to decide; `stays` says why a sound space did not
    get the alias; `gate` is what was judged, None without a gate or with nothing to judge."""

    summary: Summary
    alias: str
    before: str | None
    after: str | None
    moved: bool
    accepted: Acceptance | None
    stays: str | None
    gate: GateResult | None = None

    def __repr__(self) -> str:
        moved = f"{self.alias} moved from {self.before or 'nowhere'} to {self.after}"
        stays = f"{self.alias} points to {self.before or 'nowhere'}{f': {self.stays}' if self.stays else ''}"
        judged = f"{self.gate!r}\n" if self.gate else ""
        return f"{self.summary!r}\n{judged}{moved if self.moved else stays}"

    def to_json(self) -> dict[str, Any]:
        """The run's accounting, and what became of the alias."""
        checked = self.accepted.to_json() if self.accepted else None
        alias = {name: getattr(self, name) for name in ("alias", "before", "after", "moved", "stays")}
        judged = self.gate.to_json() if self.gate else None
        return {**self.summary.to_json(), **alias, "verified": checked, "gate": judged}


def reembed(
    store: str, fields: Mapping[str, Any], report: Reporter, *, alias: str = CURRENT, since: int | None = None,
    allow_untrained: bool = False, gate: Gate | None = None, make_spec: MakeSpec = EncoderSpec,
) -> Reembedded:  # fmt: skip
    """Embed every protein of `store` with another checkpoint, and move `alias` to the new space once it is verified.

    `fields` are those of run.yaml; `model` must be one of them, and a recipe field that is absent is that of the
    space the alias points to (see `wanted_config`). `since`: only proteins that this version of proteins.lance did
    not hold. `gate` judges the verified space, and the alias stays where it is not passed. `make_spec`: see `embed`.
    Raises StoreError when the new space does not verify (the alias stays), ConfigError for a model that was never
    trained where the alias points to a trained space, unless `allow_untrained`, and whatever `embed` raises.
    """
    planned = prepare(store, fields, report, alias, make_spec, allow_untrained=allow_untrained)
    return carry_out(planned, report, since, gate)


def prepare(
    store: str,
    fields: Mapping[str, Any],
    report: Reporter,
    alias: str = CURRENT,
    make_spec: MakeSpec = EncoderSpec,
    *,
    allow_untrained: bool = False,
    started: float | None = None,
) -> Reembedding:
    """Check options, open the checkpoint and join Ray, before the lease is taken; nothing is written.

    `started` is when the command was given, in seconds since the epoch [now].

    Raises StoreError for a store without proteins and for an alias that cannot be, ConfigError and CheckpointError.
    """
    stages = Stages(started or time.time())
    location = open_location(store)
    if not location.exists(PROTEINS_TABLE):
        raise StoreError(f"{location.uri} holds no proteins; `protea-ray embed INPUT {location.uri}` brings some")
    check_name(location, alias)
    base = _base(location, alias)
    asked = wanted_config(base, None, fields).recipes[0]  # all mistakes first: reading the weights may take minutes
    stages.enter(CHECKPOINT)
    report.phase(f"opening the checkpoint {asked.model}")
    checkpoint = open_checkpoint(asked.model, asked.revision, asked.family)
    if not (checkpoint.trained or allow_untrained):
        require_untrained_alias(location, alias, checkpoint.model)
    config = wanted_config(base, checkpoint.facts.family, fields)
    return Reembedding(join(location, checkpoint, config, report, make_spec, stages), alias, base)


def _base(location: Location, alias: str) -> SpaceInfo | None:
    """The space whose recipe is the default: the alias's, else that of `current`, else none."""
    for name in (alias, CURRENT):
        try:
            return open_space(location, *resolve(location, name))
        except UnknownSpaceError:
            continue
    return None


def wanted_config(base: SpaceInfo | None, family: str | None, fields: Mapping[str, Any]) -> RunConfig:
    """One recipe: `fields`, and where they say nothing those of an earlier space for a checkpoint of `family`.

    Where `fields` stretch positions otherwise, max_residues is not inherited: it follows from the stretch. Raises
    ConfigError with every mistake.
    """
    if not fields.get("model"):
        raise ConfigError("name the new checkpoint with --model", where="reembed")
    held = inherited(base, family)
    stretched = {name: value for name, value in held.items() if name != "max_residues"}
    config = run_config({**stretched, **fields})
    if config.recipes[0].rope == held.get("rope", "none"):
        config = run_config({**held, **fields})
    problems = []
    if len(config.recipes) > 1:
        problems.append(f"{len(config.recipes)} recipes were given, but an alias names one space; give one")
    if config.run.limit is not None:
        problems.append("run.limit is for inputs; every protein of the store is embedded, or those --since a version")
    if problems:
        raise ConfigError(problems, where="reembed")
    return config


def inherited(base: SpaceInfo | None, family: str | None) -> dict[str, Any]:
    """Recipe fields of an earlier space that a new checkpoint of `family` keeps (None: of the same family).

    Nothing of an imported space: its recipe is somebody else's word. Attention and length that the earlier model was
    trained with were no choice, so the new one brings its own.
    """
    if base is None or base.imported:
        return {}
    same = family in (None, base.config.get("family"))
    dropped = {*_OF_THE_CHECKPOINT, *(() if same else _OF_THE_FAMILY)}
    own = {"attention": base.checkpoint.get("attention", "exact"),
           "max_residues": base.checkpoint.get("trained_length")}  # fmt: skip
    dropped |= {name for name, value in own.items() if value is not None and base.config.get(name) == value}
    return {k: v for k, v in base.config.items() if k in EmbeddingConfig.model_fields and k not in dropped}


@dataclass(frozen=True)
class _Filled:
    """A space after its run, verified. `idle`: the alias points there and nothing was missing."""

    space: str
    summary: Summary
    tally: Tally
    before: Alias | None
    current: Alias | None
    idle: bool = False
    accepted: Acceptance | None = None
    stays: str | None = None


@own_errors()
def carry_out(
    planned: Reembedding,
    report: Reporter,
    since: int | None = None,
    gate: Gate | None = None,
) -> Reembedded:
    """Fill, verify, judge, move; all but the judging under the lease. Raises as `reembed`."""
    location, heartbeat = planned.setting.location, planned.setting.options.heartbeat_seconds
    with interruptible(), waiting_is_told(report, report.warn) as report:
        with Lease.acquire(location, heartbeat) as lease:
            filled = _fill(planned, report, since, Writer(lease))
            if gate is None or filled.stays is not None or _is_at(filled.before, filled.space):
                done = _settle(planned, filled, None, Writer(lease))
                _note_unjudged(planned, done, report)
                return done
        judged = gate(_candidate(planned, filled), report)
        with Lease.acquire(location, heartbeat) as lease:
            if judged.passed:
                _require_unchanged(planned, filled)
            return _settle(planned, filled, judged, Writer(lease))


def _note_unjudged(planned: Reembedding, done: Reembedded, report: Reporter) -> None:
    """Say that nobody has looked at what fewer bits cost, where the alias moved to them without a gate."""
    quantization = planned.setting.recipes[0].quantization
    if done.moved and done.before and quantization:
        command = shlex.join(
            ["protea-ray", "drift", done.summary.store, done.before, str(done.after), "--gate", "quantised"]
        )
        report.warn(f"{done.alias} now names {quantization} vectors, and what they cost was not measured: `{command}`")


def _fill(planned: Reembedding, report: Reporter, since: int | None, writer: Writer) -> _Filled:
    """Embed what is missing, and verify the space unless there is nothing to decide."""
    setting, location = planned.setting, planned.setting.location
    name_only_space(location, setting.run, writer)
    targets = make_targets(location, setting.checkpoint, setting.recipes, setting.run)
    note_other_names(setting, targets, report)
    space = targets[0].space
    setting.stages.enter(DELTA)
    report.phase(f"finding the proteins that have no vector in {space}")
    work = find_work(
        location, None, [space], setting.options.retry_rejects, since, setting.recipes[0].alphabet,
        setting.options.task_memory,
    )  # fmt: skip
    tally = Tally.of([space])
    with stops_recorded(setting, work, tally, writer):
        done = embed_work(setting, work, targets, writer, report, tally)
    setting.stages.enter(ACCOUNTING)
    summary = summarise(setting, work.counts[0].records, 0, None, work, done)
    before, current = (list_aliases(location).get(name) for name in (planned.alias, CURRENT))
    filled = _Filled(space, summary, tally, before, current, idle=_is_at(before, space) and not work.proteins)
    if filled.idle:
        return filled
    setting.stages.enter(VERIFICATION)
    accepted, stays = verified(setting, targets[0], planned.alias, summary.spaces[0].rejected, since, report)
    return replace(filled, accepted=accepted, stays=stays)


def _candidate(planned: Reembedding, filled: _Filled) -> Candidate:
    """What the gate judges; an alias that pins an earlier version of the same space has nothing to compare it with."""
    before = filled.before.space if filled.before else None
    location, options = planned.setting.location, planned.setting.options
    return Candidate(location, filled.space, planned.alias, None if before == filled.space else before, options)


def _require_unchanged(planned: Reembedding, filled: _Filled) -> None:
    """Raise CommitError when the alias moved, or proteins came in, while the gate judged without the lease."""
    location, alphabet = planned.setting.location, planned.setting.recipes[0].alphabet
    problems: list[str] = []
    now = list_aliases(location).get(planned.alias)
    if now != filled.before and not _is_at(now, filled.space):  # the first space of a store is current by itself
        problems.append(f"{planned.alias} was moved to {now.target if now else 'nowhere'}")
    work = find_work(location, None, [filled.space], retry_rejects=False, alphabet=alphabet)
    if work.proteins:
        problems.append(f"{work.proteins:,} proteins came into the store that {filled.space} lacks")
    if problems:
        raise CommitError(
            f"while the gate was judged, {' and '.join(problems)}; so {planned.alias} is left alone. Run the same "
            "command again: nothing is embedded twice, and results of evaluations are found again."
        )


def _why_it_stays(planned: Reembedding, filled: _Filled, judged: GateResult) -> str:
    """The gate's sentence, and that the first space of a store is what readers of `current` get without an alias."""
    if planned.alias != CURRENT or filled.before is not None:
        return judged.sentence()
    return f"{judged.sentence()}; as the store's first space it is what readers of {CURRENT} get all the same"


def _settle(planned: Reembedding, filled: _Filled, judged: GateResult | None, writer: Writer) -> Reembedded:
    """Move the alias, or say why it stays, and record the run; nothing is recorded of one that had nothing to do."""
    location, run, before = planned.setting.location, planned.setting.run, filled.before
    if filled.idle:
        summary = with_current(filled.summary, where_current(location, filled.current))
        return Reembedded(summary, planned.alias, filled.space, filled.space, False, None, None)
    stays = _why_it_stays(planned, filled, judged) if judged and not judged.passed else filled.stays
    moved = stays is None and not _is_at(before, filled.space)
    if moved:
        move(location, planned.alias, filled.space, run=run, writer=writer)
    summary = with_current(filled.summary, where_current(location, filled.current))
    summary = finished(summary, planned.setting)
    was = before.space if before else None
    after = filled.space if moved else was
    outcome = Reembedded(summary, planned.alias, was, after, moved, filled.accepted, stays, judged)
    facts = with_record(outcome.to_json(), planned.setting, filled.tally)
    record_run(location, run, facts, writer=writer, kind="reembed")
    return outcome


def _is_at(alias: Alias | None, space: str) -> bool:
    return alias is not None and (alias.space, alias.version) == (space, None)
