"""A gate's file: every mistake in one message, and paths that hold wherever the command is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.config.gate_file import read_gate, require_fields_and_gate
from protea_ray.errors import ConfigError

WHOLE = """
data: labels
seeds: 3
drift: {overlap_at_least: 0.6, cosine_at_least: -0.5, sample: 500, seed: 1}
tasks:
  - {task: localization, at_least: 0.5, not_below_current_by: 0.01}
  - {task: ../own/my.labels.csv:regression, metric: r2, probe: mlp, subset: above_2046, above_control: {random: 0.1}}
  - {task: go-mf, data: /go, metric: fmax_weighted, above_control: {untrained: 0, composition: 0.05}}
"""
WRONG = """
data: nowhere
seeds: yes
drft: {}
drift: {overlap_at_leest: 0.5, cosine_at_least: 2, sample: 2}
tasks:
  - task: localization
  - {task: go-mf, metric: smin, at_least: yes}
  - {task: labels.csv:regression, metric: fmx, subset: up_to_1023, above_control: {randm: 0.1}}
  - {task: localization, at_least: .nan, not_below_current_by: -0.1, data: gone}
  - 3
"""


def written(folder: Path, text: str) -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "gate.yaml").write_text(text)
    return folder / "gate.yaml"


def test_a_gate_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    gate = read_gate(written(tmp_path, WHOLE.replace("data: /go, ", "")))

    assert (gate.data, gate.seeds) == (str(tmp_path / "labels"), 3)
    assert gate.drift is not None
    assert (gate.drift.overlap_at_least, gate.drift.overlap_by_length_at_least) == (0.6, None)
    assert (gate.drift.cosine_at_least, gate.drift.sample, gate.drift.seed) == (-0.5, 500, 1)
    named, own, go = gate.tasks
    assert (named.task, named.metric, named.probe, named.subset) == ("localization", None, "linear", "all")
    assert (named.at_least, named.not_below_current_by, named.above_control) == (0.5, 0.01, {})
    assert (own.task, own.metric) == (str(tmp_path / "../own/my.labels.csv") + ":regression", "r2")
    assert (own.probe, own.subset, own.above_control) == ("mlp", "above_2046", {"random": 0.1})
    assert list(go.above_control.items()) == [("untrained", 0.0), ("composition", 0.05)]


def test_a_folder_of_one_task_is_looked_for_beside_the_gate_too(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    gate = read_gate(written(tmp_path, WHOLE.replace("/go", "go")))

    assert [task.data for task in gate.tasks] == [None, None, str(tmp_path / "go")]


def test_subsets_are_those_of_the_lengths_of_the_file(tmp_path: Path) -> None:
    task = "tasks: [{task: go-mf, subset: 255_to_510, at_least: 0.3}]"
    assert read_gate(written(tmp_path, f"lengths: [254, 510]\n{task}")).lengths == (254, 510)
    with pytest.raises(ConfigError, match="'255_to_510' is not all, without_relatives, up_to_1022, "):
        read_gate(written(tmp_path, task))
    with pytest.raises(ConfigError, match="lengths: the ends of length groups are whole numbers"):
        read_gate(written(tmp_path, f"lengths: [510, 254]\n{task}"))


def test_a_loss_and_the_width_of_a_margin_are_conditions(tmp_path: Path) -> None:
    gate = read_gate(written(tmp_path, "masked_loss: {not_above_current_by: 0.02}"))
    assert gate.masked_loss is not None
    assert (gate.masked_loss.not_above_current_by, gate.masked_loss.proteins, gate.masked_loss.seed) == (0.02, 500, 0)
    task = "tasks: [{task: go-mf, not_below_current_by: 0.01, or_standard_errors: 1}]"
    assert read_gate(written(tmp_path, task)).tasks[0].or_standard_errors == 1
    alone = task.replace("not_below_current_by: 0.01", "at_least: 0")
    with pytest.raises(ConfigError) as caught:
        read_gate(written(tmp_path, f"masked_loss: {{proteins: 1}}\n{alone}"))
    said = "\n".join(caught.value.problems)
    for part in (
        "masked_loss.not_above_current_by: Field required",
        "masked_loss.proteins",
        "tasks[0] has or_standard_errors",
    ):
        assert part in said


def test_every_mistake_is_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_gate(written(tmp_path, WRONG))

    said = "\n".join(caught.value.problems)
    for part in (
        "unknown field 'drift.overlap_at_leest'; did you mean drift.overlap_at_least?",
        "drift.cosine_at_least: Input should be less than or equal to 1 (got 2)",
        "drift.sample: Input should be greater than or equal to 3 (got 2)",
        "tasks[0] sets no condition; give at_least, not_below_current_by or above_control",
        "tasks[1].metric: is better when it is lower, and a gate wants at least; use fmax_weighted (got 'smin')",
        "tasks[1].at_least: must be a number, not true or false",
        "tasks[2].metric: 'fmx' is not accuracy, ",
        "; did you mean fmax?",
        "tasks[2].subset: 'up_to_1023' is not all, ",
        "tasks[2].above_control: 'randm' is not random, composition or untrained; did you mean random?",
        "tasks[3].at_least: Input should be a finite number",
        "tasks[3].not_below_current_by: Input should be greater than or equal to 0",
        "tasks[4]: must be a mapping of fields (got 3)",
        "seeds: must be a number, not true or false",
        "unknown field 'drft'; did you mean drift?",
        f"data: {tmp_path / 'nowhere'}: no such file",
        f"data: {tmp_path / 'gone'}: no such file",
    ):
        assert part in said
    assert len(caught.value.problems) == 16
    assert str(caught.value).startswith(f"{tmp_path / 'gate.yaml'}: 16 problem(s)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has neither drift nor tasks"),
        ("seeds: 2", "has neither drift nor tasks"),
        ("tasks: []", "has neither drift nor tasks"),
        ("drift: {}", "drift sets no condition; give overlap_at_least"),
        ("drift: {sample: 9}", "drift sets no condition"),
        ("drift: 3", "drift: must be a mapping of fields"),
        ("tasks: {task: localization}", "tasks: must be a list of mappings"),
        ("[1, 2]", "must be a mapping of field names"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_gate_that_would_judge_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        read_gate(written(tmp_path, text))


def test_a_missing_file_and_wrong_fields_are_told_together(tmp_path: Path) -> None:
    gate = written(tmp_path, "drift: {overlap_at_least: 7}")

    with pytest.raises(ConfigError, match=r"--gate: .*gate.yml: no such file; did you mean .*gate.yaml\?"):
        require_fields_and_gate({"model": "m"}, str(tmp_path / "gate.yml"))
    with pytest.raises(ConfigError) as caught:
        require_fields_and_gate({"model": "m", "poling": "mean"}, str(gate))
    field, bound = caught.value.problems
    assert "poling" in field
    assert bound.startswith(f"{gate}: drift.overlap_at_least: ")
    assert require_fields_and_gate({"model": "m"}, None) is None
