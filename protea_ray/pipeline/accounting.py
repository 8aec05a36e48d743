"""The accounting that every run must pass, and the summary that it prints and stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.config.attention_forms import EXACT
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.errors import AccountingError
from protea_ray.pictures.store_data import Flow, StageTime
from protea_ray.pipeline.reasons import RejectReason
from protea_ray.plan.delta import Counts


@dataclass(frozen=True)
class SpaceCount:
    """Where every input record went, for one space. Units: records."""

    space: str
    stored: int
    duplicate: int
    rejected: int
    already_present: int

    @property
    def total(self) -> int:
        """Records that have a place."""
        return self.stored + self.duplicate + self.rejected + self.already_present


SPACE_COLUMNS = ("space", "in", "stored", "duplicate", "rejected", "already present")


@dataclass(frozen=True, repr=False)
class Summary:
    """One run: where its records went, what it ran on, and what it took."""

    run: str
    store: str
    model: str
    trained: bool
    device: str
    actors: int
    records: int  # of all inputs, those of known sources too
    spaces: tuple[SpaceCount, ...]
    residues: int  # that went through the model in this run and are stored; none of rejected proteins
    seconds: float  # from the command to the last commit
    embed_seconds: float  # from the first forward pass to the last commit
    startup_seconds: float  # from the command to the first forward pass
    first_vector_seconds: float | None  # from the command to the first vectors; None where nothing was embedded
    load_seconds: float  # the longest that an actor of this run took to load its encoder
    first_forward_seconds: float | None  # of this run's calibration, compilation included; None: remembered, not run
    token_budget: int  # smallest budget of any actor at the end, in tokens of a pack
    attention: str
    layers: str
    recipes: tuple[str, ...]  # what each space holds, in words
    reasons: tuple[RejectReason, ...]  # of the space with the most rejects
    current: str = ""  # the space that `current` points to at the end of the run
    current_before: str | None = None  # and at its beginning; None: to none yet
    current_trained: bool = True
    current_notes: tuple[str, ...] = ()  # in words: where it points, whether and why it moved, how to move it
    stages: tuple[StageTime, ...] = ()  # where the time went, in order

    @property
    def rejected(self) -> int:
        """Records that have no place in the space with the most rejects."""
        return max(count.rejected for count in self.spaces)

    def to_json(self) -> dict[str, Any]:
        """The first space's numbers at the top, every space's under `spaces`."""
        first = asdict(self.spaces[0])
        rest = {k: v for k, v in asdict(self).items() if k not in ("records", "spaces")}
        rate = self.residues / self.embed_seconds if self.embed_seconds else 0.0
        spaces = [asdict(s) for s in self.spaces]
        return {"in": self.records, **first, **rest, "residues_per_second": round(rate, 1), "spaces": spaces}

    def space_rows(self) -> list[tuple[str, ...]]:
        """A row of text for each space, under SPACE_COLUMNS."""
        numbers = [(self.records, c.stored, c.duplicate, c.rejected, c.already_present) for c in self.spaces]
        return [(c.space, *(f"{n:,}" for n in row)) for c, row in zip(self.spaces, numbers, strict=True)]

    def _title(self) -> str:
        untrained = "" if self.trained else " (untrained)"
        return f"{self.store}: {self.model}{untrained}, {self.residues:,} residues embedded in {self.seconds:.1f} s"

    def __repr__(self) -> str:
        from protea_ray.display import text_table  # for a person who looks at it, not for a run

        return f"{self._title()}\n{text_table(SPACE_COLUMNS, self.space_rows())}"

    def _repr_html_(self) -> str:
        from protea_ray.display import html_table
        from protea_ray.pictures.flow_bar import flow_bar

        bars = "".join(flow_bar(self._flow(count)) for count in self.spaces)
        return html_table(self._title(), SPACE_COLUMNS, self.space_rows()) + bars

    def _flow(self, count: SpaceCount) -> Flow:
        places = {name: value for name, value in asdict(count).items() if name != "space"}
        return Flow(space=count.space, records=count.total, **places)


def in_words(recipe: EmbeddingConfig) -> str:
    """What a space of this recipe holds.

    >>> in_words(EmbeddingConfig(model="m", layers=(0, 1), pooling=("mean", "max")))
    'layers 0, 1 from the end (mean), pooling mean, max, stored as float16'
    >>> in_words(EmbeddingConfig(model="m", attention="global:512"))
    'layer 0 from the end, pooling mean, stored as float16, attention global:512'
    """
    several = f" ({recipe.layer_agg})" if len(recipe.layers) > 1 else ""
    layers = ", ".join(map(str, recipe.layers))
    counted = f"layers {layers} from the end{several}" if several else f"layer {layers} from the end"
    attention = "" if recipe.variant == EXACT else f", attention {recipe.attention}"
    return f"{counted}, pooling {', '.join(recipe.pooling)}, stored as {recipe.store_dtype}{attention}"


def account(
    records: int,
    ingest_rejects: int,
    spaces: Sequence[str],
    planned: Sequence[Counts],
    stored: dict[str, int],
    rejected: dict[str, int],
) -> tuple[SpaceCount, ...]:
    """Check in = stored + duplicate + rejected + already present for every space.

    `planned`: counts of the delta, by space. `stored` and `rejected`: what the units of this run reported. Raises
    AccountingError that shows both sides.
    """
    counts = tuple(
        SpaceCount(
            space=space,
            stored=stored[space],
            duplicate=plan.duplicate,
            rejected=ingest_rejects + plan.rejected + rejected[space],
            already_present=plan.already_present,
        )
        for space, plan in zip(spaces, planned, strict=True)
    )
    wrong = [c for c in counts if c.total != records]
    if wrong:
        sides = "; ".join(
            f"{c.space}: {records} in, but {c.stored} stored + {c.duplicate} duplicate + {c.rejected} rejected "
            f"+ {c.already_present} already present = {c.total}"
            for c in wrong
        )
        raise AccountingError(f"the records of this run do not add up: {sides}. Run `protea-ray verify` on the store.")
    return counts
