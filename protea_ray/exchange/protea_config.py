"""Embedding configs of PROTEA: their ids, and the same recipe in this package's words.

PROTEA (https://github.com/frapercan/PROTEA) names a recipe by a uuid5 over twelve fields. Most of them mean the
same here; where they do not, `convert` keeps the numbers that PROTEA's code computes and says in words what the
field is called here and what would be better. Nothing is changed without a note.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protea_ray.config.recipe import embedding_config
from protea_ray.errors import ConfigError

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://protea/embedding-config")
IDENTITY = (
    "chunk_overlap", "chunk_size", "embedding_scale", "layer_agg", "layer_indices", "max_length", "model_backend",
    "model_name", "normalize", "normalize_residues", "pooling", "use_chunking",
)  # fmt: skip

_DEFAULTS = {  # what PROTEA's API fills in; the five fields without a default are required there too
    "chunk_overlap": 0, "chunk_size": 512, "embedding_scale": 1.0, "max_length": 1022, "normalize": True,
    "normalize_residues": False, "use_chunking": False,
}  # fmt: skip
_RECORD = {"id", "description", "created_at"}  # columns of its table that are no part of the recipe
_FAMILIES = {"esm": "esm2", "auto": "esm2", "esm3c": "esmc", "t5": "t5", "ankh": "ankh"}
_SPECIALS = {"esm2": 2, "esmc": 0, "t5": 1, "ankh": 1}  # tokens of max_length that are no residues
_SDK_MODELS = {
    "esmc_300m": "biohub/ESMC-300M", "esmc-300m-2024-12": "biohub/ESMC-300M",
    "esmc_600m": "biohub/ESMC-600M", "esmc-600m-2024-12": "biohub/ESMC-600M",
}  # fmt: skip


@dataclass(frozen=True)
class Converted:
    """A recipe for `EmbeddingConfig(**config_fields)`, and one note for each field that means something else."""

    config_fields: dict[str, Any]
    notes: tuple[str, ...]


def protea_config_id(identity: Mapping[str, Any]) -> str:
    """PROTEA's id of a recipe: uuid5 over the sorted, compact JSON of its twelve identity fields.

    Other keys are left out, as PROTEA does. Raises ConfigError that lists every field that is missing or is not of
    its kind: an id made from defaults would name a recipe that nobody described.
    """
    problems = _mistyped(identity)
    if problems:
        raise ConfigError(problems, where="PROTEA embedding config")
    recipe = {field: identity[field] for field in IDENTITY}
    recipe["embedding_scale"] = float(recipe["embedding_scale"])  # 1.0 and 1 are different JSON
    return str(uuid.uuid5(NAMESPACE, json.dumps(recipe, sort_keys=True, separators=(",", ":"))))


def read_protea(path: str | Path) -> dict[str, Any]:
    """Read the JSON object of a file; raises ConfigError when it cannot be read or is something else."""
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read as JSON: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise ConfigError("must be one JSON object, an embedding config as PROTEA exports it", where=str(path))
    return config


def convert(protea_json: Mapping[str, Any]) -> Converted:
    """This package's recipe for a PROTEA embedding config; raises ConfigError with everything that cannot be kept.

    The result computes what PROTEA's code computes (one truncated forward pass, chunks cut afterwards), up to the
    differences that the notes name.
    """
    recipe = _DEFAULTS | dict(protea_json)
    problems = _mistyped(recipe)
    if not problems:
        problems = _unsupported(recipe)
    if problems:
        raise ConfigError(problems, where="PROTEA embedding config")
    fields, notes = _fields(recipe), _notes(recipe)
    embedding_config(fields, where="PROTEA embedding config, converted")
    return Converted(fields, tuple(notes))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_name": (_is_name, "a model's name"),
    "model_backend": (_is_name, f"one of {', '.join(_FAMILIES)}"),
    "layer_indices": (
        lambda v: isinstance(v, list) and bool(v) and all(_is_count(i) and i >= 0 for i in v),
        "a list of layers counted from the end, as in [0]",
    ),
    "layer_agg": (lambda v: v in ("mean", "last", "concat"), "mean, last or concat"),
    "pooling": (lambda v: v in ("mean", "max", "cls", "mean_max"), "mean, max, cls or mean_max"),
    "normalize": (lambda v: isinstance(v, bool), "true or false"),
    "normalize_residues": (lambda v: isinstance(v, bool), "true or false"),
    "use_chunking": (lambda v: isinstance(v, bool), "true or false"),
    "max_length": (lambda v: _is_count(v) and v > 0, "a positive number of tokens"),
    "chunk_size": (lambda v: _is_count(v) and v > 0, "a positive number of residues"),
    "chunk_overlap": (lambda v: _is_count(v) and v >= 0, "a number of residues, 0 or more"),
    "embedding_scale": (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"),
}


def _mistyped(recipe: Mapping[str, Any]) -> list[str]:
    """One sentence for each identity field that is missing or is not of its kind."""
    return [
        f"{field} must be {wanted} (got {recipe[field]!r})" if field in recipe else f"{field} is missing: {wanted}"
        for field, (accepts, wanted) in _RULES.items()
        if field not in recipe or not _accepts(accepts, recipe[field])
    ]


def _accepts(rule: Callable[[Any], bool], value: Any) -> bool:
    try:
        return rule(value)
    except TypeError:  # an unhashable or incomparable value where a word is due
        return False


def _unsupported(recipe: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that a well-formed recipe asks for and that has no counterpart here."""
    problems = []
    backend, family = recipe["model_backend"], _FAMILIES.get(recipe["model_backend"])
    if family is None:
        problems.append(f"model_backend {backend!r} has no family here; supported: {', '.join(_FAMILIES)}")
    elif recipe["pooling"] == "cls" and family in ("t5", "ankh"):
        problems.append(
            f"pooling cls with {backend}: the model has no CLS token, PROTEA takes the first token's vector "
            "(a residue, or the prefix). Use mean."
        )
    elif recipe["max_length"] <= _specials(recipe):
        problems.append(f"max_length {recipe['max_length']} leaves no room for a residue beside the special tokens")
    if recipe["embedding_scale"] != 1.0:
        problems.append(
            f"embedding_scale {recipe['embedding_scale']}: vectors are not divided here. It served to fit float16; "
            "leave it at 1.0 and use store_dtype float32."
        )
    if recipe["chunk_overlap"] >= recipe["chunk_size"]:
        problems.append(f"chunk_overlap {recipe['chunk_overlap']} must be below chunk_size {recipe['chunk_size']}")
    return problems


