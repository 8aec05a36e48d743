"""`protea-ray convert-protea`: the run.yaml works, the notes are words, mistakes come at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from protea_ray.config.run import load_fields, run_config
from protea_ray.errors import ConfigError
from protea_ray.exchange.protea_config import convert, read_protea
from tests import commands
from tests.exchange.test_protea_config import RECIPE

ODD = RECIPE | {"layer_agg": "last", "layer_indices": [0, 2], "use_chunking": True}


def test_a_file_becomes_a_run_yaml_and_notes(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(ODD))
    done = commands.run("convert-protea", tmp_path / "c.json", "--out", tmp_path / "run.yaml")
    expected = convert(ODD)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:-1] == list(expected.notes)
    fields = load_fields(str(tmp_path / "run.yaml"), [], {})
    assert fields == expected.config_fields
    (recipe,) = run_config(fields).recipes
    assert (recipe.layers, recipe.max_residues, recipe.on_long, recipe.chunk_mode) == (
        (2,),
        1020,
        "truncate",
        "posthoc",
    )
    assert all(f"# {note}\n" in (tmp_path / "run.yaml").read_text() for note in expected.notes)


def test_without_out_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(RECIPE))
    done = commands.run("convert-protea", tmp_path / "c.json")

    assert yaml.safe_load(done.stdout) == convert(RECIPE).config_fields
    assert "# max_length 1022 counts tokens" in done.stdout


def test_mistakes_are_all_named_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(RECIPE | {"pooling": "median", "max_length": 0}))
    done = commands.run("convert-protea", tmp_path / "c.json", "--out", tmp_path / "run.yaml")

    assert done.returncode == 2
    assert "pooling must be" in done.stderr
    assert "max_length must be" in done.stderr
    assert not (tmp_path / "run.yaml").exists()


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "one JSON object"), ("{", "cannot be read as JSON"), (None, "c.json")]
)
def test_files_that_are_no_config(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_protea(tmp_path / "c.json")
