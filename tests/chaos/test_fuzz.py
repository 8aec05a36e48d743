"""Row 15: random configurations. Random inputs are in tests/sequences/test_fuzz.py, and counted here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunOptions, load_fields, run_config
from protea_ray.errors import ConfigError
from tests.chaos.rows import Ledger
from tests.chaos.runs import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.row(15)]
short = pytest.mark.chaos_short

EXAMPLES = 150
BOUNDED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = [*EmbeddingConfig.model_fields, *(f"run.{n}" for n in RunOptions.model_fields), "recipes", "run", "nonsense"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
KEYS = st.text(max_size=10) | st.integers() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


def loads(path: str | None, assignments: list[str], fields: dict[str, object]) -> None:
    """A configuration, or one ConfigError that says what is wrong."""
    try:
        run_config(load_fields(path, assignments, fields))
    except ConfigError as error:
        assert str(error)


@short
@BOUNDED
@given(text=st.text(max_size=300) | st.binary(max_size=300))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    loads(str(path), [], {})


@short
@BOUNDED
@given(fields=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), VALUES, max_size=6))
def test_any_values_of_known_and_unknown_fields(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "run.yaml"
    path.write_text(yaml.safe_dump(fields))
    loads(str(path), [], {})


@short
@BOUNDED
@given(st.lists(st.builds("{}={}".format, st.sampled_from(NAMES) | st.text(max_size=10), st.text(max_size=20))))
def test_any_assignment(assignments: list[str]) -> None:
    loads(None, assignments, {})


@short
def test_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    path, proof = tmp_path / "run.yaml", tmp_path / "ran"
    path.write_text(f"model: !!python/object/apply:os.system ['touch {proof}']\n")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_fields(str(path), [], {})
    assert not proof.exists()


def test_the_readers_fuzz_holds(ledger: Ledger) -> None:
    """Run here as well, in a process of its own, so that the row stands for both halves."""
    with ledger.row(15, "random run.yaml, --set, FASTA, tables and compressed bytes") as row:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/sequences/test_fuzz.py"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        row.times = 3 * EXAMPLES + 5 * 50
