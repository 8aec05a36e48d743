"""Embedding in this process, without a cluster or a store: one call with sequences in, a dict of arrays out.

`embed_dataset` has the name and the arguments of FastESM's function (Synthyra/FastPLMs), for people who have scripts
that use it. The numbers come from this package's encoder, so they equal what `protea-ray embed` stores. `encoder_here`
loads that encoder; maps and the benchmark use it too. torch is imported where a model is loaded.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protea_ray.config.recipe import POOLINGS, AlphabetName, EmbeddingConfig, embedding_config, given_fields
from protea_ray.config.resolution import attention_notes, resolve
from protea_ray.encoder.collect import Embedded
from protea_ray.errors import ConfigError, EncoderError, InputError, numbered
from protea_ray.models.checkpoint import Checkpoint, letter_notes, open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.measured_drift import approximation_note
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.sequences.records import RejectedError, normalise
from protea_ray.sequences.structure_letters import ANSWERS, why_3di

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder


def encoder_here(
    checkpoint: Checkpoint, config: EmbeddingConfig, device: str = "auto", token_budget: int | None = None,
    compiled: str = "auto",
) -> Encoder:  # fmt: skip
    """Load an open checkpoint under a recipe on `device` (auto, cpu, cuda, cuda:N; auto prefers a GPU).

    Raises ConfigError for a recipe that does not fit the checkpoint and for a GPU that is not there.
    """
    import torch

    from protea_ray.encoder.encoder import Encoder

    place = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if place != "cpu" and not torch.cuda.is_available():
        raise ConfigError("device: this machine has no CUDA device; use cpu or auto", where=config.model)
    resolved = resolve(config, checkpoint.facts, torch.device(place).type, checkpoint.revision)
    family = recognise(read_config(checkpoint.path), checkpoint.path, checkpoint.facts.family)
    return Encoder.load(
        checkpoint.path, family, [resolved], device=place, token_budget=token_budget, compiled=compiled,
        adapter=checkpoint.adapter,
    )  # fmt: skip


_STORE = "use `protea-ray embed INPUT STORE` and read it with protea_ray.open_store(STORE)"
_NOT_HERE = {  # arguments of the original that have no meaning here and must be unset
    "tokenizer": "every checkpoint is read with its own tokenizer; leave it out",
    "num_workers": "letters become tokens through a table, there is nothing to spread; for several processes "
    "use `protea-ray embed`",
    "sql": f"no SQLite is written; {_STORE}",
    "sql_db_path": f"no SQLite is written; {_STORE}",
    "save": f"no .pth (a pickle) is written; {_STORE}",
    "save_path": f"no .pth (a pickle) is written; {_STORE}",
}
_NAMED_ELSE = {  # fields of EmbeddingConfig that go by the original's name here, or cannot be given
    "pooling": "is called pooling_types here",
    "store_dtype": "is called embed_dtype here",
    "max_residues": "is called max_len here",
    "on_long": "is given by max_len and truncate here",
    "outputs": f"embeddings alone are returned here; for logits {_STORE}",
    **dict.fromkeys(
        ("chunk_size", "chunk_overlap", "chunk_mode"), f"one protein is one array here; for chunks {_STORE}"
    ),
}
_NO_PLACE = ("chunk_size", "chunk_overlap")  # of a whole recipe, these alone
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
_POOLED = tuple(name for name in POOLINGS if name != "none")


def embed_dataset(
    sequences: Iterable[str] | Mapping[str, str],
    model: str | Path | EmbeddingConfig | None = None,
    *,
    pooling_types: Sequence[str] = ("mean",),
    max_len: int | None = None,
    truncate: bool = True,
    full_embeddings: bool = False,
    embed_dtype: Any = "float32",
    batch_size: int | None = None,
    tokenizer: None = None,
    num_workers: int = 0,
    sql: bool = False,
    sql_db_path: str | None = None,
    save: bool = False,
    save_path: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    **recipe: Any,
) -> dict[str, np.ndarray]:
    """Embed `sequences` and return {sequence as given: array}, in the order given; of {id: sequence}, {id: array}.

    An array is (width,) with the `pooling_types` (mean, max, cls, mean_max, std) end to end in the order given, or
    (residues, width) with `full_embeddings=True`, where pooling is not used. `model` is a hub id, a directory, or
    None for the default; one that was never trained warns. It may be an EmbeddingConfig: of that the fields count that
    were given, and pooling and store_dtype win over the defaults here. `embed_dtype` is that of the arrays: float32 or
    float16, by name, numpy's or torch's. Any other field of EmbeddingConfig (layers, dtype, attention, and
    alphabet="3di" for structure letters) may be given by name. The model is loaded on every call, so give all sequences
    at once.

    Where this differs from FastESM:
    * Special tokens are never pooled and have no row: mean and full embeddings are over the residues alone.
    * Nothing is cut unless `max_len` says so, and that counts residues; 512 is not a default. Past `max_len` a
      protein is cut, or rejected with `truncate=False`; with no `max_len` it is embedded whole, in overlapping windows
      of the model's trained length. A protein that is cut keeps its whole sequence as the key.
    * std is over the residues of one protein; var, norm, median and parti are not offered.
    * `batch_size` bounds memory, at that many of the longest proteins at a time, and changes no number; unset, the
      device's own budget is used.
    * Arrays are numpy's, nothing is written, and vectors are not normalised unless `normalize=True`.

    Raises ConfigError for arguments that cannot work (all at once) and for letters that may be amino acids or 3Di,
    InputError for sequences that are none (all at once), CheckpointError, and EncoderError when a protein has no
    embedding (too long, not finite).
    """
    unset = {"tokenizer": tokenizer, "num_workers": num_workers, "sql": sql, "save": save}
    unset |= {"sql_db_path": sql_db_path, "save_path": save_path}
    problems = [f"{name}: {_NOT_HERE[name]}" for name, value in unset.items() if value]
    base: dict[str, Any] = {"model": str(model or DEFAULT_MODEL), "revision": revision}
    if isinstance(model, EmbeddingConfig):
        base |= given_fields(model)
        problems += [f"{name}: {_NAMED_ELSE[name]}" for name in _NO_PLACE if base.get(name)]
        pooling_types, full_embeddings = _poolings_of(base, pooling_types, full_embeddings)
        embed_dtype = base.get("store_dtype", embed_dtype) if embed_dtype == "float32" else embed_dtype
    problems += _problems(sequences, pooling_types, max_len, batch_size, embed_dtype, recipe)
    if not _DEVICE.fullmatch(device):
        problems.append(f"device: must be auto, cpu, cuda or cuda:N (got {device!r}); a Mac's GPU is not used")
    known = [name for name in pooling_types or () if name in _POOLED] or ["mean"]
    config = _config(
        problems,
        {"normalize": False}
        | base
        | {name: value for name, value in recipe.items() if name not in _NAMED_ELSE}
        | {"pooling": ["none"] if full_embeddings else known}
        | {"store_dtype": _dtype_name(embed_dtype) or "float32"}
        | ({"max_residues": max_len, "on_long": "truncate" if truncate else "reject"} if max_len else {}),
    )
    order = None if full_embeddings else list(dict.fromkeys(pooling_types))
    return _arrays(sequences, config, device, batch_size, order)


def _arrays(
    sequences: Iterable[str] | Mapping[str, str], config: EmbeddingConfig, device: str, batch_size: int | None,
    order: list[str] | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Sequence as given, or its id in a mapping, to its array; each distinct protein is embedded once."""
    letters = _normalised(sequences, config.alphabet or "aa")
    distinct = list(dict.fromkeys(letters.values()))
    spelt = list(sequences.values()) if isinstance(sequences, Mapping) else list(letters)
    if not distinct:
        return {}
    vectors = dict(zip(distinct, _embed(distinct, spelt, config, device, batch_size, order), strict=True))
    return {given: vectors[normal] for given, normal in letters.items()}


