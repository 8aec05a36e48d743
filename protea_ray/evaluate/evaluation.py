"""`evaluate`: probes on frozen vectors of several inputs, on several tasks, with controls, into the store's table.

Order: resolve the spaces, read the tasks, look which cells the store holds. All mistakes are said by then, and where
nothing is missing Ray is never started. Then come the untrained controls that the store lacks, and the missing cells.
The same command again is the resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.cluster.progress import Reporter
from protea_ray.config.length_groups import LENGTHS
from protea_ray.config.run import RunOptions
from protea_ray.display import first_of
from protea_ray.evaluate.asked_for import (
    inputs_of,
    notes_of,
    option_problems,
    read_tasks,
    require_fitting_inputs,
    sound_subjects,
    with_controls,
)
from protea_ray.evaluate.cells import Group, asked_rows
from protea_ray.evaluate.controls_needed import Untrained, untrained_controls
from protea_ray.evaluate.inputs import CONTROLS, UNTRAINED
from protea_ray.evaluate.outcomes_file import Outcomes, write_outcomes
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.subjects import Subject, any_view
from protea_ray.evaluate.task import Task
from protea_ray.query.reader import open_store
from protea_ray.query.view import View
from protea_ray.store.evaluations import read_cells, read_evaluations
from protea_ray.store.keys import key_array
from protea_ray.store.location import Location
from protea_ray.store.runs import new_run_id

if TYPE_CHECKING:
    from protea_ray.evaluate.tables.scores import ScoreTable

SEEDS = 5
TRAINED_AGAIN = ", whose linear probes are trained again for the outcomes"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """`results` are the rows (schema EVALUATIONS) of exactly the cells that were asked for, in the order of tasks,
    inputs and seeds; `computed` of these cells now, `found` in the store. `written` are the files of the report, and
    that of the outcomes."""

    store: str
    results: pa.Table = field(repr=False)
    computed: int
    found: int
    notes: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()

    def table(self) -> ScoreTable:
        """Scores by task and input."""
        from protea_ray.evaluate.tables.scores import score_table

        return score_table(self.results)

    def __repr__(self) -> str:
        return "\n".join([self.summary(), repr(self.table()), *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>note: {escape(note)}</p>" for note in self.notes)
        return f"<p>{escape(self.summary())}</p>{self.table()._repr_html_()}{notes}"

    def summary(self) -> str:
        """One line: how many cells of which tasks and inputs, and where they came from."""
        tasks, inputs = (self.results[name].unique().to_pylist() for name in ("task", "input"))
        return (
            f"{self.store}: {len(inputs)} inputs on {first_of(tasks)}; {self.computed:,} cells computed, "
            f"{self.found:,} found in the store"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values: counts, notes, files and every result without its bootstrap draws."""
        rows = self.results.drop_columns(["resampled", "finished", "recipe"]).to_pylist()
        return {
            "store": self.store, "computed": self.computed, "found": self.found, "notes": list(self.notes),
            "written": [str(path) for path in self.written], "results": rows,
        }  # fmt: skip


def evaluate(
    store: str,
    spaces: Sequence[str],
    tasks: Sequence[str],
    report: Reporter,
    *,
    data: Path | None = None,
    controls: Sequence[str] = CONTROLS,
    seeds: int = SEEDS,
    out: Path | None = None,
    lengths: Sequence[int] = LENGTHS,
    outcomes: Path | None = None,
    options: RunOptions | None = None,
    protocol: Protocol | None = None,
) -> Evaluation:
    """Train and measure what is missing, and return all that was asked for.

    `spaces` and `tasks` as in the modules `subjects` and `tasks`; `data` holds the files of named tasks. `seeds` is how
    many, from 0. `out` is a folder for the report. `lengths` are the ends of the groups by length. `outcomes` is a file
    that gets, by protein, what the linear probe made of it; cells that the store holds are trained again for it, and
    not committed again. Raises ConfigError, InputError and StoreError before Ray is started, EvaluationError for a cell
    whose process died, CommitError. Interrupted, it keeps what was finished.
    """
    how = options or RunOptions()
    location = open_store(store).location
    report.phase(f"looking at {location.uri}")
    problems = option_problems(tasks, controls, seeds, out, lengths, outcomes)
    subjects = sound_subjects(location, spaces, tasks, data, problems)
    read = read_tasks(location, tasks, data, subjects, report)
    require_fitting_inputs(read, subjects)
    untrained = Untrained()
    if UNTRAINED in controls:
        untrained = _untrained(location, subjects, read, how, report)
        subjects = with_controls(subjects, untrained.controls)
    judged_by = replace(protocol or Protocol(), lengths=tuple(lengths))
    groups = [
        Group(task, given, tuple(range(seeds)), judged_by)
        for task in read
        for given in inputs_of(task, subjects, controls)
    ]
    taken = None if outcomes is None else Outcomes(groups)
    missing, found = _compute_missing(location, groups, how, report, taken)
    report.phase(None)
    wanted = list(dict.fromkeys(cell for group in groups for cell in group.cells()))
    results = asked_rows(read_evaluations(location, cell=wanted), groups)
    notes = tuple(dict.fromkeys([*notes_of(read, subjects), *untrained.notes]))
    written = _report(results, notes, out, report)
    if taken is not None and outcomes is not None:
        report.phase(f"writing the outcomes into {outcomes}")
        notes = (*notes, _write_outcomes(taken, any_view(location, subjects), outcomes, found))
        written = (*written, outcomes)
        report.phase(None)
    return Evaluation(location.uri, results, missing, found, notes, written)


