"""New proteins cost themselves; a new checkpoint fills its own space, and the alias moves only when that is sound."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import CheckpointError, ConfigError, StoreError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline import embed as driver
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.reembed import Reembedded, inherited, prepare, reembed, wanted_config
from protea_ray.pipeline.targets import make_targets
from protea_ray.pipeline.watch import watch
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.query.reader import open_store
from protea_ray.sequences.synth import synthesise
from protea_ray.store import aliases
from protea_ray.store.location import open_location
from protea_ray.store.rows import space_rows
from protea_ray.store.runs import last_run
from protea_ray.store.spaces import SpaceInfo
from protea_ray.testing import random_checkpoint as checkpoints
from tests import commands, stores, toy
from tests.pipeline.counting import CountingSpec, forward_passes
from tests.plain import PlainEsm
from tests.store import build

RECIPE = {"layers": [0, 1], "layer_agg": "concat", "pooling": ["mean", "max"], "store_dtype": "float32"}
UNITS = {"unit_seconds": 0.05, "window_proteins": 64}
TABLES = ("proteins", "rejects", "sources", "runs", "aliases")
Spec = Callable[..., EncoderSpec]


def letters(count: int, seed: int, max_length: int = 120) -> list[str]:
    """Distinct sequences."""
    found = dict.fromkeys(p.sequence for p in synthesise(2 * count, seed, None, max_length))
    assert len(found) >= count
    return list(found)[:count]


def write(path: Path, sequences: list[str], prefix: str = "p") -> Path:
    path.write_text("".join(f">{prefix}{n}\n{s}\n" for n, s in enumerate(sequences)))
    return path


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another ESM-2, wider than the first."""
    return checkpoints.build("esm2", tmp_path_factory.mktemp("models") / "second", layers=3, hidden=48, seed=1)


