"""Embed what the store lacks of untrained controls, for all its proteins, so that the store stays whole."""

from __future__ import annotations

from protea_ray.cluster.progress import Reporter
from protea_ray.cluster.waiting import waiting_is_told
from protea_ray.config.run import RunConfig, RunOptions
from protea_ray.evaluate.untrained_spaces import MissingTwins
from protea_ray.pipeline.current import name_only_space
from protea_ray.pipeline.embed import (
    MakeSpec,
    Setting,
    embed_work,
    finished,
    join,
    stops_recorded,
    summarise,
    with_record,
)
from protea_ray.pipeline.failures import interruptible, own_errors
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.missing import find_work
from protea_ray.pipeline.stages import Stages
from protea_ray.pipeline.targets import make_targets
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.store.commit import Writer
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.runs import record_run


@own_errors()
def embed_twins(
    location: Location,
    missing: MissingTwins,
    options: RunOptions,
    report: Reporter,
    make_spec: MakeSpec = EncoderSpec,
) -> None:
    """Fill the spaces of untrained controls under the lease.

    Raises what `embed` raises. Stopped, it goes on with the next evaluation. No alias moves. `make_spec`: see
    `pipeline.embed.embed`.
    """
    stages = Stages()
    config = RunConfig(recipes=missing.recipes, run=options)
    setting = join(location, missing.checkpoint, config, report, make_spec, stages)
    with (
        interruptible(),
        waiting_is_told(report, report.warn) as report,
        Lease.acquire(location, options.heartbeat_seconds) as lease,
    ):
        _fill(setting, Writer(lease), report)


def _fill(setting: Setting, writer: Writer, report: Reporter) -> None:
    location = setting.location
    name_only_space(location, setting.run, writer)
    targets = make_targets(location, setting.checkpoint, setting.recipes, setting.run)
    spaces = [target.space for target in targets]
    report.phase(f"finding the proteins that have no vector in {', '.join(spaces)}")
    alphabet = setting.recipes[0].alphabet
    work = find_work(
        location, None, spaces, setting.options.retry_rejects, alphabet=alphabet, memory=setting.options.task_memory
    )
    tally = Tally.of(spaces)
    with stops_recorded(setting, work, tally, writer):
        done = embed_work(setting, work, targets, writer, report, tally)
    if work.proteins:
        summary = summarise(setting, work.counts[0].records, 0, None, work, done)
        summary = finished(summary, setting)
        record_run(location, setting.run, with_record(summary.to_json(), setting, tally), writer=writer)
