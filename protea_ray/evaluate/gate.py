"""The gate before an alias moves: drift and masked loss beside the space that it points to, and probes on tasks.

Every condition is judged, and all figures are given, passed or failed. A condition for which there is no number fails:
what could not be looked at is not good. Results of probes are rows of the store's table of evaluations, so judging the
same space again costs the reading of the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.cluster.progress import Reporter
from protea_ray.config.gate_file import GateConfig, TaskConditions
from protea_ray.errors import ConfigError, InputError, did_you_mean
from protea_ray.evaluate.gate_conditions import TaskRows, unjudged
from protea_ray.evaluate.gate_spaces import drift_figures, loss_figure
from protea_ray.evaluate.subjects import newest_view
from protea_ray.evaluate.task import CLASSIFICATION, HEADLINE, MULTILABEL, REGRESSION, RESIDUE
from protea_ray.evaluate.tasks.named import join_task, read_labelled
from protea_ray.pipeline.gate_figures import Candidate, Gate, GateFigure, GateResult
from protea_ray.store.location import open_location
from protea_ray.store.rows import vector_facts
from protea_ray.store.tables import open_table

if TYPE_CHECKING:
    from protea_ray.evaluate.evaluation import Evaluation

_OF_CLASSES = ("accuracy", "macro_f1", "mcc")
_OF_A_GRAPH = ("fmax_with_root", "fmax_weighted")
METRICS = {
    CLASSIFICATION: _OF_CLASSES,
    RESIDUE: _OF_CLASSES,
    REGRESSION: ("spearman", "r2"),
    MULTILABEL: ("fmax", *_OF_A_GRAPH, "fmax_all_terms", "f1max_micro"),
}


@dataclass(frozen=True)
class GateTask:
    """One task of the gate, whose labels were read: all conditions on it, with the folder that it is read from."""

    wanted: str
    data: str | None
    kind: str
    conditions: tuple[TaskConditions, ...]

    @property
    def relative(self) -> bool:
        """Whether the space of the alias is evaluated too."""
        return any(one.not_below_current_by is not None for one in self.conditions)

    @property
    def controls(self) -> tuple[str, ...]:
        """Those that a condition names, in the order of the file."""
        return tuple(dict.fromkeys(control for one in self.conditions for control in one.above_control))


def open_gate(config: GateConfig, file: str, store: str, report: Reporter) -> Gate:
    """Read every task, and return the function that judges; `file` names the gate in messages.

    Raises ConfigError with every mistake: tasks that are not known, whose files cannot be read or whose proteins the
    store does not hold, and metrics that are not those of the kind of task.
    """
    view = newest_view(open_location(store))  # none in a store without a space, which is about to be filled
    grouped: dict[tuple[str, str | None], list[TaskConditions]] = {}
    for one in config.tasks:
        grouped.setdefault((one.task, one.data or config.data), []).append(one)
    tasks: list[GateTask] = []
    problems: list[str] = []
    for (wanted, data), conditions in grouped.items():
        report.phase(f"reading the task {wanted} of the gate {file}")
        try:
            labelled = read_labelled(wanted, Path(data) if data else None)
            if view is not None:
                join_task(labelled, view)
        except (ConfigError, InputError) as error:
            problems += error.problems
            continue
        problems += _metric_problems(conditions, labelled.kind, graph=bool(labelled.parents))
        tasks.append(GateTask(wanted, data, labelled.kind, tuple(conditions)))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), where=file)
    return partial(judge, config, file, tuple(tasks))


def _metric_problems(conditions: Sequence[TaskConditions], kind: str, graph: bool) -> Iterator[str]:
    """In words, which conditions name a metric that a task of this kind does not have."""
    for one in conditions:
        if one.metric is not None and one.metric not in METRICS[kind]:
            near = did_you_mean(one.metric, METRICS[kind])
            yield f"{one.task}: {one.metric} is no metric of {kind}; choose from {', '.join(METRICS[kind])}{near}"
        elif one.metric in _OF_A_GRAPH and not graph:
            yield f"{one.task}: {one.metric} needs a graph of the terms, which this task has not; use fmax"


def judge(
    config: GateConfig, file: str, tasks: Sequence[GateTask], candidate: Candidate, report: Reporter
) -> GateResult:
    """Compare a verified space with every condition of the gate; raises what drift and evaluations raise.

    A ConfigError or InputError of an evaluation, such as a space without residues, fails the conditions on its task
    and is their reason.
    """
    figures = list(drift_figures(config.drift, candidate, report)) if config.drift else []
    figures += [loss_figure(config.masked_loss, candidate, report)] if config.masked_loss else []
    notes: list[str] = []
    computed = found = 0
    for task in tasks:
        report.phase(f"evaluating {candidate.space} on {task.wanted}")
        try:
            evaluated = _evaluated(candidate, task, config, report)
        except (ConfigError, InputError) as error:
            figures += unjudged(task.conditions, "; ".join(error.problems))
            continue
        figures += _task_figures(evaluated, task, candidate)
        notes += evaluated.notes
        computed, found = computed + evaluated.computed, found + evaluated.found
    return GateResult(file, tuple(figures), tuple(dict.fromkeys(notes)), computed, found)


def _evaluated(candidate: Candidate, task: GateTask, config: GateConfig, report: Reporter) -> Evaluation:
    """The new space, the alias's where a condition names it, and controls, on one task, as `protea-ray evaluate`."""
    both = (candidate.space, candidate.before) if task.relative else (candidate.space,)
    spaces = [_subject(candidate, space, task.kind) for space in both if space]
    return run_evaluation(
        candidate.location.uri, spaces, [task.wanted], report, data=Path(task.data) if task.data else None,
        controls=task.controls, seeds=config.seeds, lengths=config.lengths, out=None, options=candidate.options,
    )  # fmt: skip


def run_evaluation(
    store: str, spaces: Sequence[str], tasks: Sequence[str], report: Reporter, **options: Any
) -> Evaluation:
    """`evaluation.evaluate`, imported when it is needed: it imports Ray."""
    from protea_ray.evaluate.evaluation import evaluate

    return evaluate(store, spaces, tasks, report, **options)


def _subject(candidate: Candidate, space: str, kind: str) -> str:
    """A space as `evaluate --spaces` takes it, with the pooling that is judged where it has several."""
    name = candidate.alias if space == candidate.before else space  # the alias may name a version
    poolings = _poolings(candidate, space)
    return name if kind == RESIDUE or len(poolings) < 2 else f"{name}:{judged_pooling(poolings)}"


def _poolings(candidate: Candidate, space: str) -> list[str]:
    return list(vector_facts(open_table(candidate.location.table(space)).schema)["widths"])


def judged_pooling(poolings: Sequence[str]) -> str:
    """The pooling of a space that a gate judges, as `drift` chooses: mean, else the first; empty for none."""
    return "mean" if "mean" in poolings else next(iter(poolings), "")


def _task_figures(evaluated: Evaluation, task: GateTask, candidate: Candidate) -> Iterator[GateFigure]:
    spaces = [space for space in (candidate.space, candidate.before) if space]
    poolings = {space: judged_pooling(_poolings(candidate, space)) for space in spaces}
    for one in task.conditions:
        metric = one.metric or HEADLINE[task.kind]
        rows = TaskRows(evaluated.results, one, metric, candidate.space, candidate.before, poolings)
        yield from rows.figures()
