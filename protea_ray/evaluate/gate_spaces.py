"""Conditions of a gate on two spaces themselves: how near their vectors are, and how well residues are predicted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

from protea_ray.cluster.progress import Reporter
from protea_ray.config.gate_file import DRIFT_CONDITIONS, DriftConditions, MaskedLossConditions
from protea_ray.errors import CheckpointError, ConfigError, EncoderError, StoreError
from protea_ray.evaluate.gate_conditions import NO_CURRENT
from protea_ray.pipeline.gate_figures import Candidate, GateFigure
from protea_ray.query.drift import Drift, drift
from protea_ray.query.masked_drift import SpaceModel, masked_drift, space_model
from protea_ray.query.random_vectors import UntrainedSpaceWarning
from protea_ray.query.view import View

FEWEST_OF_A_LENGTH = 30  # proteins of a length bucket whose overlap is judged: fewer say little
_LOSS, _RISE = "masked loss, nats", "not_above_current_by"


def drift_figures(wanted: DriftConditions, candidate: Candidate, report: Reporter) -> Iterator[GateFigure]:
    """How near the two spaces are. A model that is better may be far: the gate's file says how far is too far."""
    asked = {name: least for name in DRIFT_CONDITIONS if (least := getattr(wanted, name)) is not None}
    if candidate.before is None:
        yield from (GateFigure("drift", name, least, None, None, why=NO_CURRENT) for name, least in asked.items())
        return
    report.phase(f"comparing {candidate.space} with {candidate.before}")
    try:
        numbers = _drift_numbers(_apart(wanted, candidate))
    except ConfigError as error:  # no pooling in common
        why = "; ".join(error.problems)
        yield from (GateFigure("drift", name, least, None, False, why=why) for name, least in asked.items())
        return
    for name, least in asked.items():
        found, figure, why = numbers[name]
        yield GateFigure(figure, name, least, found, found is not None and found >= least, why=why)


def _opened(candidate: Candidate, space: str) -> SpaceModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedSpaceWarning)
        return space_model(View.open(candidate.location, space))


def _apart(wanted: DriftConditions, candidate: Candidate) -> Drift:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedSpaceWarning)  # reembed has said what it moves the alias from and to
        return drift(candidate.location, candidate.alias, candidate.space, sample=wanted.sample, seed=wanted.seed)


def _drift_numbers(found: Drift) -> Mapping[str, tuple[float | None, str, str]]:
    """By condition: what it is judged by, of what, and why there is no number. By length the worst bucket counts."""
    sampled = f"drift, {found.whole.proteins:,} proteins"
    cosine = found.whole.cosine_mean
    no_cosine = "" if cosine is not None else "the vectors differ in width, so there is no cosine"
    buckets = [bucket for bucket in found.buckets if bucket.proteins >= FEWEST_OF_A_LENGTH]
    worst = min(buckets, key=lambda bucket: bucket.overlap, default=None)
    by_length = (None, "drift", f"no length has {FEWEST_OF_A_LENGTH} proteins in the sample")
    if worst is not None:
        by_length = (worst.overlap, f"drift, {worst.residues} residues", "")
    return {
        "overlap_at_least": (found.whole.overlap, sampled, ""),
        "overlap_by_length_at_least": by_length,
        "cosine_at_least": (cosine, sampled, no_cosine),
    }


def loss_figure(wanted: MaskedLossConditions, candidate: Candidate, report: Reporter) -> GateFigure:
    """By how much the loss of masked residues rises, beside what is allowed; judged by the upper end of its interval.

    A space without a head is one that the condition does not apply to. A model that cannot be opened or run fails it.
    """
    most = wanted.not_above_current_by
    if candidate.before is None:
        return GateFigure(_LOSS, _RISE, most, None, None, why=NO_CURRENT)
    try:
        spaces = [_opened(candidate, name) for name in (candidate.alias, candidate.space)]
        if why := "; ".join(filter(None, (space.why_no_loss for space in spaces))):
            return GateFigure(_LOSS, _RISE, most, None, None, why=why)
        found = masked_drift(
            *spaces, proteins=wanted.proteins, seed=wanted.seed, device=candidate.options.device, tell=report.phase
        )
    except (CheckpointError, ConfigError, EncoderError, StoreError) as error:
        return GateFigure(_LOSS, _RISE, most, None, False, why=str(error))
    low, high = found.interval
    return GateFigure(_LOSS, _RISE, most, found.difference, high <= most, low, high, why=found.sentence())
