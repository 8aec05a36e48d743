"""From what was asked for to tasks and their inputs; whatever is wrong with it is said here, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protea_ray.cluster.progress import Reporter
from protea_ray.config.length_groups import lengths_problem
from protea_ray.errors import ConfigError, InputError, did_you_mean
from protea_ray.evaluate.controls_needed import made_controls
from protea_ray.evaluate.inputs import CONTROLS, RESIDUES_ONLY, Input
from protea_ray.evaluate.outcomes_file import outcomes_problems
from protea_ray.evaluate.subjects import Subject, any_view, lacking, read_subjects
from protea_ray.evaluate.task import RESIDUE, Task
from protea_ray.store.location import Location


def sound_subjects(
    location: Location, spaces: Sequence[str], tasks: Sequence[str], data: Path | None, problems: Sequence[str]
) -> list[Subject]:
    """The subjects; raises ConfigError where they, or `problems`, make that nothing can start.

    The labels of tasks are then looked at too, so that one message holds all there is to mend.
    """
    from protea_ray.evaluate.tasks.named import read_labelled

    found: list[Subject] = []
    wrong = list(problems)
    try:
        found = read_subjects(location, spaces)
    except ConfigError as error:
        wrong += error.problems
    if not wrong:
        return found
    for wanted in dict.fromkeys(tasks):
        try:
            read_labelled(wanted, data)
        except (ConfigError, InputError) as error:
            wrong += error.problems
    raise ConfigError(list(dict.fromkeys(wrong)), where="evaluate")


def option_problems(
    tasks: Sequence[str],
    controls: Sequence[str],
    seeds: int,
    out: Path | None,
    lengths: Sequence[int],
    outcomes: Path | None = None,
) -> list[str]:
    """In words, all that is wrong with options that need no look at the store."""
    problems = [
        f"controls: {word!r} is none of {', '.join(CONTROLS)}{did_you_mean(word, CONTROLS)}"
        for word in controls
        if word not in CONTROLS
    ]
    if not tasks:
        from protea_ray.evaluate.tasks import known_tasks

        problems.append(f"tasks: name at least one of {', '.join(known_tasks())}, or a file of labels: labels.csv")
    if wrong := lengths_problem(lengths):
        problems.append(f"lengths: {wrong}")
    if seeds < 1:
        problems.append(f"seeds: {seeds} is less than 1")
    if out is not None and out.exists() and not out.is_dir():
        problems.append(f"out: {out} is a file; name a folder")
    return [*problems, *(outcomes_problems(outcomes, tasks, out) if outcomes is not None else ())]


def read_tasks(
    location: Location, tasks: Sequence[str], data: Path | None, subjects: Sequence[Subject], report: Reporter
) -> list[Task]:
    """Every task once, joined to the proteins that all subjects have.

    Raises ConfigError or InputError with the mistakes of all tasks in one message.
    """
    from protea_ray.evaluate.tasks import read_task

    view, without = any_view(location, subjects), lacking(location, subjects)
    read: dict[str, Task] = {}
    wrong: list[ConfigError | InputError] = []
    for wanted in dict.fromkeys(tasks):
        report.phase(f"reading the task {wanted}")
        try:
            task = read_task(wanted, data, view, without)
            read.setdefault(task.digest, task)
        except (ConfigError, InputError) as error:
            wrong.append(error)
    if wrong:
        problems = list(dict.fromkeys(problem for error in wrong for problem in error.problems))
        if any(isinstance(error, ConfigError) for error in wrong):
            raise ConfigError(problems, where="tasks")
        raise InputError(problems)
    return list(read.values())


def require_fitting_inputs(tasks: Sequence[Task], subjects: Sequence[Subject]) -> None:
    """Raise ConfigError for a task that none of the subjects has vectors for."""
    problems = []
    for task in tasks:
        if all(_side(subject, task) is None for subject in subjects):
            reasons = {_why_not(subject, task): None for subject in subjects}
            problems.append(f"{task.name}: {'; '.join(reasons)}")
    if problems:
        raise ConfigError(problems, where="spaces")


def inputs_of(task: Task, subjects: Sequence[Subject], controls: Sequence[str]) -> list[Input]:
    """Subjects, then controls, that a task has a use for, each once."""
    given = [side for subject in subjects if (side := _side(subject, task)) is not None]
    wanted = [control for control in controls if task.kind == RESIDUE or control not in RESIDUES_ONLY]
    return list({one.digest: one for one in [*given, *made_controls(wanted, given)]}.values())


def with_controls(subjects: Sequence[Subject], controls: Sequence[Subject]) -> list[Subject]:
    """Subjects, then untrained controls; a space that was named and is the control of another is shown as that."""
    as_controls = {given.digest for control in controls for given in control.inputs}
    return [*(s for s in subjects if not as_controls & {given.digest for given in s.inputs}), *controls]


def notes_of(tasks: Sequence[Task], subjects: Sequence[Subject]) -> list[str]:
    """What one should know of the tasks, and which subjects a task was not computed for."""
    notes = [f"{task.name}: {note}" for task in tasks for note in task.notes]
    for task in tasks:
        left_out = [subject for subject in subjects if _side(subject, task) is None]
        notes += [f"{task.name} was not computed for {subject.name}: {_why_not(subject, task)}" for subject in left_out]
    return notes


def _side(subject: Subject, task: Task) -> Input | None:
    return subject.residues if task.kind == RESIDUE else subject.pooled


def _why_not(subject: Subject, task: Task) -> str:
    if task.kind == RESIDUE:
        return subject.why_not
    return f"{subject.name} keeps residues alone; `protea-ray embed` with --pooling mean,none gives it vectors too"
