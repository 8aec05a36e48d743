"""`protea-ray train` as a person meets it: mistakes at once, the plan, a run, the same command again."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from protea_ray.config.run import load_fields
from protea_ray.config.training import training_run
from protea_ray.testing.random_checkpoint import build
from tests import commands
from tests.train import tiny


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.store(tmp_path_factory.mktemp("train") / "store")


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.shape(tmp_path_factory.mktemp("shape"))


@pytest.fixture(scope="module")
def finished(store: Path, shape: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, commands.Done]:
    """A run of 12 steps in this process, and what its command printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, commands.call(*command(store, out, shape), "--attribution", "made up, CC0", "--json")


def command(store: object, out: object, shape: object, tokens: int = 12 * 1024) -> list[object]:
    run = ("--shape", shape, "--workers", 0, "--device", "cpu", "--tokens", tokens)
    return ["train", store, out, *tiny.RECIPE, *run]


def test_mistakes_are_said_before_ray_or_torch_are_imported(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['protea-ray', *sys.argv[1:]]\n"
        "import protea_ray.cli.main as m\n"
        "try: m.run()\n"
        "except SystemExit as done: print(done.code, sorted({'ray', 'torch', 'lance'} & set(sys.modules)))"
    )
    (tmp_path / "store" / "proteins.lance").mkdir(parents=True)
    for words in ([tmp_path / "x.fasta", tmp_path / "o"], [tmp_path / "store", tmp_path / "o", "--shape", "8m"]):
        arguments = [sys.executable, "-c", code, "train", *map(str, words)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)

        assert done.stdout == "2 []\n"
        assert done.stderr.count("\n") == 1


def test_a_shape_that_is_nearly_known(store: Path, tmp_path: Path) -> None:
    done = commands.call("train", store, tmp_path / "o", "--shape", "smal", "--set", "run.keep=0")

    assert done.returncode == 2
    assert "did you mean small?" in done.stderr
    assert "run.keep" in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "given", [("--shape", "nowhere.json"), ("--model", "nowhere/at/all"), ("--attribution", "a.txt")]
)
def test_files_that_are_not_there_leave_nothing_behind(given: tuple[str, str], store: Path, tmp_path: Path) -> None:
    start = () if given[0] in ("--shape", "--model") else ("--shape", "small")
    done = commands.call("train", store, tmp_path / "o", *start, *given, "--workers", 0)

    assert done.returncode in (1, 2)
    assert given[1] in done.stderr
    assert not (tmp_path / "o").exists()


def test_a_dry_run_says_what_the_run_then_does(store: Path, shape: Path, tmp_path: Path, finished: tuple) -> None:
    found = commands.call_json(*command(store, tmp_path / "o", shape), "--dry-run")
    out, _ = finished
    plan = json.loads((out / "plan.json").read_text())
    steps = [line for line in read(out) if line["kind"] == "step"]

    assert not (tmp_path / "o").exists()
    assert (found["steps"], found["data"]) == (len(steps), plan["data"])
    assert found["tokens"] == pytest.approx(steps[-1]["tokens"], rel=0.03)
    assert found["seconds"] == pytest.approx(found["tokens"] / found["rate"])
    assert found["measured"] is True
    saved = sum(tensor.numel() for name, tensor in load(out / "model").items() if "inv_freq" not in name)
    assert found["parameters"] == saved


def test_a_stated_rate_is_not_measured(store: Path, shape: Path, tmp_path: Path) -> None:
    done = commands.call(*command(store, tmp_path / "o", shape), "--dry-run", "--rate", 1000)

    assert "1,000 tokens/s, as stated" in done.stdout
    assert "Nothing was written." in done.stdout


def test_a_dry_run_shows_how_a_model_is_brought_to_longer_proteins(store: Path, tmp_path: Path) -> None:
    model = build("esm2", tmp_path / "esm2", layers=2, hidden=32)
    given = ("train", store, tmp_path / "o", "--model", model, "--adapt", "--step-tokens", 4096, "--pack-tokens", 4096)
    done = commands.call(*given, "--dry-run", "--rate", 1000, "--json")
    found = json.loads(done.stdout.splitlines()[-1])

    assert "attention local:512, stretches of at most 2,048 residues, 4,096 tokens a step, learning" in done.stdout
    assert (found["recipe"]["attention"], found["recipe"]["crop"]) == ("local:512", 2048)
    control = commands.call_json(*given, "--attention", "exact", "--dry-run", "--rate", 1000)
    assert (control["recipe"]["attention"], control["tokens"]) == ("exact", found["tokens"])


