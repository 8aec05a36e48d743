"""What `import protea_ray` offers, and that the files generated from the models are current."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
import pydoc
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import protea_ray
from protea_ray import api, errors
from protea_ray._fields import RecipeFields, RunFields, TrainingFields, TrainingRunFields
from protea_ray.cli._flags import RECIPE_FLAGS, RUN_FLAGS, TRAINING_FLAGS, TRAINING_RUN_FLAGS
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunOptions
from protea_ray.config.training import TrainingConfig, TrainingOptions
from tools import flags

ROOT = Path(protea_ray.__file__).parent.parent
FUNCTIONS = (
    "compare_variants", "embed", "embed_dataset", "evaluate_spaces", "export", "forget", "import_vectors", "missing",
    "open_store", "reembed", "train_model",
)  # fmt: skip


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_stay_functions_whatever_was_imported() -> None:
    for module in pkgutil.walk_packages(protea_ray.__path__, "protea_ray."):
        importlib.import_module(module.name)
    for name in FUNCTIONS * 2:
        found = getattr(protea_ray, name)
        assert inspect.isfunction(found), name
        assert getattr(importlib.import_module("protea_ray"), name) is found
    from protea_ray import embed

    assert embed is api.embed


def test_every_public_name_is_there() -> None:
    for name in protea_ray.__all__:
        assert getattr(protea_ray, name) is not None, name
    assert set(protea_ray._HOMES) < set(protea_ray.__all__)
    assert dir(protea_ray) == sorted(protea_ray.__all__), "completion offers what is public and nothing else"
    public_errors = {
        name for name, kind in vars(errors).items() if kind.__class__ is type and kind.__module__ == errors.__name__
    }
    assert public_errors <= set(protea_ray.__all__)
    assert protea_ray.__version__ == version("protea-ray")
    with pytest.raises(AttributeError, match="embed_dataset"):
        _ = protea_ray.embedd  # type: ignore[attr-defined]


def test_import_loads_nothing_heavy() -> None:
    loaded = "{'ray', 'torch', 'transformers', 'lance', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)"
    assert in_new_process(f"import sys, protea_ray; dir(protea_ray); print({loaded})") == "set()\n"
    assert "ray" not in in_new_process(f"import sys, protea_ray.api; print({loaded})")


def test_the_docstring_is_true() -> None:
    tried = doctest.testmod(protea_ray)
    assert tried.attempted >= 3
    assert not tried.failed


def test_a_mistake_is_reported_before_ray_is_imported() -> None:
    code = (
        "import sys, protea_ray\n"
        "try: protea_ray.embed('p.fasta', 's', pooling=['meen'], run={'actors': 0})\n"
        "except protea_ray.ConfigError as error: print(len(error.problems), 'ray' in sys.modules)"
    )
    assert in_new_process(code) == "2 False\n"


@pytest.mark.parametrize(("inputs", "store"), [("typo.fasta", "s"), (__file__, __file__)])
def test_a_wrong_path_is_reported_before_ray_is_imported(inputs: str, store: str) -> None:
    code = (
        "import sys, protea_ray\n"
        f"try: protea_ray.embed({inputs!r}, {store!r})\n"
        "except protea_ray.ProteaRayError: print('ray' in sys.modules)"
    )
    assert in_new_process(code) == "False\n"


@pytest.mark.parametrize("path", [flags.FLAGS, flags.FIELDS, flags.PAGE], ids=lambda path: path.name)
def test_what_is_generated_from_the_models_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == dict(flags.written())[path], "run python -m tools.flags"


def test_flags_and_keywords_are_the_fields_of_the_models() -> None:
    assert list(RECIPE_FLAGS) == list(EmbeddingConfig.model_fields)
    assert set(RUN_FLAGS) <= set(RunOptions.model_fields)
    assert set(RecipeFields.__annotations__) == set(EmbeddingConfig.model_fields) - {"model"}
    assert set(RunFields.__annotations__) == set(RunOptions.model_fields)
    assert list(TRAINING_FLAGS) == list(TrainingConfig.model_fields) == list(TrainingFields.__annotations__)
    assert list(TRAINING_RUN_FLAGS) == list(TrainingOptions.model_fields) == list(TrainingRunFields.__annotations__)


def test_help_begins_with_what_there_is_and_hides_what_is_private() -> None:
    text = pydoc.plain(pydoc.render_doc(protea_ray))
    start = text.split("PACKAGE CONTENTS")[0]
    assert all(name in start for name in FUNCTIONS if name != "missing")
    assert "    __getattr__(name" not in text and "import_module" not in text
    assert "\n    open_store(uri: 'str | Path') -> 'Store'\n" in text


def test_importing_one_name_after_each_module_gives_the_function() -> None:
    names = [module.name for module in pkgutil.walk_packages(protea_ray.__path__, "protea_ray.")]
    code = (
        "import importlib, inspect, sys\n"
        f"for name in {[name for name in names if name.split('.')[-1] in FUNCTIONS]!r}:\n"
        "    importlib.import_module(name)\n"
        "    for function in ('embed', 'reembed', 'forget', 'export'):\n"
        "        exec(f'from protea_ray import {function} as found')\n"
        "        assert inspect.isfunction(found), (name, function, found)\n"
        "print('functions')"
    )
    assert in_new_process(code) == "functions\n"


SNIPPET = """import protea_ray

summary = protea_ray.embed("a.fasta", "store", poolin=["mean"])
protea_ray.embed("a.fasta", "store", modle="small")
protea_ray.embed("a.fasta", "store", pooling=["meen"])
protea_ray.embed("a.fasta", "store", run={"unit_second": 3})
protea_ray.train_model("store", "out", mask_rat=0.1)
protea_ray.nothing()
good = protea_ray.embed("a.fasta", "store", pooling=["mean"], run={"unit_seconds": 3.0}, model="small")
reveal_type(good)
reveal_type(len(protea_ray.open_store("store")))
"""


@pytest.mark.slow
def test_a_type_checker_finds_keywords_that_are_misspelt(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(SNIPPET)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [Path(sys.executable).with_name("pyright"), "--outputjson", "--pythonpath", sys.executable, "user.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}
    assert errors == {3, 4, 5, 6, 7, 8}, found
    said = [one["message"] for one in found if one["severity"] == "information"]
    assert said == ['Type of "good" is "Summary"', 'Type of "len(protea_ray.open_store("store"))" is "int"']


def copy_of_the_checkout(place: Path) -> Path:
    """A build leaves files, and takes old ones in."""
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(ROOT, place, ignore=left_out))


@pytest.mark.slow
def test_the_wheel_holds_one_package_and_says_that_it_is_typed(tmp_path: Path) -> None:
    source = copy_of_the_checkout(tmp_path / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"protea_ray"}
    assert "protea_ray/py.typed" in names
    assert "protea_ray/cli/_flags.py" in names
    assert "protea_ray/models/small/model.safetensors" in names


@pytest.mark.slow
def test_an_editable_install_is_a_path_that_type_checkers_follow(tmp_path: Path) -> None:
    source = copy_of_the_checkout(tmp_path / "source")
    code = f"import setuptools.build_meta; setuptools.build_meta.build_editable({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=source, check=False)
    assert done.returncode == 0, done.stderr

    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    (path,) = [name for name in wheel.namelist() if name.endswith(".pth")]
    assert wheel.read(path).decode().strip() == str(source), "an import hook, which pyright does not run"
    assert not [name for name in wheel.namelist() if name.endswith(".py")]