def _poolings_of(base: Mapping[str, Any], asked: Sequence[str], full: bool) -> tuple[Sequence[str], bool]:
    """Poolings, and whether residues are wanted instead, where a recipe names some and the caller left the default."""
    named = base.get("pooling")
    if named is None or tuple(asked) != ("mean",):
        return asked, full
    return [name for name in named if name != "none"] or asked, full or tuple(named) == ("none",)


def _problems(
    sequences: Any, pooling_types: Sequence[str], max_len: int | None, batch_size: int | None,
    embed_dtype: Any, recipe: dict[str, Any],
) -> list[str]:  # fmt: skip
    """What is wrong with the arguments that EmbeddingConfig knows under another name or not at all."""
    problems = [f"{name}: {_NAMED_ELSE[name]}" for name in recipe if name in _NAMED_ELSE]
    if wrong := _no_sequences(sequences):
        problems.append(f"sequences: {wrong}")
    wanted = ", ".join(_POOLED)
    if isinstance(pooling_types, str) or not pooling_types:
        problems.append(f"pooling_types: must be a list with at least one of {wanted} (got {pooling_types!r})")
    elif odd := [name for name in pooling_types if name not in _POOLED]:
        problems.append(f"pooling_types: {', '.join(map(repr, odd))} not offered; choose from {wanted}")
    for name, value in {"max_len": max_len, "batch_size": batch_size}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            problems.append(f"{name}: must be a positive whole number or unset (got {value!r})")
    if _dtype_name(embed_dtype) is None:
        problems.append(f"embed_dtype: must be float32 or float16, which numpy has (got {embed_dtype!r})")
    return problems


