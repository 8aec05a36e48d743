"""A checkpoint that may be used: found, pinned to a commit, whole, of a known family, named by its digests.

`open_checkpoint` runs in the driver before any actor starts and needs no torch, so a wrong checkpoint costs seconds,
not a cluster. What the names of its files, its configuration, the headers of its weights and its tokenizer can tell is
told first; nearly all of the time goes into hashing (see `weights`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from protea_ray.config.identity import canonical_json
from protea_ray.config.known_models import full_name, without_twin
from protea_ray.config.resolution import ModelFacts
from protea_ray.errors import CheckpointError, ProteaRayError
from protea_ray.models.adapters import Adapter, digest_adapter, marked, read_adapter, require_base
from protea_ray.models.families import recognise
from protea_ray.models.families.base import Family, Shape
from protea_ray.models.families.vocabulary import FILES, read_vocabulary
from protea_ray.models.feature_map_fit import require_maps_fit
from protea_ray.models.fit import require_fit
from protea_ray.models.hub import from_hub
from protea_ray.models.misnamed import (
    ADAPTER,
    SINGLE,
    disguise,
    file_in_place_of_directory,
    no_name,
    without_config,
)
from protea_ray.models.shipped import BUILT_IN, DEFAULT_MODEL, built_in
from protea_ray.models.untrained import is_trained
from protea_ray.models.untrained_twin import twin_directory
from protea_ray.models.weights import digest_weights, map_headers, read_headers

# keys of config.json that change no number of a forward pass in evaluation mode
_BOOKKEEPING = {
    "_commit_hash", "_name_or_path", "architectures", "auto_map", "chunk_size_feed_forward", "dtype",
    "finetuning_task", "gradient_checkpointing", "id2label", "initializer_factor", "initializer_range",
    "label2id", "output_attentions", "output_hidden_states", "problem_type", "return_dict",
    "task_specific_params", "torch_dtype", "torchscript", "transformers_version", "use_cache",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """One model on this machine's disk, checked.

    `model` is the name that was asked for, `revision` the 40-hex commit of a hub id (None for a directory).
    `files` maps every weight file to its sha256, and `config` and `vocabulary` to the sha256 of a canonical
    form of each, so that a rewritten file of the same meaning has the same digest. `trained` is False only
    for the built-in untrained model, whose vectors carry no biology. Where `model` is a directory with an `adapter`,
    `path` is its base model, and `files` has those of both.
    """

    model: str
    path: Path
    revision: str | None
    facts: ModelFacts
    shape: Shape
    files: dict[str, str]
    trained: bool
    adapter: Adapter | None = None


def open_checkpoint(model: str | None, revision: str | None = None, family: str = "auto") -> Checkpoint:
    """Find and check a checkpoint: a directory, a hub id, a known or built-in name, or None for the default.

    A hub id is downloaded to the hub's own cache (`HF_HOME`), or served from there when the hub cannot be
    reached. Raises CheckpointError for whatever must not be used, ConfigError for a family that does not fit.
    """
    model = DEFAULT_MODEL if model is None else in_full(model)
    named, commit = locate(model, revision)
    path, adapter = with_base(named)
    config = read_config(path)
    _require_plain_weights(path, config)
    kind = _recognised(path, config, family)
    headers, maps = read_headers(path), map_headers(path)
    tensors, in_maps = ([tensor for held in files.values() for tensor in held] for files in (headers, maps))
    shape = kind.shape(config)
    told = marked(config, adapter.marker) if adapter else config
    named_by = adapter.directory if adapter else path
    facts = _facts(kind, named_by, told, {tensor.name for tensor in (*tensors, *in_maps)}, read_vocabulary(path))
    require_fit(path, tensors, shape, kind.wanted(config))
    if maps:
        require_maps_fit(path, in_maps, kind, config)
    if model not in BUILT_IN:  # the files of a built-in model are what this package wrote
        _require_alphabet(path, kind)
    files = digest_weights({**headers, **maps}) | {
        "config": config_digest(config),
        "vocabulary": vocabulary_digest(path),
    }
    if adapter:
        require_base(adapter, path, files)
        files |= digest_adapter(adapter, kind.wanted(config))
        facts = replace(facts, quantization=adapter.quantization)
    return Checkpoint(model, path, commit, facts, shape, files, is_trained(told), adapter)


def with_base(directory: Path) -> tuple[Path, Adapter | None]:
    """The directory that holds the whole model's files, and the adapter that `directory` adds to it, if any.

    Raises CheckpointError for an adapter of another program, of a base that is not there, and of an adapter.
    """
    adapter = read_adapter(directory)
    if adapter is None:
        return directory, None
    try:
        base, _ = locate(adapter.model, adapter.revision)
    except CheckpointError as error:
        raise CheckpointError(
            f"the base model of {directory} is not here: {error} A base that was moved is named anew as "
            f"base_model_name_or_path in {directory / ADAPTER}; its digests are compared."
        ) from error
    if read_adapter(base):
        raise CheckpointError(f"{directory} is an adapter of the adapter {base}; merge that one, and train on it")
    return base, adapter


def locate(model: str, revision: str | None) -> tuple[Path, str | None]:
    """Directory of the files on this machine, and the commit if they came from the hub; raises CheckpointError.

    An untrained twin is written here if it is not there.
    """
    if (trained := without_twin(model)) != model:
        return _twin(trained, revision)
    here = local_directory(model, revision)
    return (here, None) if here is not None else from_hub(model, revision)


def _twin(model: str, revision: str | None) -> tuple[Path, str | None]:
    """Directory of the untrained twin of `model`, of an adapter's base; a model without training is its own."""
    named, commit = locate(model, revision)
    path, adapter = with_base(named)
    config = read_config(path)
    told = marked(config, adapter.marker) if adapter else config
    if not is_trained(told):
        return path, commit
    _require_plain_weights(path, config)
    return twin_directory(path, told, _recognised(path, config, "auto"), model), commit


