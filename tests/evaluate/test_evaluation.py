"""What is computed, what is found, which inputs stand beside each other, and what is said before anything starts."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.errors import ConfigError, StoreError
from protea_ray.evaluate import cell_work, evaluation, schedule
from protea_ray.evaluate.cell_work import WantedResults
from protea_ray.evaluate.cells import Group
from protea_ray.evaluate.evaluation import Evaluation
from protea_ray.evaluate.task import RESIDUE, Task
from protea_ray.store.evaluations import KEY, append_cells, read_cells, read_evaluations
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_schema
from protea_ray.store.spaces import ensure_space
from tests.evaluate import quick_cells
from tests.store import build

MODULES = ("protea_ray.evaluate.tasks", "protea_ray.evaluate.tasks.named")


@dataclass
class Engine:
    """An engine whose cells cost nothing, in this process without Ray; `ran` are the names of what was computed."""

    tasks: dict[str, Task]
    ran: list[str] = field(default_factory=list)
    stop_after: int | None = None

    def read_task(self, wanted: str, data: Path | None, view: Any, without: Any = None) -> Task:
        if wanted not in self.tasks:
            raise ConfigError(f"{wanted}: no such task", where="task")
        return self.tasks[wanted]

    def read_labelled(self, wanted: str, data: Path | None) -> None:
        self.read_task(wanted, data, None)

    def compute(
        self,
        location: Location,
        groups: Sequence[Group],
        run: str,
        report: Any,
        *,
        again: Sequence[Group] = (),
        take: schedule.Take | None = None,
    ) -> None:
        asked = [
            *((g, WantedResults(outcomes=take is not None)) for g in groups),
            *((g, WantedResults(False, True)) for g in again),
        ]
        with schedule.committed(location) as add:
            for group, wanted in asked:
                for seed in group.seeds:
                    if len(self.ran) == self.stop_after:
                        raise KeyboardInterrupt
                    work = cell_work.residue_cells if group.task.kind == RESIDUE else cell_work.protein_cells
                    vectors = cell_work.read_features(group.given, group.task, location.uri)
                    first: Any = location.uri if group.task.kind == RESIDUE else vectors
                    found = work(first, group.task, group.given, (seed,), group.protocol, run, wanted)
                    if found.rows is not None:
                        add(found.rows)
                    if take is not None and found.outcomes is not None:
                        take(group, (seed,), found.outcomes)
                    self.ran.append(f"{group}, {seed}")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine({"made": quick_cells.task()})
    for name in MODULES:
        module = ModuleType(name)
        vars(module).update(read_task=made.read_task, read_labelled=made.read_labelled)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("read_features", "protein_cells", "residue_cells"):
        monkeypatch.setattr(cell_work, name, getattr(quick_cells, name))
    monkeypatch.setattr(schedule, "compute", made.compute)
    monkeypatch.setattr("protea_ray.cluster.connect.connect", lambda options: None)
    monkeypatch.setattr("protea_ray.pipeline.pool.require_room", lambda: None)
    return made


def run(location: Location, *spaces: str, tasks: Sequence[str] = ("made",), **options: Any) -> Evaluation:
    given = {"controls": ("random", "composition"), "seeds": 2, "protocol": quick_cells.QUICK, **options}
    report = LineReporter(loudness="quiet")
    return evaluation.evaluate(location.uri, spaces or ["current"], tasks, report, **given)


def add_space(location: Location, name: str, width: int = build.WIDTH, fill: Sequence[int] = (), **info: Any) -> None:
    of = space_schema({"mean": width}, "float32", None, {})
    identity = {**build.info().identity, "files": {"model.safetensors": name}}
    ensure_space(location, build.info(name, identity=identity, hidden=width, **info), of)
    if fill:
        build.fill(location, name, fill, "r2.0", of)


def inputs(found: Evaluation) -> list[str]:
    return found.results["input"].unique().to_pylist()


def test_the_same_call_again_computes_nothing(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    first = run(location)
    assert (first.computed, first.found) == (6, 0)
    assert inputs(first) == ["esm2-00000001", "random 8", "composition"]
    second = run(location)
    assert (second.computed, second.found) == (0, 6)
    assert second.results.equals(first.results)
    assert len(engine.ran) == 6


def test_results_are_plain_values_without_draws(tmp_path: Path, engine: Engine) -> None:
    found = run(build.store(tmp_path))
    facts = json.loads(json.dumps(found.to_json()))
    assert (facts["computed"], facts["found"], len(facts["results"])) == (6, 0, 12)
    assert not {"resampled", "recipe"} & facts["results"][0].keys()
    assert {"space", "version", "proteins_version", "task_digest", "split", "seed"} < facts["results"][0].keys()
    assert found.summary().endswith(": 3 inputs on made; 6 cells computed, 0 found in the store")


def test_more_seeds_and_another_task_compute_what_is_missing(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    run(location)
    assert run(location, seeds=3).computed == 3
    engine.tasks["other"] = quick_cells.task("other", numbers=range(10))
    both = run(location, tasks=["other", "made"])
    assert (both.computed, both.found) == (6, 6)
    assert both.results["task"].unique().to_pylist() == ["other", "made"], "in the order that was asked for"
    assert set(both.results["seed"].to_pylist()) == {0, 1}, "seeds that were not asked for are left in the store"


def test_other_lengths_are_other_cells_and_those_of_the_usual_ones_stay(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    usual = run(location)
    assert run(location, lengths=(254, 510)).computed == 6
    assert run(location, lengths=(254, 510)).found == 6
    again = run(location, lengths=(1022, 2046))
    assert (again.computed, again.found) == (0, 6)
    assert again.results.equals(usual.results)


def test_a_store_that_grew_or_was_compacted_recomputes_nothing(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    first = run(location)
    build.ingest(location, build.proteins(range(20, 25), "b.fasta#2"), "b.fasta#2", "d2")
    build.fill(location, build.info().name, range(20, 25), "r2.0", build.schema())
    import lance

    lance.dataset(location.table(build.info().name)).optimize.compact_files()
    again = run(location)
    assert (again.computed, again.found) == (0, 6)
    assert again.results.equals(first.results)


def test_rows_say_at_which_pin_they_were_computed(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    row = run(location, controls=()).results.to_pylist()[0]
    assert (row["space"], row["version"], row["proteins_version"]) == ("esm2-00000001", 5, 2)
    assert (row["pooling"], row["width"], row["model"], row["trained"]) == ("mean", 8, "m", True)
    assert (row["task"], row["kind"], row["split"], row["train"]) == ("made", "classification", "made", 10)
    assert row["protocol"] == quick_cells.QUICK.digest


def test_an_interrupted_evaluation_keeps_what_was_finished(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    engine.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        run(location)
    assert len(read_cells(location)) == 4
    engine.stop_after = None
    rest = run(location)
    assert (rest.computed, rest.found) == (2, 4)
    assert len(engine.ran) == len(set(engine.ran)) == 6
    rows = read_evaluations(location, columns=KEY).to_pylist()
    assert set(Counter(tuple(row.items()) for row in rows).values()) == {1}


def test_random_vectors_of_each_width_and_the_composition_once(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    for name, width in (("b-00000002", 8), ("c-00000003", 4)):
        add_space(location, name, width, range(20) if width == build.WIDTH else ())
    found = run(location, "esm2-00000001", "b-00000002", "c-00000003")
    assert inputs(found) == ["esm2-00000001", "b-00000002", "c-00000003", "random 4", "random 8", "composition"]


def test_an_untrained_space_of_the_same_shape_is_the_control(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    twin = {"trained": False, "checkpoint": {**build.info().checkpoint, "model": "untrained:m"}}
    add_space(location, "untrained-m-1", fill=range(20), **twin)
    add_space(location, "wider-1", width=4, **twin)
    for spaces in (["esm2-00000001"], ["untrained-m-1", "esm2-00000001"], ["all"]):
        found = run(location, *spaces, controls=("untrained",))
        shown = dict(zip(found.results["input"].to_pylist(), found.results["control"].to_pylist(), strict=True))
        assert list(shown.items()) == [("esm2-00000001", ""), ("untrained-m-1", "untrained")], "controls last"
    alone = run(location, "untrained-m-1", controls=("untrained",))
    assert set(alone.results["control"].to_pylist()) == {""}, "named alone, it is what is judged"
    assert alone.found == 2


def test_a_control_that_cannot_be_made_is_noted(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    add_space(location, "imported-1", fill=range(20), imported=True)
    found = run(location, "esm2-00000001", "imported-1", controls=("untrained",))
    assert inputs(found) == ["esm2-00000001", "imported-1"]
    assert any("imported-1 has no untrained control: its vectors were imported" in note for note in found.notes)
    assert any(note.startswith("esm2-00000001 has no untrained control: ") for note in found.notes), "no such model"


def test_tasks_per_residue_read_matrices(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path, with_residues=True)
    add_space(location, "b-00000002", fill=range(20))
    engine.tasks["states"] = quick_cells.task("states", RESIDUE)
    found = run(location, "esm2-00000001", "b-00000002", tasks=["states"])
    assert inputs(found) == ["esm2-00000001", "random 8", "composition"]
    poolings = {row["input"]: row["pooling"] for row in found.results.to_pylist()}
    assert poolings == {"esm2-00000001": "none", "random 8": "", "composition": ""}
    assert found.notes == (
        "states was not computed for b-00000002: b-00000002 keeps no residues; `protea-ray embed` with --pooling "
        "mean,none makes a space that does",
    )
    with pytest.raises(ConfigError, match=r"states: b-00000002 keeps no residues.*--pooling mean,none"):
        run(location, "b-00000002", tasks=["states"])


def test_every_mistake_in_one_message_before_anything_starts(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    a_file = tmp_path / "file"
    a_file.touch()
    spaces = ["esm2-0000001", "esm2-00000001:max", "esm2-00000001:men", "esm2-00000001@99", "gone.h5", "a:b:c"]
    with pytest.raises(ConfigError) as caught:
        run(location, *spaces, tasks=["mad"], controls=["randm"], seeds=0, out=a_file, lengths=(510, 254),
            outcomes=tmp_path / "outcomes.txt")  # fmt: skip
    said = "\n".join(caught.value.problems)
    for part in (
        "'randm' is none of", "did you mean random?", "seeds: 0", f"{a_file} is a file", "no such task",
        "lengths: the ends of length groups", "outcomes.txt: labels have one of the endings .parquet, .csv, .tsv",
        "no space or alias 'esm2-0000001'", "has no pooling max; it has mean", "'men' is no pooling; did you mean",
        "version 99", "gone.h5: there is no", "'a:b:c' is no space",
    ):  # fmt: skip
        assert part in said
    assert len(caught.value.problems) == 12
    assert engine.ran == []
    assert read_cells(location) == set()


def test_mistakes_of_several_tasks_come_together(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    with pytest.raises(ConfigError) as caught:
        run(location, tasks=["made", "one", "two"])
    assert caught.value.problems == ("one: no such task", "two: no such task")


def test_a_place_without_a_store_is_said(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        run(open_location(tmp_path))


def test_proteins_that_an_input_lacks_are_told_to_the_task(tmp_path: Path, engine: Engine, monkeypatch: Any) -> None:
    location = build.store(tmp_path)
    add_space(location, "b-00000002", fill=range(15))
    asked: list[Callable[[Any], Any]] = []

    def read(wanted: str, data: Path | None, view: Any, without: Callable[[Any], Any]) -> Task:
        asked.append(without)
        return engine.tasks[wanted]

    monkeypatch.setattr(sys.modules[MODULES[0]], "read_task", read)
    run(location, "esm2-00000001", "b-00000002")
    from protea_ray.store.keys import key_array

    missing = asked[0](key_array([build.key(n) for n in range(25)]))
    assert missing.tolist() == [n >= 15 for n in range(25)]


def test_a_cell_that_another_command_appended_meanwhile_is_once_in_the_results(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path)
    first = run(location)
    monkey = read_evaluations(location)
    assert append_cells(location, monkey) == 0
    assert run(location).results.num_rows == first.results.num_rows


def test_a_file_that_is_no_file_of_vectors_is_named(tmp_path: Path, engine: Engine) -> None:
    location = build.store(tmp_path / "store")
    (tmp_path / "bad.h5").write_text("text")
    with pytest.raises(ConfigError, match=r"bad\.h5 cannot be read as HDF5"):
        run(location, str(tmp_path / "bad.h5"))
