"""A new checkpoint lands: fill its space from the proteins in the store, verify it, only then move the alias.

Until the one row that moves the alias is there, its readers get the old space; from then on the new one, whole.
Stopping at any point and running the same command again costs what was in flight, and once the alias has moved,
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protea_ray.cluster.waiting import waiting_is_told
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunConfig, run_config
from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError, numbered
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline.acceptance import Acceptance, accept
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.current import name_only_space, require_untrained_alias, where_current
from protea_ray.pipeline.embed import (
    MakeSpec,
    Setting,
    embed_work,
    join,
    note_other_names,
    stops_recorded,
    summarise,
    with_current,
)
from protea_ray.pipeline.failures import interruptible, own_errors
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.progress import Reporter
from protea_ray.pipeline.targets import make_targets, space_names
from protea_ray.pipeline.work import find_work
from protea_ray.pipeline.worker import EncoderSpec, Target
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
    get the alias."""

    summary: Summary
    alias: str
    before: str | None
    after: str | None
    moved: bool
    accepted: Acceptance | None
    stays: str | None

    def __repr__(self) -> str:
        moved = f"{self.alias} moved from {self.before or 'nowhere'} to {self.after}"
        stays = f"{self.alias} points to {self.before or 'nowhere'}{f': {self.stays}' if self.stays else ''}"
        return f"{self.summary!r}\n{moved if self.moved else stays}"

    def to_json(self) -> dict[str, Any]:
        """The run's accounting, and what became of the alias."""
        checked = self.accepted.to_json() if self.accepted else None
        alias = {name: getattr(self, name) for name in ("alias", "before", "after", "moved", "stays")}
        return {**self.summary.to_json(), **alias, "verified": checked}


def reembed(
    store: str, fields: Mapping[str, Any], report: Reporter, *, alias: str = CURRENT, since: int | None = None,
    allow_untrained: bool = False, make_spec: MakeSpec = EncoderSpec,
) -> Reembedded:  # fmt: skip
    """Embed every protein of `store` with another checkpoint, and move `alias` to the new space once it is verified.

    `fields` are those of run.yaml; `model` must be one of them, and a recipe field that is absent is that of the
    space the alias points to. `since`: only proteins that this version of proteins.lance did not hold. `make_spec`: see
    `embed`. Raises StoreError when the new space does not verify (the alias stays), ConfigError for a model that was
    never trained where the alias points to a trained space, unless `allow_untrained`, and whatever `embed` raises.
    """
    started = time.time()
    planned = prepare(store, fields, report, alias, make_spec, allow_untrained=allow_untrained)
    return carry_out(planned, report, since, started)


def prepare(
    store: str,
    fields: Mapping[str, Any],
    report: Reporter,
    alias: str = CURRENT,
    make_spec: MakeSpec = EncoderSpec,
    *,
    allow_untrained: bool = False,
) -> Reembedding:
    """Check options, open the checkpoint and join Ray, before the lease is taken; nothing is written.

    Raises StoreError for a store without proteins and for an alias that cannot be, ConfigError and CheckpointError.
    """
    location = open_location(store)
    if not location.exists(PROTEINS_TABLE):
        raise StoreError(f"{location.uri} holds no proteins; `protea-ray embed INPUT {location.uri}` brings some")
    check_name(location, alias)
    base = _base(location, alias)
    asked = _config(base, None, fields).recipes[0]  # all mistakes first: reading the weights may take minutes
    report.phase(f"opening the checkpoint {asked.model}")
    checkpoint = open_checkpoint(asked.model, asked.revision, asked.family)
    if not (checkpoint.trained or allow_untrained):
        require_untrained_alias(location, alias, checkpoint.model)
    config = _config(base, checkpoint.facts.family, fields)
    return Reembedding(join(location, checkpoint, config, report, make_spec), alias, base)


def _base(location: Location, alias: str) -> SpaceInfo | None:
    """The space whose recipe is the default: the alias's, else that of `current`, else none."""
    for name in (alias, CURRENT):
        try:
            return open_space(location, *resolve(location, name))
        except UnknownSpaceError:
            continue
    return None


