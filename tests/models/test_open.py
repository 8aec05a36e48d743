"""Opening a checkpoint: which directory, which commit, which digests, and what is refused before anything loads."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from protea_ray.errors import CheckpointError
from protea_ray.models import checkpoint as module
from protea_ray.models.checkpoint import config_digest, open_checkpoint
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.models.conftest import CONFIG, write

SHA = "0123456789abcdef0123456789abcdef01234567"


def test_a_directory(checkpoint: Path):
    opened = open_checkpoint(str(checkpoint))
    assert opened.path == checkpoint
    assert opened.model == str(checkpoint)
    assert opened.revision is None
    assert opened.trained is True
    assert (opened.facts.family, opened.facts.n_layers, opened.facts.trained_length) == ("esm2", 3, 1022)
    assert (opened.shape.hidden, opened.shape.heads, opened.shape.ffn) == (8, 2, 32)
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert opened.files["model.safetensors"] == weights
    assert set(opened.files) == {"model.safetensors", "config", "vocabulary"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_with_its_published_layout(tmp_path: Path, family: str):
    opened = open_checkpoint(str(build(family, tmp_path / family)))
    assert opened.facts.family == {"prostt5": "t5"}.get(family, family)
    assert opened.facts.n_layers == 3


def test_no_name_is_the_default():
    unnamed = open_checkpoint(None)
    assert unnamed == open_checkpoint(DEFAULT_MODEL)
    assert unnamed.model == DEFAULT_MODEL


def test_the_untrained_model_by_its_name():
    named = open_checkpoint("untrained-esm2-8m")
    assert named.model == "untrained-esm2-8m"
    assert named.trained is False
    shape = named.shape
    assert (shape.layers, shape.hidden, shape.heads, shape.head_dim, shape.ffn) == (6, 320, 20, 16, 1280)


def test_a_copy_of_the_untrained_model_stays_untrained(tmp_path: Path):
    import shutil

    copied = shutil.copytree(open_checkpoint(MODEL_NAME).path, tmp_path / "mine")
    assert open_checkpoint(str(copied)).trained is False


def test_opening_imports_no_framework():
    code = (
        "import sys; from protea_ray.models.checkpoint import open_checkpoint; open_checkpoint(None); "
        "print([m for m in ('torch', 'transformers', 'ray', 'lance') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BOOKKEEPING = {
    "transformers_version": "9.9", "_name_or_path": "somewhere", "architectures": ["EsmForMaskedLM"],
    "torch_dtype": "float16", "use_cache": False, "vocab_list": None, "hidden_dropout_prob": 0.1,
    "classifier_dropout": 0.3, "id2label": {"0": "a"},
}  # fmt: skip


def test_bookkeeping_does_not_change_the_digest(tmp_path: Path):
    plain = open_checkpoint(str(write(tmp_path / "a")))
    other = write(tmp_path / "b", **BOOKKEEPING)
    text = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(dict(sorted(text.items(), reverse=True)), indent=7))
    (other / "vocab.txt").write_text((other / "vocab.txt").read_text() + "\n")
    assert open_checkpoint(str(other)).files == plain.files


@pytest.mark.parametrize(
    "change",
    [{"token_dropout": False}, {"layer_norm_eps": 1e-12}, {"hidden_act": "relu"}, {"mask_token_id": 31}, {"new": 1}],
)
def test_what_changes_numbers_changes_the_digest(change: dict):
    assert config_digest(CONFIG | change) != config_digest(CONFIG)


def test_the_vocabulary_is_named_by_its_ids(tmp_path: Path):
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    tokens = (other / "vocab.txt").read_text().split()
    tokens[4], tokens[5] = tokens[5], tokens[4]
    (other / "vocab.txt").write_text("\n".join(tokens))
    ours, theirs = open_checkpoint(str(one)).files, open_checkpoint(str(other)).files
    assert ours["vocabulary"] != theirs["vocabulary"]
    assert ours["config"] == theirs["config"]


def refused(model: str, *words: str, **options: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(model, **options)
    for word in words:
        assert word in str(caught.value)


def test_a_directory_that_is_not_there(tmp_path: Path):
    refused(str(tmp_path / "nothing"), "no directory", "nothing")
    refused("./nothing", "no directory")


def test_a_file_in_place_of_a_directory(checkpoint: Path):
    refused(str(checkpoint / "model.safetensors"), "is a file")


def test_a_directory_has_no_revision(checkpoint: Path):
    refused(str(checkpoint), "Drop the revision", revision=SHA)


def test_a_directory_without_config(checkpoint: Path):
    (checkpoint / "config.json").unlink()
    refused(str(checkpoint), "no config.json")


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_config_that_is_none(checkpoint: Path, text: str):
    (checkpoint / "config.json").write_text(text)
    refused(str(checkpoint), "config.json", "again")


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"])
@pytest.mark.parametrize("value", [None, "many", 0])
def test_a_config_with_a_field_that_is_wrong(tmp_path: Path, field: str, value: object):
    refused(str(write(tmp_path / "odd", **{field: value})), "config.json")


def test_an_adapter_beside_the_weights(checkpoint: Path):
    (checkpoint / "adapter_config.json").write_text("{}")
    refused(str(checkpoint), "adapter", "merge")


def test_a_config_that_points_elsewhere(tmp_path: Path):
    refused(str(write(tmp_path / "a", transformers_weights="x.safetensors")), "transformers_weights")


def test_a_quantised_checkpoint(tmp_path: Path):
    config = {"quant_method": "bitsandbytes"}
    refused(str(write(tmp_path / "a", quantization_config=config)), "quantised already")


def test_another_family_than_asked_for(checkpoint: Path):
    refused(str(checkpoint), "t5", family="t5")


def test_weights_of_another_size_than_the_config(tmp_path: Path):
    refused(str(write(tmp_path / "a", num_hidden_layers=4)), "says 4")


# --- the hub -----------------------------------------------------------------------------------------------------


def hub_cache(home: Path, model: str, source: Path, sha: str = SHA) -> Path:
    """A cache as huggingface_hub lays it out after a download."""
    repo = home / "hub" / f"models--{model.replace('/', '--')}"
    snapshot = repo / "snapshots" / sha
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(sha)
    for file in source.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    return snapshot


OPEN = """
import sys
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.errors import CheckpointError
try:
    found = open_checkpoint(sys.argv[1], sys.argv[2] or None)
    print(found.revision, found.path, found.model)
