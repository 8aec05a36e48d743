"""What a place is that holds no checkpoint, and which place to name instead.

People name the folder that they have: the parent of a trainer's checkpoints, an adapter, an entry of the hub's cache,
an export for another program, a file. Each is told by the names in it, so that the error says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from protea_ray.config.known_models import KNOWN, nearest_name

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PUBLISHED = tuple(known.hub_id for known in KNOWN)

_EXPORTS = {  # how a name ends: what the file is
    (".onnx",): "an ONNX export",
    (".gguf", ".ggml"): "a GGUF export",
    (".h5", ".msgpack"): "TensorFlow or Flax weights",
    (".tflite", ".mlmodel", ".engine"): "an export for a device",
}
_STARTS = {  # how a file begins that is not what its name says
    b"version https://git-lfs": "is a pointer of git-lfs, not the file itself; run `git lfs pull` in its repository",
    b"<!doctype": "is a web page, not the file itself; download it again, from the hub's `resolve` address",
    b"<html": "is a web page, not the file itself; download it again, from the hub's `resolve` address",
    b"pk\x03\x04": "is a pickle of PyTorch under another name; save it as safetensors with save_pretrained()",
    b"\x80\x02": "is a pickle under another name; save it as safetensors with save_pretrained()",
}


def disguise(path: Path) -> str | None:
    """In words, what a file is that is empty, a pointer, a web page or a pickle; None for any other content."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not path.stat().st_size:
        return "is empty (0 bytes); download or copy it again"
    return next((what for begin, what in _STARTS.items() if start.startswith(begin)), None)


def adapter_advice(directory: Path) -> str | None:
    """What to do with a directory of PEFT, which has weights to add to another model; None if it is none."""
    if not (directory / ADAPTER).is_file():
        return None
    try:
        content = json.loads((directory / ADAPTER).read_text(encoding="utf-8"))
        kind, base = content.get("peft_type"), content.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        kind = base = None
    named = {"LORA": "a LoRA adapter", "IA3": "an IA3 adapter"}.get(str(kind).upper(), "an adapter")
    return (
        f"{directory} is {named} of {base or 'another model'} ({ADAPTER} is there), not a whole model. Merge it "
        "(peft: PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(NEW)), copy the "
        "tokenizer's files of the base model there, and name that directory."
    )


def without_config(directory: Path) -> str:
    """Why a directory without config.json is no checkpoint, and what may have been meant."""
    names = sorted(path.name for path in directory.iterdir())
    if not names:
        return f"{directory} is empty; name a directory that holds config.json and {SINGLE}"
    start = f"{directory} has no config.json, so it is not a model's directory"
    if advice := _of_the_hub(directory, names) or _whole_below(directory, names) or _of_a_trainer(directory, names):
        return f"{start}: {advice}"
    if export := _export(names):
        return f"{start}: it holds {export}. Name the checkpoint of transformers that was exported."
    if weights := [name for name in names if name.endswith((".safetensors", *PICKLES))]:
        return (
            f"{start}. It has {weights[0]}: copy config.json and the tokenizer's files of the model that it was made "
            "from beside it."
        )
    return f"{start}. Name one that holds config.json and {SINGLE}."


def without_weights(directory: Path) -> str:
    """Why a directory with config.json has no weights that can be read, and how to get some."""
    names = sorted(path.name for path in directory.iterdir())
    if advice := _of_a_trainer(directory, names):
        return f"{directory} has no {SINGLE}: {advice}"
    if pickles := [name for name in names if name.endswith(PICKLES)]:
        return (
            f"{directory} has its weights as pickles only ({', '.join(pickles[:3])}), and a pickle can run "
            "any code when it is opened. If you trust its source, convert it once: "
            'python -c "from transformers import AutoModel; '
            "AutoModel.from_pretrained('OLD').save_pretrained('NEW')\", copy the tokenizer's files too, "
            "and name the new directory."
        )
    if export := _export(names):
        return f"{directory} has no {SINGLE}: it holds {export}. Name the checkpoint that was exported or converted."
    other = [name for name in names if name.endswith(".safetensors")]
    hint = f" It has {', '.join(other[:3])}; rename the file if it is the model." if other else ""
    if not other and (below := _whole_below(directory, names)):
        hint = f" But {below}"
    return f"{directory} has no weights: neither {SINGLE} nor {INDEX} is there.{hint}"


