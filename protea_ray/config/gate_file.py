"""The gate of a re-embedding: the figures that a new space must reach before an alias moves to it, from a YAML file.

Paths in the file are looked for beside it, wherever the command is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from protea_ray.config.length_groups import LENGTHS, WHOLE_SUBSETS, length_subsets, lengths_problem, read_lengths
from protea_ray.config.paths import require_inputs
from protea_ray.config.recipe import explain
from protea_ray.config.run import read_yaml, require_fields
from protea_ray.errors import ConfigError, InputError, did_you_mean

LOWER_IS_BETTER = {"mse": "r2", "smin": "fmax_weighted"}  # and the metric of the same kind that a gate takes
KINDS = ("classification", "multilabel", "regression", "residue", "go")  # which may follow a path: labels.csv:go
_GROUPS = ("drift", "masked_loss", "tasks")
_TASK_CONDITIONS = ("at_least", "not_below_current_by", "above_control")
DRIFT_CONDITIONS = ("overlap_at_least", "overlap_by_length_at_least", "cosine_at_least")


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # YAML's yes and no, which pydantic would read as 1 and 0
        raise ValueError("must be a number, not true or false")
    return value


def _higher_is_better(value: Any) -> Any:
    if isinstance(value, str) and value in LOWER_IS_BETTER:
        raise ValueError(f"is better when it is lower, and a gate wants at least; use {LOWER_IS_BETTER[value]}")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Metric = Literal[
    "accuracy", "macro_f1", "mcc", "spearman", "r2",
    "fmax", "fmax_with_root", "fmax_all_terms", "fmax_weighted", "f1max_micro",
]  # fmt: skip
Control = Literal["random", "composition", "untrained"]


class _Conditions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Group = TypeVar("Group", bound=_Conditions)


class DriftConditions(_Conditions):
    """How near the new space must be to the one that the alias points to, over a sample of proteins in both."""

    overlap_at_least: Annotated[Number, Field(ge=0, le=1)] | None = None
    overlap_by_length_at_least: Annotated[Number, Field(ge=0, le=1)] | None = None
    cosine_at_least: Annotated[Number, Field(ge=-1, le=1)] | None = None
    sample: Annotated[int, BeforeValidator(_number)] = Field(default=2_000, ge=3)
    seed: Annotated[int, BeforeValidator(_number)] = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _some_condition(self) -> DriftConditions:
        if all(getattr(self, name) is None for name in DRIFT_CONDITIONS):
            raise ValueError(f"sets no condition; give {', '.join(DRIFT_CONDITIONS[:-1])} or {DRIFT_CONDITIONS[-1]}")
        return self


class MaskedLossConditions(_Conditions):
    """By how many nats the loss of masked residues may rise above that of the space that the alias points to."""

    not_above_current_by: Annotated[Number, Field(ge=0)]
    proteins: Annotated[int, BeforeValidator(_number)] = Field(default=500, ge=2)
    seed: Annotated[int, BeforeValidator(_number)] = Field(default=0, ge=0)


class TaskConditions(_Conditions):
    """What probes on the new space must reach on one task. `metric` None: the task's headline metric.

    `or_standard_errors` widens `not_below_current_by` to as many paired standard errors, and has the difference itself
    judged instead of the end of its interval.
    """

    task: str = Field(min_length=1)
    data: str | None = None
    metric: Annotated[Metric, BeforeValidator(_higher_is_better)] | None = None
    probe: Literal["linear", "mlp"] = "linear"
    subset: str = "all"  # one of `GateConfig.subsets`
    at_least: Number | None = None
    not_below_current_by: Annotated[Number, Field(ge=0)] | None = None
    or_standard_errors: Annotated[Number, Field(gt=0)] | None = None
    above_control: Mapping[Control, Number] = {}

    @model_validator(mode="after")
    def _some_condition(self) -> TaskConditions:
        if not (self.above_control or self.at_least is not None or self.not_below_current_by is not None):
            raise ValueError(f"sets no condition; give {', '.join(_TASK_CONDITIONS[:-1])} or {_TASK_CONDITIONS[-1]}")
        if self.or_standard_errors is not None and self.not_below_current_by is None:
            raise ValueError("has or_standard_errors, which widens not_below_current_by, without that; give both")
        return self


class GateConfig(_Conditions):
    """A gate: conditions on drift, on the loss of masked residues and on tasks.

    `data` is the folder of tasks without one of their own, `lengths` are the ends of the groups by length.
    """

    data: str | None = None
    seeds: Annotated[int, BeforeValidator(_number)] = Field(default=5, gt=0)
    lengths: tuple[int, ...] = LENGTHS
    drift: DriftConditions | None = None
    masked_loss: MaskedLossConditions | None = None
    tasks: tuple[TaskConditions, ...] = ()

    @field_validator("lengths", mode="before")
    @classmethod
    def _ends_of_groups(cls, value: Any) -> Any:
        if problem := lengths_problem(value):
            raise ValueError(problem)
        return read_lengths(value)


def require_fields_and_gate(fields: dict[str, Any], gate: str | None) -> GateConfig | None:
    """Read the gate, None where none is named; raises ConfigError with its mistakes and those of a run's fields."""
    problems: list[str] = []
    conditions = None
    try:
        require_fields(fields)
    except ConfigError as error:
        problems += error.problems
    try:
        conditions = read_gate(gate) if gate else None
    except ConfigError as error:
        if not problems:
            raise
        problems += [f"{gate}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return conditions


def read_gate(path: str | Path) -> GateConfig:
    """Read a gate; raises ConfigError with every mistake of the file, and every path in it that leads nowhere."""
    fields, folder = read_yaml(str(path), "--gate"), Path(path).expanduser().parent
    problems: list[str] = []
    drift = _group(fields.get("drift"), DriftConditions, "drift", problems)
    loss = _group(fields.get("masked_loss"), MaskedLossConditions, "masked_loss", problems)
    tasks = _tasks(fields.get("tasks"), problems)
    top = {name: value for name, value in fields.items() if name not in _GROUPS}
    if not fields.get("tasks") and all(fields.get(name) is None for name in _GROUPS[:2]):
        problems.append("has neither drift nor tasks nor masked_loss, so every space would pass")
    gate = None
    try:
        gate = GateConfig.model_validate(top)
    except ValidationError as error:
        problems += explain(error, GateConfig)
    problems += _missing(folder, fields)
    problems += _subset_problems(fields, gate.lengths if gate else LENGTHS)
    if gate is None or problems:
        raise ConfigError(list(dict.fromkeys(problems)), where=str(path))
    beside = tuple(_beside(folder, task) for task in tasks)
    data = _found(folder, gate.data) if gate.data else None
    return gate.model_copy(update={"drift": drift, "masked_loss": loss, "tasks": beside, "data": data})


def _tasks(given: Any, problems: list[str]) -> list[TaskConditions]:
    if given is None:
        return []
    if not isinstance(given, list):
        problems.append(f"tasks: must be a list of mappings (got {given!r})"[:200])
        return []
    several = cast("list[Any]", given)
    found = [_group(one, TaskConditions, f"tasks[{number}]", problems) for number, one in enumerate(several)]
    return [task for task in found if task is not None]


def _group(given: Any, model: type[Group], name: str, problems: list[str]) -> Group | None:
    """One group of fields; its mistakes go to `problems`, in words."""
    if given is None and model is not TaskConditions:
        return None
    if not isinstance(given, dict):
        problems.append(f"{name}: must be a mapping of fields (got {given!r})"[:200])
        return None
    try:
        return model.model_validate({str(field): value for field, value in cast("dict[Any, Any]", given).items()})
    except ValidationError as error:
        problems += [_of_group(line, name) for line in explain(error, model, f"{name}.")]
        return None


def _of_group(line: str, name: str) -> str:
    """A mistake of the whole group without the word that stands for it, and without its value."""
    whole = f"{name}.combination: "
    return f"{name} {line.removeprefix(whole).partition(' (got ')[0]}" if line.startswith(whole) else line


def _subset_problems(fields: dict[str, Any], lengths: tuple[int, ...]) -> list[str]:
    """In words, the subsets that no result would have: those of length follow from `lengths`."""
    tasks: Any = fields.get("tasks")
    several = enumerate(cast("list[Any]", tasks) if isinstance(tasks, list) else [])
    known = [*WHOLE_SUBSETS, *length_subsets(lengths)]
    named = {number: cast("dict[Any, Any]", one).get("subset") for number, one in several if isinstance(one, dict)}
    return [
        f"tasks[{number}].subset: {subset!r} is not {', '.join(known[:-1])} or {known[-1]}{did_you_mean(subset, known)}"
        for number, subset in named.items()
        if isinstance(subset, str) and subset not in known
    ]


def _missing(folder: Path, fields: dict[str, Any]) -> list[str]:
    """In words, the folders of labels that are not there, of wrong tasks too."""
    tasks: Any = fields.get("tasks")
    groups: list[Any] = [fields, *(cast("list[Any]", tasks) if isinstance(tasks, list) else [])]
    given: list[Any] = [cast("dict[Any, Any]", group).get("data") for group in groups if isinstance(group, dict)]
    try:
        require_inputs([_found(folder, name) for name in given if isinstance(name, str)])
    except InputError as error:
        return [f"data: {problem}" for problem in error.problems]
    return []


def _found(folder: Path, name: str) -> str:
    path = Path(name).expanduser()
    return str(path if path.is_absolute() else folder / path)


def _beside(folder: Path, task: TaskConditions) -> TaskConditions:
    """The conditions with paths that hold wherever the command is given; the name of a task has no dot or slash."""
    data = _found(folder, task.data) if task.data else None
    path, colon, kind = task.task.rpartition(":")
    if kind not in KINDS:
        path, colon, kind = task.task, "", ""
    named = _found(folder, path) + colon + kind if {".", "/"} & set(path) else task.task
    return task.model_copy(update={"data": data, "task": named})
