"""The gate reads the labels of its tasks before anything is embedded, and judges drift and tasks of a real store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.gate_file import read_gate
from protea_ray.config.run import RunOptions
from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import gate
from protea_ray.pipeline.gate_figures import Candidate, GateResult
from protea_ray.store import aliases
from protea_ray.store.location import Location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.evaluate.gate_rows import evaluated, table
from tests.store import build

N = 80
LENGTHS = [150] * 40 + [500] * 40
VECTORS = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
HALF = np.vstack([VECTORS[:40], np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)])
LABELS = "id,target\n" + "".join(f"P{n:05d},{'ab'[n % 2]}\n" for n in range(N))
TERMS = "id,target\n" + "".join(f"P{n:05d},{'x;y' if n % 2 else 'y'}\n" for n in range(N))


def put(location: Location, name: str, vectors: np.ndarray, poolings: tuple[str, ...] = ("mean",)) -> None:
    """A space of all proteins, of the lengths of LENGTHS."""
    of = space_schema({pooling: int(vectors.shape[1]) for pooling in poolings}, "float32", None, {})
    ensure_space(location, build.info(name), of)
    rows = space_rows(of, keys=[build.key(n) for n in range(N)], unit=f"{name}.0", spans=[(0, x) for x in LENGTHS],
                      n_residues=LENGTHS, n_residues_seen=LENGTHS, n_windows=[1] * N, truncated=[False] * N,
                      vectors=dict.fromkeys(poolings, vectors))  # fmt: skip
    build.writer().append_table(location.table(name), rows)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """`old`, which the alias names; `same`; `half`, whose long proteins have other vectors; `wide`; `several`."""
    found = build.store(tmp_path_factory.mktemp("gate") / "s", range(N))
    put(found, "old", VECTORS)
    put(found, "same", VECTORS)
    put(found, "half", HALF)
    put(found, "wide", np.pad(VECTORS, ((0, 0), (0, 8))))
    put(found, "peaks", VECTORS, ("max",))
    put(found, "several", VECTORS, ("max", "mean"))
    aliases.move(found, "current", "old", run="r", writer=build.writer())
    return found


@pytest.fixture
def opened(location: Location, tmp_path: Path) -> Callable[[str], Any]:
    """A gate of these lines of YAML, beside two files of labels."""
    (tmp_path / "loc.csv").write_text(LABELS)
    (tmp_path / "terms.csv").write_text(TERMS)
    (tmp_path / "others.csv").write_text(LABELS.replace("P", "Q"))

    def open_text(text: str) -> Any:
        (tmp_path / "gate.yaml").write_text(text)
        config = read_gate(tmp_path / "gate.yaml")
        return gate.open_gate(config, "gate.yaml", location.uri, LineReporter(loudness="quiet"))

    return open_text


def judged(judge: Any, location: Location, space: str, before: str | None = "old") -> GateResult:
    return judge(Candidate(location, space, "current", before, RunOptions()), LineReporter(loudness="quiet"))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("localisation", "did you mean localization"),
        ("localization", "localization needs the folder with its files"),
        ("nothing.csv", "no file and no named task"),
        ("loc.csv:clasification", "did you mean classification"),
        ("others.csv", "others.csv"),
        ("loc.csv, metric: fmax", "loc.csv: fmax is no metric of classification; choose from accuracy, macro_f1, mcc"),
        ("terms.csv, metric: fmax_weighted", "terms.csv: fmax_weighted needs a graph of the terms"),
    ],
)
def test_mistakes_of_tasks_are_told_before_anything_is_embedded(
    opened: Callable[[str], Any], task: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(f"tasks: [{{task: {task}, at_least: 0.1}}, {{task: go-mf, at_least: 0.1}}]")

    assert message in str(caught.value)
    assert "go-mf needs the folder" in str(caught.value)
    assert str(caught.value).startswith("gate.yaml: 2 problem(s)")


@pytest.mark.parametrize(
    ("space", "limit", "verdicts"),
    [
        ("same", 1.0, ["passed"] * 3),
        ("half", 0.25, ["passed", "FAILED", "passed"]),
        ("half", 0.9, ["FAILED"] * 3),
        ("wide", 1.0, ["passed", "passed", "FAILED: the vectors differ in width, so there is no cosine"]),
    ],
)
def test_drift_is_judged_over_all_and_by_the_worst_length(
    opened: Callable[[str], Any], location: Location, space: str, limit: float, verdicts: list[str]
) -> None:
    """Half of the proteins keep their vectors, so the mean cosine is about a half; the rest share few neighbours."""
    cosine = 0.999 if limit == 1 else limit
    judge = opened(
        f"drift: {{overlap_at_least: {limit}, overlap_by_length_at_least: {limit}, cosine_at_least: {cosine}}}"
    )

    found = judged(judge, location, space)

    assert [figure.verdict for figure in found.figures] == verdicts
    assert found.passed is (verdicts == ["passed"] * 3)
    assert found.figures[0].figure == "drift, 80 proteins"
    if space == "half":
        assert found.figures[1].figure == "drift, 400-799 residues"
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (VECTORS, HALF)]
        assert found.figures[2].found == pytest.approx(float((unit[0] * unit[1]).sum(1).mean()), abs=1e-5)


def test_spaces_without_a_common_pooling_have_no_drift(opened: Callable[[str], Any], location: Location) -> None:
    found = judged(opened("drift: {overlap_at_least: 0}"), location, "peaks")

    assert "do not share a pooling" in found.figures[0].verdict
    assert not found.passed


def test_drift_does_not_apply_where_the_alias_points_nowhere(opened: Callable[[str], Any], location: Location) -> None:
    found = judged(opened("drift: {overlap_at_least: 1}"), location, "half", before=None)

    assert [figure.verdict for figure in found.figures] == ["not applicable: the alias points to no other space"]
    assert found.sentence() == "the gate gate.yaml is passed: 0 condition(s) met, 1 not applicable"


class Engine:
    """Stands for `evaluate`: gives chosen rows, and remembers what it was asked for."""

    def __init__(self, results: pa.Table) -> None:
        self.results, self.asked = results, list[dict[str, Any]]()

    def __call__(self, store: str, spaces: Any, tasks: Any, report: Any, **options: Any) -> Any:
        self.asked.append({"store": store, "spaces": spaces, "tasks": tasks, **options})
        return SimpleNamespace(results=self.results, computed=4, found=6, notes=("a note",))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(table(evaluated("several", [0.7, 0.7]), evaluated("old", [0.6, 0.6]),
                        evaluated("", [0.5, 0.5], control="random")))  # fmt: skip
    monkeypatch.setattr(gate, "run_evaluation", made)
    return made


def test_conditions_on_one_task_are_one_evaluation(
    opened: Callable[[str], Any], location: Location, engine: Engine, tmp_path: Path
) -> None:
    task = "task: loc.csv"
    judge = opened(
        "seeds: 2\nlengths: [254, 510]\n"
        f"tasks:\n- {{{task}, above_control: {{random: 0.1}}}}\n- {{{task}, not_below_current_by: 0.01}}\n"
        f"- {{{task}, metric: mcc, at_least: 0.1, above_control: {{random: 0, composition: 0}}}}"
    )

    found = judged(judge, location, "several")

    (asked,) = engine.asked
    assert asked["store"] == location.uri
    assert asked["spaces"] == ["several:mean", "current"]
    assert asked["tasks"] == [str(tmp_path / "loc.csv")]
    assert (asked["controls"], asked["seeds"], asked["out"]) == (("random", "composition"), 2, None)
    assert asked["lengths"] == (254, 510)
    assert [figure.met for figure in found.figures] == [True, True, False, False, False]  # no row holds an mcc
    assert found.figures[0].found == pytest.approx(0.2)
    assert (found.cells_computed, found.cells_found, found.notes) == (4, 6, ("a note",))
    assert json.loads(json.dumps(found.to_json()))["passed"] is False


def test_only_what_conditions_need_is_evaluated(
    opened: Callable[[str], Any], location: Location, engine: Engine
) -> None:
    judge = opened("tasks: [{task: loc.csv, at_least: 0.7}, {task: terms.csv, metric: fmax, at_least: 0.7}]")

    found = judged(judge, location, "several")

    assert [(asked["spaces"], asked["controls"]) for asked in engine.asked] == [(["several:mean"], ())] * 2
    assert [figure.figure for figure in found.figures] == ["loc macro_f1 (linear)", "loc fmax (linear)"]
    assert found.sentence() == (
        "the gate gate.yaml is not passed: 1 of 2 condition(s) failed (loc fmax (linear) at_least)"
    )


def test_what_the_evaluation_cannot_do_fails_and_is_the_reason(
    opened: Callable[[str], Any], location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (ConfigError("several has no residues", where="evaluate"), InputError("several has no residues")):

        def refused(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(gate, "run_evaluation", refused)

        found = judged(opened("tasks: [{task: loc.csv, at_least: 0, not_below_current_by: 1}]"), location, "several")

        assert [figure.verdict for figure in found.figures] == ["FAILED: several has no residues"] * 2