except CheckpointError as error:
    print("refused:", error)
"""


def opened_offline(home: Path, model: str, revision: str = "") -> str:
    """A process of its own: huggingface_hub reads HF_HOME and HF_HUB_OFFLINE when it is imported."""
    env = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_canary_secret"}
    env.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", OPEN, model, revision]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "hf_canary_secret" not in done.stdout + done.stderr
    return done.stdout.strip()


def test_offline_serves_the_cached_commit(tmp_path: Path, checkpoint: Path):
    snapshot = hub_cache(tmp_path, "lab/tiny", checkpoint)
    assert opened_offline(tmp_path, "lab/tiny") == f"{SHA} {snapshot} lab/tiny"
    assert opened_offline(tmp_path, "lab/tiny", SHA) == f"{SHA} {snapshot} lab/tiny"


def test_offline_without_that_commit(tmp_path: Path, checkpoint: Path):
    hub_cache(tmp_path, "lab/tiny", checkpoint)
    message = opened_offline(tmp_path, "lab/tiny", "f" * 40)
    assert message.startswith("refused:")
    assert "f" * 40 in message
    assert "HF_HUB_OFFLINE" in message
    assert "no --model" in message


def test_a_hub_model_of_pickles(tmp_path: Path, checkpoint: Path):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    hub_cache(tmp_path, "lab/pickled", checkpoint)
    message = opened_offline(tmp_path, "lab/pickled")
    assert "lab/pickled" in message
    assert "safetensors" in message


class Hub:
    """Stands in for the hub: answers with a snapshot, or with the error it is given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: dict = {}

    def __call__(self, repo_id: str, **options: object) -> str:
        self.asked = {"repo_id": repo_id, **options}
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def online(monkeypatch: pytest.MonkeyPatch, answer: object) -> Hub:
    import huggingface_hub

    hub = Hub(answer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return hub


def test_a_download_is_pinned_and_takes_no_pickle(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    from fnmatch import fnmatch

    hub = online(monkeypatch, hub_cache(tmp_path, "lab/tiny", checkpoint))
    assert open_checkpoint("lab/tiny").revision == SHA
    patterns = hub.asked["allow_patterns"]
    wanted = ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "spiece.model", "vocab.txt")
    refused_names = ("pytorch_model.bin", "modeling.py", "onnx/model.safetensors", "tf_model.h5", "model.pt")
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in wanted)
    assert not any(fnmatch(name, pattern) for name in refused_names for pattern in patterns)


def http_error(kind: str, status: int) -> Exception:
    from huggingface_hub import errors

    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return getattr(errors, kind)("Bearer hf_canary_secret", response=response)


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("GatedRepoError", 403, ["gated", "HF_TOKEN"]),
        ("RepositoryNotFoundError", 401, ["no model lab/tiny", "spelling", "HF_TOKEN"]),
        ("RevisionNotFoundError", 404, ["no revision", SHA]),
        ("HfHubHTTPError", 503, ["cannot be fetched", "network", "--model"]),
    ],
)
def test_the_hub_refuses(monkeypatch: pytest.MonkeyPatch, kind: str, status: int, words: list[str]):
    online(monkeypatch, http_error(kind, status))
    refused("lab/tiny", *words, revision=SHA)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("lab/tiny", SHA)
    assert "hf_canary_secret" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow"), OSError(28, "No space left")])
def test_the_network_fails(monkeypatch: pytest.MonkeyPatch, error: Exception):
    online(monkeypatch, error)
    refused("lab/tiny", "cannot be fetched", type(error).__name__, error.strerror or "", "local directory")


@pytest.mark.parametrize("name", ["no good", "a--b", "x" * 200])
def test_a_name_that_is_no_hub_id(name: str):
    refused(name, "neither a directory nor a hub id")


def test_the_hubs_answer_must_be_a_commit(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    online(monkeypatch, hub_cache(tmp_path, "lab/tiny", checkpoint, sha="main"))
    refused("lab/tiny", "no commit")


def test_remote_code_is_never_an_option():
    source = Path(module.__file__).parent
    assert not any("trust_remote_code=True" in file.read_text() for file in source.rglob("*.py"))