def file_in_place_of_directory(path: Path) -> str:
    """What to name instead of a file."""
    if path.name == ADAPTER:
        return f"{path} is a file; {adapter_advice(path.parent)}"
    if (path.parent / "config.json").is_file():
        return f"{path} is a file; name its folder, {path.parent}"
    if path.name.endswith(PICKLES):
        return (
            f"{path} is a file, and a pickle. Name a directory that transformers' save_pretrained() wrote: "
            f"config.json, {SINGLE} and the tokenizer's files."
        )
    if export := _export([path.name]):
        return f"{path} is {export}. Name the directory of the checkpoint that was exported: config.json and {SINGLE}."
    return f"{path} is a file; name the directory that holds config.json and {SINGLE}"


def close_name(model: str) -> str:
    """A published model that a hub id may be a typing error of, as a question; empty text if none is like it."""
    names = {name.lower(): name for name in PUBLISHED}
    names |= {name.lower().split("/")[1]: name for name in PUBLISHED}
    like = get_close_matches(model.lower(), [n for n in names if names[n] != model], n=1, cutoff=0.85)
    return f" Did you mean {names[like[0]]}?" if like and model not in PUBLISHED else ""


def no_name(model: str) -> str:
    """Why a name without a slash is no model, and which known one may have been meant."""
    near = nearest_name(model)
    meant = close_name(model) or (f" Did you mean {near}?" if near else "")
    return (
        f"{model!r} is neither a directory nor a hub id (owner/name) nor a known name; `protea-ray models` lists "
        f"those.{meant}"
    )


def _of_the_hub(directory: Path, names: Sequence[str]) -> str | None:
    if {"refs", "snapshots"} & {*names} and directory.name.startswith("models--"):
        model = directory.name.removeprefix("models--").replace("--", "/", 1)
        commits = sorted(path.name for path in (directory / "snapshots").glob("*"))
        inside = f", or the folder snapshots/{commits[-1]} in it" if commits else ""
        return f"it is the hub's cache of {model}. Name {model}{inside}."
    models = [n.removeprefix("models--").replace("--", "/", 1) for n in names if n.startswith("models--")]
    return f"it is the hub's cache. Name one of its models: {', '.join(models[:5])}." if models else None


def _whole_below(directory: Path, names: Sequence[str]) -> str | None:
    whole = [name for name in names if (directory / name / "config.json").is_file()]
    if whole:
        return f"the checkpoints are in folders of it. Name one of them: {directory / max(whole, key=_order)} " + (
            f"({len(whole)} are there: {', '.join(sorted(whole, key=_order)[-5:])})." if whole[1:] else "is there."
        )
    adapters = [name for name in names if (directory / name / ADAPTER).is_file()]
    return adapter_advice(directory / adapters[-1]) if adapters else None


def _order(name: str) -> tuple[int, str]:
    """checkpoint-500 before checkpoint-1000."""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1, name


def _of_a_trainer(directory: Path, names: Sequence[str]) -> str | None:
    if "zero_to_fp32.py" in names or any(name.startswith("global_step") for name in names):
        return (
            "its weights are shards of DeepSpeed. Gather them (python zero_to_fp32.py . NEW --safe_serialization), and "
            "put config.json and the tokenizer's files there."
        )
    folders = [directory, *(directory / n for n in names if n.startswith("pytorch_model_fsdp"))]
    if any(True for folder in folders for _ in folder.glob("*.distcp")):
        return (
            "its weights are shards of FSDP. Gather them (accelerate merge-weights FOLDER NEW), and put config.json "
            "and the tokenizer's files there."
        )
    if lightning := [name for name in names if name.endswith(".ckpt")]:
        return (
            f"{lightning[-1]} is a checkpoint of Lightning, a pickle. Load it in the program that trained it "
            "(load_from_checkpoint), and save the model inside with save_pretrained() and its tokenizer."
        )
    return None


def _export(names: Sequence[str]) -> str | None:
    for endings, what in _EXPORTS.items():
        if held := [name for name in names if name.endswith(endings)]:
            return f"{what} ({held[0]})"
    return None