def _no_sequences(given: Any) -> str | None:
    """What `given` is and what to give instead, when going through it would not give one sequence after the other."""
    kind = type(given).__name__
    if isinstance(given, str | bytes | bytearray):
        return f"is one {kind}; give a list of strings"
    if isinstance(given, Path) or hasattr(given, "read"):
        return f"is a file ({kind}); read its sequences first, or {_STORE}"
    if not isinstance(given, Mapping) and (hasattr(given, "columns") or hasattr(given, "column_names")):
        return f"is a table ({kind}); give the column that holds the sequences, as a list"
    return None if isinstance(given, Iterable) else f"is {kind}; give a list of strings, or a dict from id to sequence"


def _dtype_name(dtype: Any) -> str | None:
    """`float32` from "float32", numpy.float32, numpy.dtype("float32") or torch.float32; None for others."""
    name = getattr(dtype, "__name__", None) or str(dtype).removeprefix("torch.")
    return name if name in ("float32", "float16") else None


def _config(problems: list[str], fields: dict[str, Any]) -> EmbeddingConfig:
    """The recipe, unless there are `problems` or it has some of its own; all of them in one ConfigError."""
    try:
        config = embedding_config(fields)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems], where="embed_dataset") from None
    if problems:
        raise ConfigError(problems, where="embed_dataset")
    return config


def _normalised(sequences: Iterable[str] | Mapping[str, str], alphabet: AlphabetName) -> dict[str, str]:
    """Sequence as given, or its id in a mapping, to the letters that are embedded.

    Raises InputError with every sequence that is none.
    """
    by_id = isinstance(sequences, Mapping)
    named = sequences.items() if by_id else enumerate(sequences)
    letters, problems = {}, []
    for name, given in named:
        if not isinstance(given, str):
            hint = "; for pairs of id and sequence give a dict" if isinstance(given, tuple | list) else ""
            problems.append(f"sequences[{name!r}]: is {type(given).__name__}, not a string of residues{hint}")
            continue
        try:
            letters[name if by_id else given] = normalise(given, alphabet)
        except RejectedError as error:
            problems.append(f"sequences[{name!r}]: {error.detail} ({error.reason})")
    if problems:
        raise InputError(problems)
    return letters


def _embed(
    letters: list[str], given: list[str], config: EmbeddingConfig, device: str, batch_size: int | None,
    order: list[str] | None,
) -> list[np.ndarray]:  # fmt: skip
    """One array for each of `letters`: poolings concatenated in `order`, or the residue matrix when `order` is None.

    `given` are the sequences as they were written, whose case and frequencies show structure letters.
    """
    checkpoint = open_checkpoint(config.model, config.revision, config.family)
    if checkpoint.facts.reads_3di and config.alphabet is None and (why := why_3di([s.encode() for s in given])):
        raise ConfigError(f"sequences: {why}; {ANSWERS}", where="embed_dataset")
    asked = config.model_copy(update={"attention": config.attention or checkpoint.facts.attention})
    approximated = approximation_note(checkpoint, asked.variant)
    notes = [*letter_notes(checkpoint), *attention_notes(asked, checkpoint.facts)]
    for note in [*notes, *([approximated] if approximated else [])]:
        warnings.warn(note, stacklevel=4)
    if not checkpoint.trained:
        said = f"{checkpoint.model} was never trained: its vectors are random and carry no biology"
        warnings.warn(said, stacklevel=4)
    longest = min(max(map(len, letters)), config.max_residues or sys.maxsize)
    encoder = encoder_here(checkpoint, config, device, batch_size and batch_size * longest)
    arrays: list[np.ndarray] = [np.empty(0)] * len(letters)
    problems = []
    for result in encoder.embed(letters):
        if isinstance(result, Embedded):
            arrays[result.index] = _array(result, order)
        else:
            problems.append(f"{letters[result.index][:20]}...: {result.reason}, {result.detail}")
    if problems:
        raise EncoderError(numbered("embed_dataset: proteins without an embedding", problems))
    return arrays


def _array(result: Embedded, order: list[str] | None) -> np.ndarray:
    if order is None:
        assert result.residues is not None
        return result.residues[0]
    return np.concatenate([result.pooled[name][0] for name in order])