def _config(base: SpaceInfo | None, family: str | None, fields: Mapping[str, Any]) -> RunConfig:
    if not fields.get("model"):
        raise ConfigError("name the new checkpoint with --model", where="reembed")
    config = run_config({**inherited(base, family), **fields})
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

    Nothing of an imported space: its recipe is somebody else's word.
    """
    if base is None or base.imported:
        return {}
    same = family in (None, base.config.get("family"))
    dropped = _OF_THE_CHECKPOINT if same else (*_OF_THE_CHECKPOINT, *_OF_THE_FAMILY)
    return {k: v for k, v in base.config.items() if k in EmbeddingConfig.model_fields and k not in dropped}


@own_errors()
def carry_out(
    planned: Reembedding, report: Reporter, since: int | None = None, started: float | None = None
) -> Reembedded:
    """Fill, verify, move, under one lease. Raises as `reembed`.

    `started` is when the command was given, in seconds since the epoch.
    """
    started = started or time.time()
    setting, location = planned.setting, planned.setting.location
    with (
        interruptible(),
        waiting_is_told(report, report.warn) as report,
        Lease.acquire(location, setting.options.heartbeat_seconds) as lease,
    ):
        writer = Writer(lease)
        name_only_space(location, setting.run, writer)
        targets = make_targets(location, setting.checkpoint, setting.recipes, setting.run)
        note_other_names(setting, targets, report)
        space = targets[0].space
        alphabet = setting.recipes[0].alphabet
        report.phase(f"finding the proteins that have no vector in {space}")
        work = find_work(location, None, [space], setting.options.retry_rejects, since, alphabet)
        tally = Tally.of([space])
        with stops_recorded(setting, work, tally, writer, started):
            done = embed_work(setting, work, targets, writer, report, started, tally)
        summary = summarise(setting, work.counts[0].records, 0, None, work, done, started)
        before, first = (list_aliases(location).get(name) for name in (planned.alias, CURRENT))
        if _is_at(before, space) and not work.proteins:
            summary = with_current(summary, where_current(location, first))
            return Reembedded(summary, planned.alias, space, space, False, None, None)
        accepted, stays = _judge(planned, targets[0], summary, since, report)
        moved = stays is None and not _is_at(before, space)
        if moved:
            move(location, planned.alias, space, run=setting.run, writer=writer)
        summary = with_current(summary, where_current(location, first))
        summary = replace(summary, seconds=round(time.time() - started, 3))
        was = before.space if before else None
        outcome = Reembedded(summary, planned.alias, was, space if moved else was, moved, accepted, stays)
        record_run(location, setting.run, outcome.to_json(), writer=writer, kind="reembed")
        return outcome


def _is_at(alias: Alias | None, space: str) -> bool:
    return alias is not None and (alias.space, alias.version) == (space, None)


def _judge(
    planned: Reembedding, target: Target, summary: Summary, since: int | None, report: Reporter
) -> tuple[Acceptance, str | None]:
    """Verify; returns what was seen, and why the alias must stay although nothing is wrong. Raises StoreError."""
    report.phase(f"verifying {target.space}")
    accepted = accept(planned.setting, target)
    if accepted.problems:
        raise StoreError(_why_not(planned, target.space, accepted.problems))
    rejected, limit = summary.spaces[0].rejected, planned.setting.options.max_rejects
    if limit is not None and rejected > limit:
        return accepted, f"{rejected} proteins were rejected, more than max_rejects {limit}"
    if accepted.missing and since is not None:
        return accepted, (
            f"{accepted.missing} proteins of version {since} and before are not in {target.space}; "
            "run again without --since to fill them"
        )
    if accepted.missing:
        raise StoreError(
            _why_not(planned, target.space, [f"{accepted.missing} proteins have neither vector nor reject"])
        )
    return accepted, None


def _why_not(planned: Reembedding, space: str, problems: Sequence[str]) -> str:
    uri = planned.setting.location.uri
    return numbered(
        f"{space} does not verify, so {planned.alias} stays where it is: {len(problems)} problem(s)", problems
    ) + (
        f"\n`protea-ray repair {uri}` takes damaged units out, `protea-ray drop-space {uri} {space}` all of it; "
        "then run the same command again."
    )