def test_adapt_without_a_model_is_refused(store: Path, tmp_path: Path) -> None:
    for more, words in (((), "name it as model"), (("--shape", "small"), "in place of shape small")):
        done = commands.call("train", store, tmp_path / "o", "--adapt", *more)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_run_ends_with_a_model_a_card_and_the_next_commands(store: Path, finished: tuple) -> None:
    out, done = finished
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    card = (out / "README.md").read_text()

    assert (facts["step"], facts["steps"]) == (12, 12)
    assert done.stderr.startswith(f"training on the proteins of {store}, from fresh weights of shape")
    assert "step 12 of 12: loss " in done.stderr
    assert "composition x both" in done.stderr.split("validation")[-1]
    assert f"{facts['validation']['loss_20']:.3f}" in card
    assert "made up, CC0" in card
    assert (out / "model" / "README.md").read_text() == card
    for line in done.stdout.split("next:\n")[1].splitlines()[:4]:
        program, name, *_ = shlex.split(line, comments=True)
        assert (program, name in commands_known()) == ("protea-ray", True)


def test_the_same_command_again_trains_nothing(store: Path, shape: Path, finished: tuple) -> None:
    out, _ = finished
    before = [line for line in read(out) if line["kind"] == "step"]
    weights = (out / "model" / "model.safetensors").read_bytes()
    done = commands.call(*command(store, out, shape))

    assert done.returncode == 0, done.stderr
    assert [line for line in read(out) if line["kind"] == "step"] == before
    assert (out / "model" / "model.safetensors").read_bytes() == weights


def test_another_plan_in_the_same_place_is_refused(store: Path, shape: Path, finished: tuple) -> None:
    out, _ = finished
    done = commands.call(*command(store, out, shape), "--seed", 1, "--mask-rate", "0.2")

    assert done.returncode == 2
    assert "seed: 0 there, 1 now" in done.stderr
    assert "mask_rate: 0.15 there, 0.2 now" in done.stderr


def test_the_command_of_the_card_makes_the_same_weights(shape: Path, tmp_path: Path, finished: tuple) -> None:
    out, _ = finished
    line = (out / "README.md").read_text().split("```bash\n")[1].split("\n")[0]
    _, name, store, _, *rest = shlex.split(line)
    done = commands.call(name, store, tmp_path / "again", *rest, "--workers", 0, "--device", "cpu")

    assert done.returncode == 0, done.stderr
    theirs, ours = load(out / "model"), load(tmp_path / "again" / "model")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_a_store_that_grows_does_not_change_a_run_that_goes_on(shape: Path, tmp_path: Path) -> None:
    store = tiny.store(tmp_path / "s")
    assert commands.call(*command(store, tmp_path / "o", shape, 2048)).returncode == 0
    plan = (tmp_path / "o" / "plan.json").read_bytes()
    tiny.store(store, seed=1)
    done = commands.call(*command(store, tmp_path / "o", shape, 2048))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "plan.json").read_bytes() == plan


def read(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def load(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def commands_known() -> set[str]:
    from protea_ray.cli.main import COMMANDS

    return {name for group in COMMANDS.values() for name in group}


@pytest.mark.slow
def test_on_rays_workers_the_split_is_kept_and_the_plan_is_the_same(
    cluster: None, store: Path, shape: Path, tmp_path: Path, finished: tuple
) -> None:
    out, _ = finished
    done = commands.call(*command(store, tmp_path / "o", shape), "--workers", 1)

    assert done.returncode == 0, done.stderr
    assert "step 12 of 12: loss " in done.stderr
    assert len(list(store.glob("clusters-*.parquet"))) == 1
    assert (tmp_path / "o" / "plan.json").read_bytes() == (out / "plan.json").read_bytes()
    ours, theirs = ([line for line in read(run) if line["kind"] == "step"] for run in (tmp_path / "o", out))
    assert [(a["tokens"], a["targets"]) for a in ours] == [(b["tokens"], b["targets"]) for b in theirs]
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], abs=1e-5)  # of equal weights, before Muon's bfloat16


PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_file_of_the_page_is_a_recipe(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    (tmp_path / "t.yaml").write_text(block)
    config, options = training_run(load_fields(str(tmp_path / "t.yaml"), [], {}))

    assert (config.shape, config.epochs, options.checkpoint_minutes) == ("default", 20, 2)