@pytest.fixture(scope="module")
def old(cluster: None, esm2: Path, spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty proteins of two sources in one space; not to be changed."""
    folder = tmp_path_factory.mktemp("old")
    sequences = letters(60, seed=3)
    inputs = [write(folder / "a.fasta", sequences[:40], "a"), write(folder / "b.fasta", sequences[40:], "b")]
    config = run_config({"model": str(esm2), **RECIPE})
    for given in inputs:  # one run each, since small sources of one run share a commit
        embed([str(given)], str(folder / "s"), config, LineReporter(), spec)
    return folder / "s"


@pytest.fixture
def store(old: Path, tmp_path: Path) -> Path:
    """A copy of `old`."""
    return Path(shutil.copytree(old, tmp_path / "s"))


@pytest.fixture
def again(spec: Spec) -> Callable[..., Reembedded]:
    """Re-embed a store with a checkpoint."""

    def run(store: Path, model: Path, **options: Any) -> Reembedded:
        run, since = options.pop("run", {}), options.pop("since", None)
        fields = {"model": str(model), "run": {**UNITS, **run}, **options}
        return reembed(str(store), fields, LineReporter(), since=since, make_spec=spec)

    return run


def mean_of(spec: Spec, model: Path) -> Callable[[str], np.ndarray]:
    """The vector that a protein must have under RECIPE, computed without the pipeline."""
    if spec is EncoderSpec:
        plain = PlainEsm(model)
        return lambda sequence: plain.mean(sequence, (0, 1), "concat")
    seed = toy.fingerprint(open_checkpoint(str(model)).files)
    return lambda sequence: toy.pool(toy.residues(sequence, 2 * 48, seed), "mean")


def current(store: Path) -> str:
    return open_store(store).pin().space


def versions(store: Path) -> dict[str, int]:
    tables = [t.name for t in store.glob("*.lance") if t.name != "lease.lance"]
    return {name: stores.version(store / name) for name in tables}


def test_known_proteins_and_known_sources_cost_no_forward_pass(
    cluster: None, esm2: Path, spec: type[EncoderSpec], tmp_path: Path
) -> None:
    """1,000 proteins, then 500 of which 100 are known: 400 forward passes counted at the encoder, one new version.

    A tenth of it without a model.
    """
    n = 100 if spec is EncoderSpec else 10
    sequences, store = letters(14 * n, seed=1), tmp_path / "s"
    config = run_config({"model": str(esm2)})
    embed([str(write(tmp_path / "a.fasta", sequences[: 10 * n]))], str(store), config, LineReporter(), spec)
    table = stores.space(store)
    before = stores.version(table)
    log = tmp_path / "log"
    log.mkdir()
    make_spec = functools.partial(CountingSpec, log=log, inner=spec)
    more = [*sequences[n // 2 : n // 2 + n], *sequences[10 * n :]]

    inputs = [str(write(tmp_path / "more.fasta", more, "new"))]
    summary = embed(inputs, str(store), config, LineReporter(), make_spec)

    count = summary.spaces[0]
    assert (summary.records, count.stored, count.already_present) == (5 * n, 4 * n, n)
    proteins, windows = forward_passes(log, set(sequences))
    assert proteins == dict.fromkeys(sequences[10 * n :], 1)
    assert windows == 4 * n
    assert stores.version(table) == before + 1
    assert len(stores.vectors(store)) == 14 * n

    was = versions(store)
    copy = shutil.copy(tmp_path / "more.fasta", tmp_path / "another name.fasta")
    repeated = embed([str(copy)], str(store), config, LineReporter(), spec)
    assert (repeated.records, repeated.spaces[0].already_present, repeated.actors) == (5 * n, 5 * n, 0)
    assert versions(store) == was


def test_a_new_checkpoint_takes_the_recipe_and_then_the_alias(
    store: Path, second: Path, spec: Spec, again: Callable[..., Reembedded]
) -> None:
    first, pin = current(store), open_store(store).pin()
    before = open_store(store).to_arrow()

    done = again(store, second)

    assert (done.before, done.after, done.stays) == (first, current(store), None)
    assert done.after != first
    assert done.summary.spaces[0].stored == 60
    assert done.accepted is not None
    assert (done.accepted.rows, done.accepted.recomputed, done.accepted.missing) == (60, 16, 0)
    assert done.accepted.largest_distance < 1e-4
    expected, sequences = mean_of(spec, second), stores.sequences(store)
    found = stores.vectors(store, table=store / f"{done.after}.lance")
    assert found.keys() == sequences.keys()
    for key, vector in found.items():
        np.testing.assert_allclose(vector, expected(sequences[key]), atol=1e-5)
    assert open_store(store).to_arrow(space=pin).equals(before)
    run = last_run(open_location(store))
    assert run is not None
    assert (run["kind"], run["summary"]["moved"]) == ("reembed", True)

    was = versions(store)
    repeated = again(store, second)
    assert (repeated.summary.actors, repeated.summary.residues, repeated.accepted) == (0, 0, None)
    assert versions(store) == was


def test_wrong_vectors_leave_the_alias_and_are_named(
    store: Path, second: Path, again: Callable[..., Reembedded]
) -> None:
    """A worker whose hardware is broken writes finite rows with good checksums: only the model itself can tell."""
    first = current(store)
    planned = prepare(str(store), {"model": str(second)}, LineReporter())
    setting = planned.setting
    (target,) = make_targets(setting.location, setting.checkpoint, setting.recipes, "broken")
    sequences = stores.sequences(store)
    keys = sorted(sequences, key=lambda key: len(sequences[key]))[:20]
    lengths = [len(sequences[key]) for key in keys]
    wrong = {p: np.random.default_rng(0).normal(size=(20, 96)).astype(np.float32) for p in ("mean", "max")}
    rows = space_rows(target.schema, keys=keys, unit="broken.0", spans=[(0, n) for n in lengths], n_residues=lengths,
                      n_residues_seen=lengths, n_windows=[1] * 20, truncated=[False] * 20, vectors=wrong)  # fmt: skip
    build.writer().append_table(target.uri, rows)

    with pytest.raises(StoreError, match=r"does not verify, so current stays.*\n.* of its length away") as caught:
        again(store, second)

    assert keys[0].hex() in str(caught.value)
    assert "drop-space" in str(caught.value)
    assert current(store) == first
    build.writer().append_table(target.uri, rows.slice(0, 1).set_column(1, "unit", pa.array(["broken.1"])))
    with pytest.raises(StoreError, match=r"(?s)does not verify.*checksum: .*duplicate: "):
        again(store, second)
    assert current(store) == first


def test_weights_that_changed_under_the_run_leave_the_alias(
    store: Path, second: Path, again: Callable[..., Reembedded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, first = Path(shutil.copytree(second, tmp_path / "training")), current(store)
    other = checkpoints.build("esm2", tmp_path / "later", layers=3, hidden=48, seed=2)
    real = driver.embed_units

    def replaced(*arguments: Any) -> Any:
        tally = real(*arguments)
        shutil.copy(other / "model.safetensors", model / "model.safetensors")
        return tally

    monkeypatch.setattr(driver, "embed_units", replaced)
    with pytest.raises(StoreError, match="weights are not those that were recorded"):
        again(store, model)
    assert current(store) == first


def test_rejects_are_accounted_for_and_too_many_keep_the_alias(
    store: Path, second: Path, again: Callable[..., Reembedded]
) -> None:
    first, sequences = current(store), stores.sequences(store)
    long = [key for key, s in sequences.items() if len(s) > 100]
    limits = {"on_long": "reject", "max_residues": 100}

    strict = again(store, second, **limits, run={"max_rejects": 0})

    assert 0 < len(long) == strict.summary.spaces[0].rejected
    assert strict.stays is not None
    assert (current(store), strict.after) == (first, first)
    done = again(store, second, **limits)
    assert (done.stays, current(store)) == (None, done.after)
    assert len(stores.vectors(store, table=store / f"{done.after}.lance")) == 60 - len(long)


def test_since_a_version_fills_only_what_came_later(
    store: Path, second: Path, again: Callable[..., Reembedded]
) -> None:
    first, proteins = current(store), str(store / "proteins.lance")
    (since, rows) = next((v, n) for v in (1, 2, 3) if 0 < (n := lance.dataset(proteins, version=v).count_rows()) < 60)

    part = again(store, second, since=since)

    assert (part.summary.records, part.summary.spaces[0].stored) == (60 - rows, 60 - rows)
    assert part.stays is not None
    assert f"{rows} proteins of version {since} and before" in part.stays
    assert current(store) == first
    whole = again(store, second)
    assert (whole.summary.spaces[0].stored, current(store)) == (rows, whole.after)
    with pytest.raises(StoreError, match="version 99"):
        again(store, second, since=99)


def test_a_watched_folder_gives_each_checkpoint_once(store: Path, second: Path, spec: Spec, tmp_path: Path) -> None:
    folder, first = tmp_path / "training", current(store)
    shutil.copytree(second, folder / "step-1")
    look = functools.partial(
        watch, str(store), str(folder), {"run": UNITS}, LineReporter(), interval=0.1, make_spec=spec
    )

    (taken,) = look(rounds=4)

    assert taken.outcome is not None
    assert taken.outcome.after == current(store) != first
    location = open_location(store)
    aliases.move(location, "current", first, run="by hand", writer=build.writer())
    assert list(look(rounds=3)) == []
    assert current(store) == first
    broken = Path(shutil.copytree(second, folder / "step-2")) / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-100])
    (failed,) = look(rounds=4)
    assert isinstance(failed.error, CheckpointError)
    assert current(store) == first


def test_what_cannot_be_done_is_refused_before_anything_is_written(store: Path, second: Path, tmp_path: Path) -> None:
    was = versions(store)
    for fields, message in (
        ({}, "name the new checkpoint with --model"),
        ({"model": str(second), "recipes": [{"layers": [0]}, {"layers": [1]}]}, "2 recipes were given"),
        ({"model": str(second), "run": {"limit": 3}}, "run.limit is for inputs"),
        ({"model": str(second), "layers": [9]}, "9 is deeper than the model"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(str(store), fields, LineReporter())
    with pytest.raises(StoreError, match="name of a table"):
        prepare(str(store), {"model": str(second)}, LineReporter(), alias="proteins")
    with pytest.raises(StoreError, match="holds no proteins"):
        prepare(str(tmp_path / "nothing"), {"model": str(second)}, LineReporter())
    with pytest.raises(ConfigError, match="leave out --model"):
        next(watch(str(store), str(second), {"model": "x"}, LineReporter()))
    assert versions(store) == was


def test_a_recipe_is_inherited_without_what_belongs_to_the_checkpoint(old: Path, esm2: Path) -> None:
    info = prepare(str(old), {"model": str(esm2)}, LineReporter()).base
    assert info is not None

    same, other = inherited(info, "esm2"), inherited(info, "ankh")

    assert {"model", "revision", "family", "attention", "max_residues"}.isdisjoint(same)
    assert (tuple(same["layers"]), same["pooling"], same["dtype"]) == ((0, 1), ["mean", "max"], "float32")
    assert same.keys() - other.keys() == {"dtype"}
    assert inherited(None, "esm2") == {}
    assert open_checkpoint(str(esm2)).facts.trained_length == info.config["max_residues"]


def space_of(rope: str, **fields: Any) -> SpaceInfo:
    """A space of an ESM-2 as its table describes it; spaces from before there was a rope have none."""
    config = {"family": "esm2", "max_residues": 1500, "window_overlap": 300, **({"rope": rope} if rope else {})}
    return SpaceInfo("s-1", {}, config | fields, {"model": "m"}, 8, "run", "2026-01-01")


@pytest.mark.parametrize(
    ("was", "asked", "length"),
    [
        ("none", {}, 1500), ("", {}, 1500), ("none", {"rope": "none"}, 1500), ("yarn:2", {"rope": "yarn:2.0"}, 1500),
        ("none", {"rope": "yarn:2"}, None), ("", {"rope": "yarn:2"}, None), ("yarn:2", {"rope": "none"}, None),
        ("yarn:2", {"recipes": [{"rope": "ntk:2"}]}, None), ("none", {"rope": "yarn:2", "max_residues": 900}, 900),
        ("none", {"rope": "yarn:2", "window_overlap": 1600}, None),
    ],
)  # fmt: skip
def test_the_longest_window_follows_another_stretch(was: str, asked: dict[str, Any], length: int | None) -> None:
    (recipe,) = wanted_config(space_of(was), "esm2", {"model": "m", **asked}).recipes

    assert recipe.max_residues == length
    assert recipe.window_overlap == asked.get("window_overlap", 300)


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Any]:
    """Starts a reader process; ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(store: Path) -> Path:
        log = tmp_path / "reads.jsonl"
        with (tmp_path / "reader.log").open("wb") as sink:
            command = [sys.executable, "-m", "tests.pipeline.reader", str(store), str(log)]
            started.append(subprocess.Popen(command, stdout=sink, stderr=sink))
        wait_until(lambda: log.exists() and log.stat().st_size > 0)
        return log

    yield start
    for process in started:
        assert process.poll() is None, (tmp_path / "reader.log").read_text()
        process.kill()
        process.wait()


def wait_until(condition: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.02)


@pytest.mark.slow
def test_readers_see_whole_spaces_while_a_killed_reembedding_is_repeated(
    cluster: None, esm2: Path, second: Path, tmp_path: Path, reading: Any
) -> None:
    proteins, store = 1500, tmp_path / "s"
    fasta = write(tmp_path / "p.fasta", letters(proteins, seed=8))
    embed([str(fasta)], str(store), run_config({"model": str(esm2)}), LineReporter())
    first, log = current(store), reading(store)
    command = ["reembed", store, "--model", second, "--set", "run.commit_units=1"]
    command += ["--set", "run.unit_seconds=0.05", "--set", "run.window_proteins=128"]

    process = commands.start(*command, log=tmp_path / "killed.log")
    wait_until(lambda: rows_of_others(store, first) >= 300 or process.poll() is not None)
    assert process.poll() is None, (tmp_path / "killed.log").read_text()
    commands.kill_group(process)
    committed = rows_of_others(store, first)
    assert 300 <= committed < proteins
    assert current(store) == first
    reads = log.read_text().count("\n")
    wait_until(lambda: log.read_text().count("\n") >= reads + 3)
    finished = commands.run_json(*command)
    reads = log.read_text().count("\n")
    wait_until(lambda: log.read_text().count("\n") >= reads + 3)

    assert finished["moved"]
    assert finished["already_present"] == committed
    assert finished["stored"] == proteins - committed
    found = stores.vectors(store, table=store / f"{finished['after']}.lance")
    sequences, plain = stores.sequences(store), PlainEsm(second)
    assert found.keys() == sequences.keys()
    for key in sorted(found)[::75]:
        np.testing.assert_allclose(found[key], plain.mean(sequences[key]), atol=2e-3)
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(r["rows"], r["without"]) for r in seen} == {(proteins, 0)}
    assert len({(r["space"], r["width"], r["digest"]) for r in seen}) == 2
    order = [r["space"] for r in seen]
    assert order == sorted(order, key=[first, finished["after"]].index)
    assert set(order) == {first, finished["after"]}


def rows_of_others(store: Path, first: str) -> int:
    """Rows that are committed to the space that is not `first`; 0 while there is none."""
    tables = [t for t in store.glob("second-*.lance") if t.stem != first]
    try:
        return sum(lance.dataset(str(t)).count_rows() for t in tables)
    except (ValueError, OSError):
        return 0
