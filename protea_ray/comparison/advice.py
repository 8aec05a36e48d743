"""One paragraph for the user's own model: what to use for proteins past its trained length, and what not.

The rules and their thresholds are in `variant_verdicts`; here they become sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protea_ray.comparison.compared_variant import WINDOWS
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_verdicts import ERRORS, LEAST_NATS, Kind, Verdict, past, verdicts
from protea_ray.display import first_of

_ASIDE = "A masked loss says nothing about a task of yours; `protea-ray evaluate` does."
_MOST = 6  # variants named in one sentence


def advice(found: MeasuredVariants) -> str:
    """The paragraph, in plain English; "windows with stitching stays the default" unless something beats it."""
    judged = verdicts(found)
    if WINDOWS not in {row.variant for row in past(found.trained_length, found.loss)}:
        sentences = [_no_baseline(found)]
    else:
        sentences = [
            *_lead(found, [one for one in judged if one.kind == "better"]),
            _cheaper(judged),
            _no_gain(judged),
            _worse(judged),
            _cuts(judged),
            _undecided(judged),
        ]
    return " ".join(said for said in (*sentences, *_not_measured(found, judged), _ASIDE) if said)


def _which(found: MeasuredVariants) -> str:
    return f"over {found.trained_length:,} residues" if found.trained_length else "of every length"


def _no_baseline(found: MeasuredVariants) -> str:
    if found.trained_length is None:
        return (
            f"{found.model} has relative positions and no trained length: by default a protein of any length is one "
            "window, so nothing is stitched and there is no default to beat."
        )
    return (
        f"What to use for proteins {_which(found)} with {found.model} cannot be told from this comparison: the masked "
        f"loss of {WINDOWS} on such proteins was not measured. Windows with stitching stays the default: the model "
        "never sees more residues at once than it was trained on."
    )


def _lead(found: MeasuredVariants, better: Sequence[Verdict]) -> list[str]:
    """What to use: the best of those that no length suffers from, else the default."""
    ranked = sorted(better, key=lambda one: one.long.nats if one.long else 0.0)
    for_all = [one for one in ranked if not one.harms_short]
    only_long = [_only_long(one) for one in ranked if one.harms_short]
    if not for_all:
        return [_default_stays(found, bool(ranked)), *only_long]
    others = f"Better than {WINDOWS} too: {_named(for_all[1:])}." if for_all[1:] else ""
    return [_use(found, for_all[0]), _unreached(found, for_all[0].variant), others, *only_long]


def _default_stays(found: MeasuredVariants, some_are_better: bool) -> str:
    proteins = sum(row.proteins for row in past(found.trained_length, found.loss) if row.variant == WINDOWS)
    besides = " without losing on shorter ones" if some_are_better else ""
    return (
        f"For proteins {_which(found)} with {found.model}, windows with stitching stays the default: on {proteins:,} "
        f"such proteins no variant has a masked loss that is lower by {LEAST_NATS} nats or more and by more than "
        f"{ERRORS:.0f} standard errors{besides}."
    )


def _unreached(found: MeasuredVariants, name: str) -> str:
    """The shortest length at which the variant could not be measured, and why; empty where all were."""
    lacking = [row for row in found.cost if row.variant == name and row.why]
    return f"Its cost at {lacking[0].length:,} residues is not known: {lacking[0].why}." if lacking else ""


def _use(found: MeasuredVariants, best: Verdict) -> str:
    """The sentence that recommends a variant, with its numbers."""
    assert best.long is not None
    fields = ", ".join(f"{name}: {value}" for name, value in found.fields.get(best.variant, {}).items())
    how = f" ({fields})" if fields else ""
    said = (
        f"For proteins {_which(found)} with {found.model}, use {best.variant}{how}: its masked loss on "
        f"{best.long.proteins:,} such proteins is {-best.long.nats:.3f} ± {best.long.standard_error:.3f} nats below "
        f"that of {WINDOWS}, the default (± standard error)"
    )
    if best.cost:
        said += f"; {_cost(best)}"
    if best.nearness:
        said += (
            f"; on shorter proteins its pooled vectors have a centred cosine of {best.nearness.cosine:.3f} to exact "
            "attention"
        )
        if best.nearness.neighbours is not None:
            said += f" and keep {best.nearness.neighbours:.0%} of the 10 nearest neighbours"
    return said + "."


def _only_long(one: Verdict) -> str:
    return (
        f"{one.variant} is for a space of long proteins alone ({one.long}): on proteins of at most the trained length "
        f"it loses {one.short}."
    )


def _cheaper(judged: Sequence[Verdict]) -> str:
    found = [one for one in judged if one.kind == "as good" and one.cost and one.cost.is_cheaper]
    listed = "; ".join(f"{one.variant} ({one.long}; {_cost(one)})" for one in found)
    return f"As good as {WINDOWS} within {LEAST_NATS} nats, and cheaper: {listed}." if listed else ""


def _no_gain(judged: Sequence[Verdict]) -> str:
    found = [one for one in judged if one.kind == "as good" and not (one.cost and one.cost.is_cheaper)]
    unknown = any(one.cost is None for one in found)
    what = "as far as its cost is known no gain" if unknown else "no cheaper"
    return f"As good as {WINDOWS} within {LEAST_NATS} nats, but {what}: {_named(found)}." if found else ""


def _worse(judged: Sequence[Verdict]) -> str:
    found = sorted(_of(judged, "worse"), key=lambda one: one.long.nats if one.long else 0.0, reverse=True)
    plain = [one for one in found if not one.better_in]
    mixed = [
        f"{one.variant} gains up to {max(one.better_in):,} residues and loses up to {max(one.worse_in):,} ({one.long})"
        for one in found
        if one.better_in and one.worse_in
    ]
    said = f"Do not use {_named(plain)}: worse than {WINDOWS}." if plain else ""
    return " ".join(filter(None, [said, f"Nor, for all lengths: {'; '.join(mixed)}." if mixed else ""]))


def _cuts(judged: Sequence[Verdict]) -> str:
    listed = [f"{one.variant} leaves out {one.cut:.0%} of the masked residues of such proteins"
              for one in _of(judged, "cuts")]  # fmt: skip
    return f"{'; '.join(listed)}." if listed else ""


def _undecided(judged: Sequence[Verdict]) -> str:
    found = [*_of(judged, "unclear"), *_of(judged, "few")]
    return f"More proteins are needed to judge {_named(found)}." if found else ""


def _not_measured(found: MeasuredVariants, judged: Sequence[Verdict]) -> list[str]:
    """What the paragraph cannot speak of."""
    blocks = {"nearness to exact attention": found.pooled or found.fidelity, "masked loss": found.loss,
              "cost": found.cost}  # fmt: skip
    lacking = [name for name, rows in blocks.items() if not rows]
    names = [one.variant for one in _of(judged, "not measured")] if found.loss else []
    return [
        f"Not measured: {', '.join(lacking)}." if lacking else "",
        f"No masked loss was measured past the trained length of {first_of(names, _MOST)}." if names else "",
    ]


def _of(judged: Iterable[Verdict], kind: Kind) -> list[Verdict]:
    return [one for one in judged if one.kind == kind]


def _named(judged: Sequence[Verdict]) -> str:
    """Variants with the difference that their verdict rests on."""
    return first_of([f"{one.variant} ({one.because})" for one in judged], _MOST)


def _cost(one: Verdict) -> str:
    """What it costs beside the default."""
    assert one.cost is not None
    times = f"{one.cost.seconds:.2g} times the time and {one.cost.memory:.2g} times the memory"
    return f"at {one.cost.length:,} residues it takes {times}"