def local_directory(model: str, revision: str | None) -> Path | None:
    """The directory that `model` names, None for what can only be a hub id; raises CheckpointError for neither."""
    directory = built_in(model) or Path(model).expanduser()
    if directory.is_dir():
        if revision is not None:
            raise CheckpointError(
                f"revision {revision} was given for the directory {model}, which has none. Drop the "
                "revision; the weights of a directory are pinned by their sha256."
            )
        return directory.absolute()
    if directory.exists():
        raise CheckpointError(file_in_place_of_directory(directory))
    if "/" not in model and not model.startswith((".", "~")):
        raise CheckpointError(no_name(model))
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise CheckpointError(f"there is no directory {model}; name one that holds config.json and {SINGLE}")
    return None


def in_full(model: str) -> str:
    """The hub id of a short name; raises CheckpointError for one that is a directory too."""
    try:
        return full_name(model)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a checkpoint as a mapping; raises CheckpointError when it is missing or is not one."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(without_config(directory)) from None
    except (OSError, ValueError, RecursionError) as error:
        if path.is_file() and (what := disguise(path)):
            raise CheckpointError(f"{path} {what}") from None
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. Download or copy it again.") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object. Download or copy it again.")
    return config


def _require_plain_weights(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError for settings that make a load use something other than the files that are checked."""
    if config.get("transformers_weights"):
        raise CheckpointError(
            f"{directory}/config.json points the load at {config['transformers_weights']!r}. Remove "
            f"`transformers_weights` from it and name the weights {SINGLE}."
        )
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise CheckpointError(
            f"{directory} is quantised already{f' ({method})' if method else ''}. Use the plain checkpoint, and "
            "--quantization to quantise it here."
        )


def _recognised(directory: Path, config: Mapping[str, Any], wanted: str) -> Family:
    """The family of a checkpoint whose config.json has all that is asked of it; raises CheckpointError."""
    for name in FILES:
        if (directory / name).is_file() and (what := disguise(directory / name)):
            raise CheckpointError(f"{directory / name} {what}")
    try:
        family = recognise(config, directory, wanted)
        _facts(family, directory, config)
        family.wanted(config)
        return family
    except ProteaRayError:
        raise
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{directory}/config.json is not complete ({type(error).__name__}: {error}). Download or copy it again."
        ) from error


def _facts(family: Family, directory: Path, config: Mapping[str, Any], *more: Any) -> ModelFacts:
    """The family's facts of a checkpoint; a CheckpointError names the directory."""
    try:
        return family.facts(config, *more)
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: {error}") from None


def _require_alphabet(directory: Path, family: Family) -> None:
    """Raise CheckpointError unless the tokenizer's files spell residue by residue.

    Costs a second, because it imports transformers (without torch); an actor would know it a minute later.
    """
    try:
        family.alphabet(directory)
    except Exception as error:  # whatever the tokenizer's files make transformers or its libraries raise
        why = str(error) if isinstance(error, ProteaRayError) else f"{type(error).__name__}: {error}"
        source = f" from {family.example}" if family.example else ""
        raise CheckpointError(
            f"{directory}: its tokenizer is not the published one: {why[:500]}. Copy {family.tokenizer_file}{source} "
            "over it; a tokenizer that was saved again may have been rebuilt (transformers 5 does so with Ankh's)."
        ) from error


def logit_tokens(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The token of each column of the checkpoint's logits, in the order of ids; empty text where an id has no token."""
    family = recognise(read_config(checkpoint.path), checkpoint.path, checkpoint.facts.family)
    return family.tokens(checkpoint.path, checkpoint.shape.vocabulary)


def mask_token(directory: Path) -> int:
    """Id of `<mask>`; raises CheckpointError for a vocabulary without it."""
    found = read_vocabulary(directory).get("<mask>", read_config(directory).get("mask_token_id"))
    if not isinstance(found, int):
        raise CheckpointError(f"{directory} has no token <mask>: it cannot predict masked residues")
    return found


def letter_notes(checkpoint: Checkpoint) -> list[str]:
    """In words, what is unusual about the letters that the checkpoint reads."""
    family = recognise(read_config(checkpoint.path), checkpoint.path, checkpoint.facts.family)
    return family.letter_notes(checkpoint.path)


def config_digest(config: Mapping[str, Any]) -> str:
    """sha256 of what in config.json can change a number: no bookkeeping, no unset keys, no training dropout.

    `token_dropout` stays: ESM-2 scales its embeddings by 0.88 because of it.
    """
    kept = {
        key: value
        for key, value in config.items()
        if value is not None and key not in _BOOKKEEPING and ("dropout" not in key or key == "token_dropout")
    }
    return _sha256(canonical_json(kept).encode())


def vocabulary_digest(directory: Path) -> str:
    """sha256 of the map from token to id, the same for every file format that holds it.

    An ESM-C checkpoint may have no such file, because transformers' code holds its letters: the digest is that of {}.
    """
    return _sha256(canonical_json(read_vocabulary(directory)).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
