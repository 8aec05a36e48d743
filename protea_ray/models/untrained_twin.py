"""The untrained twin of a model: its configuration, vocabulary and sizes of tensors, with weights never trained.

`untrained:MODEL` names it wherever a model is named. It is the control of an evaluation: what vectors of this shape
are worth before any training. Matrices and embeddings are near normal around 0 with the configuration's
`initializer_range` (0.02 where it has none, as T5's), weights of norms are 1 and biases 0, in every family. Each tensor
is drawn from its own name, so shards, a prefix or a second name of a tied one change no number, and the files are the
same byte for byte on every machine. They are written a block at a time: memory does not grow with the model, and a
billion weights take 30 s on one core. Tensors that are no weights (rotary frequencies) are the model's own; a T5
decoder, which is never loaded, is left out. Where a model's files are half precision, so are those of its twin.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from protea_ray.config.cache import CACHE_VARIABLE
from protea_ray.config.identity import canonical_json, short_name
from protea_ray.config.known_models import TWIN
from protea_ray.errors import CheckpointError
from protea_ray.models.families.base import Family, Wanted
from protea_ray.models.families.training_marker import trained_attention, trained_residues
from protea_ray.models.families.vocabulary import FILES
from protea_ray.models.fit import BUFFERS, in_module, require_fit
from protea_ray.models.made_here import made_here
from protea_ray.models.misnamed import SINGLE
from protea_ray.models.untrained import near_normal
from protea_ray.models.weights import TensorHeader, read_headers

RECORD = "twin.json"  # sha256 of every other file of the directory, by its name

_SEED = 20240601
_VERSION = 1  # raised whenever the same model would give other weights
_DEVIATION = 0.02
_BLOCK = 1 << 20  # weights drawn at a time
_COPIED = (*FILES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_HALF = ("F16", "BF16")


@dataclass(frozen=True)
class _Drawn:
    """A tensor of the twin. `seed` is what it is drawn from; `copied`: the bytes of one that is no weight."""

    name: str
    seed: str
    dtype: str
    shape: tuple[int, ...]
    copied: bytes | None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        if self.copied is not None:
            return len(self.copied)
        return math.prod(self.shape) * (2 if self.dtype == "F16" else 4)

    def facts(self) -> list[Any]:
        """What its bytes follow from, as JSON values."""
        return [self.name, self.seed, self.dtype, list(self.shape), hashlib.sha256(self.copied or b"").hexdigest()]


def twin_directory(base: Path, config: Mapping[str, Any], family: Family, model: str) -> Path:
    """Directory of the untrained twin of the checkpoint in `base`, written if it is not there or was damaged.

    `config` is that of the checkpoint, `model` its name, which begins the directory's. Raises CheckpointError for
    weights that do not fit the configuration, for pickles, and where the twin cannot be written.
    """
    held, wanted = read_headers(base), family.wanted(config)
    headers = [(path, tensor) for path, tensors in held.items() for tensor in tensors]
    require_fit(base, [tensor for _, tensor in headers], family.shape(config), wanted)
    encoder = sorted((h for h in headers if not h[1].name.startswith("decoder.")), key=lambda h: h[1].name)
    tensors = [_drawn(path, tensor, wanted) for path, tensor in encoder]
    texts = {name: (base / name).read_bytes() for name in _COPIED if (base / name).is_file()}
    texts["config.json"] = (json.dumps(_untrained(config), indent=2) + "\n").encode()
    told = {"tensors": [t.facts() for t in tensors], "version": _VERSION}
    told |= {"files": {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}}
    digest = hashlib.sha256(canonical_json(told).encode()).hexdigest()
    write = partial(_write, tensors=tensors, texts=texts, deviation=_deviation(config))
    return made_here(f"{short_name(TWIN + model)}-{digest[:8]}", write, _is_whole, f"the untrained twin of {model}")


def _drawn(path: Path, tensor: TensorHeader, wanted: Wanted | None) -> _Drawn:
    seed = in_module(tensor.name, wanted) if wanted else tensor.name
    if BUFFERS.search(tensor.name) or not tensor.dtype.startswith(("F", "BF")):
        with path.open("rb") as file:
            file.seek(tensor.begin)
            held = file.read(tensor.end - tensor.begin)
        return _Drawn(tensor.name, seed, tensor.dtype, tensor.shape, held)
    return _Drawn(tensor.name, seed, "F16" if tensor.dtype in _HALF else "F32", tensor.shape, None)


def _untrained(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration marked as of random weights; of what a training here recorded, length and attention stay."""
    kept = {"trained_residues": trained_residues(config), "attention": trained_attention(config)}
    usual = (None, "exact", "hedgehog")  # exact needs no word, and a twin has no feature maps
    kept = {name: value for name, value in kept.items() if value not in usual}
    return {**config, "protea_ray": {"trained": False, **kept}}


def _deviation(config: Mapping[str, Any]) -> float:
    given = config.get("initializer_range")
    return float(given) if isinstance(given, int | float) and given > 0 else _DEVIATION


def _write(directory: Path, *, tensors: Sequence[_Drawn], texts: Mapping[str, bytes], deviation: float) -> None:
    _require_space(directory, sum(t.size for t in tensors))
    digests = {SINGLE: _write_weights(directory / SINGLE, tensors, deviation)}
    for name, text in texts.items():
        (directory / name).write_bytes(text)
        digests[name] = hashlib.sha256(text).hexdigest()
    (directory / RECORD).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def _require_space(directory: Path, wanted: int) -> None:
    """Raise CheckpointError before anything is written where the disk has no room for the weights."""
    if (free := shutil.disk_usage(directory).free) < wanted:
        raise CheckpointError(
            f"an untrained twin needs {wanted:,} bytes at {directory.parent.parent}, where {free:,} are free. "
            f"Make room, or set {CACHE_VARIABLE} to a directory of a larger disk."
        )


def _write_weights(path: Path, tensors: Sequence[_Drawn], deviation: float) -> str:
    """Write a safetensors file, its tensors one after another; returns its sha256.

    The library itself writes only what is in memory as a whole.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in chain([_header(tensors)], *(_bytes(tensor, deviation) for tensor in tensors)):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _header(tensors: Sequence[_Drawn]) -> bytes:
    """Length and JSON of a safetensors header; blanks at its end let the tensors begin at a multiple of 8."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in tensors:
        offsets = [position, position := position + tensor.size]
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
    text = canonical_json(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: _Drawn, deviation: float) -> Iterator[bytes]:
    """The values of a tensor in blocks."""
    if tensor.copied is not None:
        yield tensor.copied
        return
    kind, left = ("<f2" if tensor.dtype == "F16" else "<f4"), math.prod(tensor.shape)
    if len(tensor.shape) < 2:
        yield np.full(left, 0.0 if tensor.seed.endswith("bias") else 1.0, kind).tobytes()
        return
    random = np.random.PCG64(int.from_bytes(hashlib.sha256(f"{_SEED} {tensor.seed}".encode()).digest()[:16], "little"))
    while left:
        count = min(left, _BLOCK)
        yield near_normal(random, count, deviation).astype(kind).tobytes()
        left -= count


def _is_whole(directory: Path) -> bool:
    """Whether every file has the digest that was recorded when it was written."""
    try:
        recorded = cast("dict[str, str]", json.loads((directory / RECORD).read_text(encoding="utf-8")))
        return SINGLE in recorded and all(_digest(directory / name) == of for name, of in recorded.items())
    except (FileNotFoundError, ValueError, TypeError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