def _is_prostt5(recipe: Mapping[str, Any]) -> bool:
    return recipe["model_backend"] == "t5" and "prostt5" in recipe["model_name"].lower()


def _specials(recipe: Mapping[str, Any]) -> int:
    """Number of special tokens that PROTEA counts in max_length: ProstT5 has its prefix too, ESM-C counts letters."""
    return _SPECIALS[_FAMILIES[recipe["model_backend"]]] + _is_prostt5(recipe)


def _layers(recipe: Mapping[str, Any]) -> list[int]:
    layers = sorted(set(recipe["layer_indices"]))
    return layers[-1:] if recipe["layer_agg"] == "last" else layers


def _fields(recipe: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": _SDK_MODELS.get(recipe["model_name"], recipe["model_name"]),
        "family": _FAMILIES[recipe["model_backend"]],
        "layers": _layers(recipe),
        "layer_agg": "mean" if recipe["layer_agg"] == "last" else recipe["layer_agg"],
        "pooling": [recipe["pooling"]],
        "normalize": recipe["normalize"],
        "normalize_residues": recipe["normalize_residues"],
        "max_residues": recipe["max_length"] - _specials(recipe),
        "on_long": "truncate",
    }
    if recipe["use_chunking"]:
        fields |= {
            "chunk_size": recipe["chunk_size"],
            "chunk_overlap": recipe["chunk_overlap"],
            "chunk_mode": "posthoc",
        }
    return fields


def _notes(recipe: Mapping[str, Any]) -> list[str]:
    """One or two sentences for each field that means something else here."""
    candidates = (_length_note, _last_note, _chunk_note, _backend_note, _letter_note, _id_note, _extra_note)
    return [note for candidate in candidates if (note := candidate(recipe))]


def _length_note(recipe: Mapping[str, Any]) -> str:
    length, seen = recipe["max_length"], recipe["max_length"] - _specials(recipe)
    counted = f"counts tokens with the special ones, so PROTEA sees {seen} residues" if seen < length else "is residues"
    return (
        f"max_length {length} {counted}: max_residues={seen}, on_long=truncate. A protein that is cut says so "
        "(truncated, n_residues_seen); on_long=window would embed all of it."
    )


def _last_note(recipe: Mapping[str, Any]) -> str:
    layers = sorted(set(recipe["layer_indices"]))
    if recipe["layer_agg"] != "last":
        return ""
    if len(layers) == 1:
        return f"layer_agg=last over the single layer {layers[0]} is that layer: layers={layers}."
    return (
        f"layer_agg=last over {layers} takes reverse index {layers[-1]} in PROTEA's code, the shallowest layer, and is "
        f"kept as layers=[{layers[-1]}]. Here `last` means the layer nearest the output; if that was meant, use "
        f"layers=[{layers[0]}]."
    )


def _chunk_note(recipe: Mapping[str, Any]) -> str:
    if not recipe["use_chunking"]:
        return ""
    return (
        "use_chunking cuts the residue matrix after one truncated forward pass: chunk_mode=posthoc, same spans. "
        "chunk_mode=independent runs each chunk on its own, with bounded memory and other vectors."
    )


def _backend_note(recipe: Mapping[str, Any]) -> str:
    backend, name = recipe["model_backend"], recipe["model_name"]
    if backend == "auto":
        return "model_backend auto means ESM-2 in PROTEA: family=esm2. Here auto reads the checkpoint itself."
    if backend == "esm3c":
        renamed = f"{name} is {_SDK_MODELS[name]} here. " if name in _SDK_MODELS else ""
        return (
            f"{renamed}layer 0 of ESM-C is taken after the final norm here and before it in the ESM SDK that PROTEA "
            "uses, so its vectors differ; deeper layers agree up to precision (float16 there, bfloat16 here)."
        )
    if backend == "t5":
        return "ProstT5 is recognised by its vocabulary here, by its name in PROTEA." if _is_prostt5(recipe) else ""
    return ""


def _letter_note(recipe: Mapping[str, Any]) -> str:
    read = "an unknown token" if _FAMILIES[recipe["model_backend"]] != "esm2" else "an unknown token, runs of it as one"
    return f"The letter J is read as X here; PROTEA's tokenizers read {read}. Proteins without J are not affected."


def _id_note(recipe: Mapping[str, Any]) -> str:
    derived = protea_config_id(recipe)
    if recipe.get("id") in (None, derived):
        return ""
    return f"id {recipe['id']} was assigned, not derived; the id of this recipe is {derived}."


def _extra_note(recipe: Mapping[str, Any]) -> str:
    extra = sorted(set(recipe) - set(IDENTITY) - _RECORD)
    return f"Not part of a recipe, left out: {', '.join(extra)}." if extra else ""