def _untrained(
    location: Location, subjects: Sequence[Subject], tasks: Sequence[Task], options: RunOptions, report: Reporter
) -> Untrained:
    """The untrained controls in the store, after what it lacked of them was embedded."""
    keys = key_array(dict.fromkeys(key for task in tasks for key in task.keys))
    planned = untrained_controls(location, subjects, keys, options, report)
    if not planned.missing:
        return planned
    for missing in planned.missing:
        report.warn(missing.sentence(location))
    from protea_ray.evaluate.untrained_embedding import embed_twins  # imports Ray

    for missing in planned.missing:
        embed_twins(location, missing, options, report)
    now = untrained_controls(location, subjects, keys, options, report)
    lost = [
        f"{name} has no untrained control: some of the tasks' proteins were rejected by {missing.checkpoint.model}"
        for missing in now.missing
        for name in missing.subjects
    ]
    return replace(now, missing=(), notes=(*now.notes, *lost))


def _compute_missing(
    location: Location, groups: Sequence[Group], options: RunOptions, report: Reporter, taken: Outcomes | None
) -> tuple[int, int]:
    """Compute the cells that the store lacks; returns how many these were, and how many it held.

    Where outcomes are `taken`, those that it holds are trained again, for the store has none of these.
    """
    present = read_cells(location)
    left = [rest for group in groups if (rest := group.without(present)).seeds]
    again = [held for group in groups if (held := group.within(present)).seeds] if taken is not None else []
    missing = sum(len(group.seeds) for group in left)
    found = sum(len(group.seeds) for group in groups) - missing
    if not missing and not again:
        report.note(f"all {found:,} cells are in the store")
        return 0, found
    report.note(f"{missing:,} cells to compute, {found:,} found in the store" + TRAINED_AGAIN * bool(again))
    report.phase("starting Ray")
    from protea_ray.cluster.connect import connect  # these import Ray
    from protea_ray.cluster.waiting import waiting_is_told
    from protea_ray.evaluate.schedule import compute
    from protea_ray.pipeline.failures import interruptible, own_errors
    from protea_ray.pipeline.pool import require_room

    connect(options)
    require_room()
    with interruptible(), own_errors(), waiting_is_told(report, report.warn) as told:
        take = None if taken is None else taken.take
        compute(location, left, new_run_id(), told, again=again, take=take)
    return missing, found


def _write_outcomes(taken: Outcomes, view: View, path: Path, again: int) -> str:
    """Write the file; returns a sentence on what it holds and what it took."""
    table, nameless = taken.table(view)
    write_outcomes(table, path)
    said = f"{path}: the outcomes of {len(table):,} tested proteins in {table.num_columns - 1:,} columns"
    said += f"; {again:,} cells of the store were trained again for them" * bool(again)
    return said + f"; {nameless:,} tested proteins are left out: their ids mean newer sequences" * bool(nameless)


def _report(results: pa.Table, notes: Sequence[str], out: Path | None, report: Reporter) -> tuple[Path, ...]:
    if out is None:
        return ()
    from protea_ray.evaluate.report import write_report

    report.phase(f"writing the report into {out}")
    written = tuple(write_report(results, notes, out))
    report.phase(None)
    return written
