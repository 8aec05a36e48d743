"""What people name in place of a checkpoint's directory, and files that are not what their names say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.misnamed import close_name
from protea_ray.testing.random_checkpoint import build
from tests.models.conftest import refused, write


def folder(place: Path, *files: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x")
    return place


def adapter(place: Path, **content: str) -> Path:
    (folder(place) / "adapter_config.json").write_text(json.dumps(content))
    return place


# --- adapters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"peft_type": "LORA", "base_model_name_or_path": "biohub/ESMC-600M"}, "a LoRA adapter of biohub/ESMC-600M"),
        ({"peft_type": "IA3", "base_model_name_or_path": "/runs/base"}, "an IA3 adapter of /runs/base"),
        ({"peft_type": "VERA"}, "an adapter of another model"),
    ],
)
def test_an_adapter_is_named_with_its_base(content: dict[str, str], words: str, tmp_path: Path) -> None:
    alone = adapter(tmp_path / "alone", **content)
    refused(alone, words, "merge_and_unload", "tokenizer's files")
    refused(adapter(write(tmp_path / "beside"), **content), words)
    named = refused(alone / "adapter_config.json", words)
    assert "is a file" in named
    (alone / "adapter_config.json").write_text("[")
    refused(alone, "an adapter of another model")


def test_an_adapter_below_the_folder_of_a_trainer(tmp_path: Path) -> None:
    adapter(tmp_path / "out" / "checkpoint-30", peft_type="LORA", base_model_name_or_path="lab/base")
    refused(tmp_path / "out", "checkpoint-30 is a LoRA adapter of lab/base")


# --- places ---------------------------------------------------------------------------------------------------------


def test_the_parent_of_checkpoints_names_the_last_one(tmp_path: Path) -> None:
    for step in (90, 1000, 200):
        write(tmp_path / "runs" / f"checkpoint-{step}")
    message = refused(tmp_path / "runs", f"{tmp_path}/runs/checkpoint-1000", "3 are there")
    assert "checkpoint-90, checkpoint-200, checkpoint-1000" in message
    refused(folder(write(tmp_path / "one" / "0_Transformer").parent, "modules.json"), "0_Transformer is there")
    assert open_checkpoint(str(tmp_path / "runs" / "checkpoint-90")).facts.n_layers == 3


def test_an_entry_of_the_hubs_cache(tmp_path: Path) -> None:
    entry = tmp_path / "hub" / "models--lab--tuned-model"
    write(entry / "snapshots" / ("c" * 40))
    refused(entry, "cache of lab/tuned-model", "snapshots/" + "c" * 40)
    refused(entry.parent, "one of its models: lab/tuned-model")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["model.onnx", "ort_config.json"], ["an ONNX export (model.onnx)"]),
        (["esm2.Q4_K.gguf"], ["a GGUF export"]),
        (["flax_model.msgpack"], ["TensorFlow or Flax"]),
        (["zero_to_fp32.py", "global_step7/x.pt"], ["DeepSpeed", "zero_to_fp32.py . NEW"]),
        (["pytorch_model_fsdp_0/__0_0.distcp"], ["FSDP", "merge-weights"]),
        (["__0_0.distcp", ".metadata"], ["FSDP"]),
        (["epoch=1-step=10.ckpt"], ["epoch=1-step=10.ckpt", "Lightning"]),
    ],
)
def test_a_folder_of_another_program(files: list[str], words: list[str], tmp_path: Path) -> None:
    """The same with config.json beside it: it is the weights that are missing."""
    refused(folder(tmp_path / "other", *files), "no config.json", *words)
    whole = write(tmp_path / "with_config")
    (whole / "model.safetensors").unlink()
    refused(folder(whole, *files), "no model.safetensors", *words)


def test_a_folder_that_lacks_what_lies_elsewhere(tmp_path: Path) -> None:
    refused(folder(tmp_path / "empty"), "is empty")
    refused(folder(tmp_path / "weights", "model.safetensors"), "copy config.json", "model.safetensors")
    refused(folder(tmp_path / "notes", "readme.txt"), "no config.json")
    nested = write(tmp_path / "outer" / "inner").parent
    for name in ("config.json", "vocab.txt"):
        shutil.copy(nested / "inner" / name, nested)
    refused(nested, "no weights", str(nested / "inner"))


def test_a_file_names_its_folder(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole")
    refused(whole / "model.safetensors", f"name its folder, {whole}")
    loose = folder(tmp_path / "loose", "esm2_t6_8M_UR50D.pt", "a.gguf", "b.txt")
    refused(loose / "esm2_t6_8M_UR50D.pt", "a pickle", "save_pretrained")
    refused(loose / "a.gguf", "a GGUF export")
    refused(loose / "b.txt", "name the directory")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("esm2_t33_650M_UR50", "facebook/esm2_t33_650M_UR50D"),
        ("facebook/esm2_t6_8m_ur50d", "facebook/esm2_t6_8M_UR50D"),
        ("rostlab/ProtT5_xl_uniref50", "Rostlab/prot_t5_xl_uniref50"),
        ("ankh-large", "ElnaggarLab/ankh-large"),
        ("facebook/esm2_t6_8M_UR50D", None),
        ("lab/nothing-like-it", None),
    ],
)
def test_a_typing_error_of_a_hub_id(given: str, meant: str | None) -> None:
    assert close_name(given) == (f" Did you mean {meant}?" if meant else "")


# --- files ----------------------------------------------------------------------------------------------------------

DISGUISES = {
    "empty": (b"", "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "git lfs pull"),
    "page": (b"\n<!DOCTYPE HTML><title>401</title>", "web page"),
    "pickle": (b"\x80\x02}q\x00.", "pickle"),
}


@pytest.mark.parametrize("name", DISGUISES)
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_file_that_is_not_what_its_name_says(file: str, name: str, tmp_path: Path) -> None:
    content, words = DISGUISES[name]
    place = write(tmp_path / "copied")
    (place / file).write_bytes(content)
    refused(place, str(place / file), words)


def test_weights_that_torch_saved_under_the_name_of_safetensors(tmp_path: Path) -> None:
    place = write(tmp_path / "renamed")
    torch.save({"a": torch.ones(2)}, place / "model.safetensors")
    refused(place, "a pickle of PyTorch")


# --- the tokenizer's files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "file", "words"),
    [
        ("esm2", "vocab.txt", ["vocab.txt", "facebook/esm2"]),
        ("prostt5", "spiece.model", ["spiece.model", "Rostlab/ProstT5", "lab/base"]),
        ("ankh", "tokenizer.json", ["tokenizer.json", "ElnaggarLab/ankh-base"]),
    ],
)
def test_no_vocabulary(kind: str, file: str, words: list[str], tmp_path: Path) -> None:
    place = build(kind, tmp_path / kind, layers=1)
    for name in (file, "tokenizer_config.json", "added_tokens.json"):
        (place / name).unlink(missing_ok=True)
    config = json.loads((place / "config.json").read_text()) | {"_name_or_path": "lab/base"}
    (place / "config.json").write_text(json.dumps(config))
    assert "not esm2" not in refused(place, "no tokenizer's files", *words)


def test_an_esmc_needs_none(tmp_path: Path) -> None:
    place = build("esmc", tmp_path / "esmc", layers=1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).unlink()
    assert open_checkpoint(str(place)).facts.family == "esmc"


@pytest.mark.parametrize("kind", ["esm2", "esmc", "t5", "prostt5"])
def test_a_tokenizer_that_was_saved_again_and_is_right(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from protea_ray.models.checkpoint import read_config
    from protea_ray.models.families import recognise

    first = build(kind, tmp_path / "first", layers=1)
    again = Path(shutil.copytree(first, tmp_path / "again"))
    for name in ("spiece.model", "vocab.txt", "tokenizer.json", "added_tokens.json"):
        (again / name).unlink(missing_ok=True)
    AutoTokenizer.from_pretrained(first).save_pretrained(again)

    open_checkpoint(str(again))

    for name in ("aa", "3di") if kind == "prostt5" else ("aa",):
        one, other = (recognise(read_config(p), p).alphabet(p, name) for p in (first, again))
        assert (one.table == other.table).all()
        assert (one.before, one.after) == (other.before, other.after)


def test_a_tokenizer_that_was_rebuilt_wrongly(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    place = build("ankh", tmp_path / "ankh", layers=1)
    open_checkpoint(str(place))
    AutoTokenizer.from_pretrained(place).save_pretrained(place)
    refused(place, "tokenizer is not the published one", "Copy tokenizer.json from ElnaggarLab/ankh-base")


def test_a_tokenizer_that_cannot_be_read(tmp_path: Path) -> None:
    """It has a vocabulary that is right, in a file of a structure that nobody reads."""
    place = write(tmp_path / "odd")
    tokens = (place / "vocab.txt").read_text().split()
    (place / "vocab.txt").unlink()
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {t: i for i, t in enumerate(tokens)}}}))
    refused(place, "tokenizer is not the published one", "vocab.txt")
