"""A folder of one .pt file a protein, as fair-esm's scripts/extract.py writes it, for programs that read those.

Each file is a dictionary of `label` and one of `mean_representations`, `bos_representations` (cls) and
`representations` (residues), a mapping from the layer to its tensor. extract.py counts layers from the bottom, a space
from the end: where the model's name says how many there are (`esm2_t33_650M_UR50D`), the last is 33, else it is -1.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import numpy as np

from protea_ray.errors import ConfigError
from protea_ray.query.file_formats.content import NO_POOLING, Content
from protea_ray.query.view import View

_FIELDS = {"mean": "mean_representations", "cls": "bos_representations", NO_POOLING: "representations"}
_LONGEST_NAME = 200  # bytes; file systems take 255, and a suffix follows
_LAYERS = re.compile(r"(?:^|/)esm[12]b?_t(\d+)_")


def esm_folder(content: Content, path: Path) -> int:
    """Write the folder `path`; returns the number of files. Raises ConfigError for what such a file cannot hold."""
    import torch

    field, layer = _field(content.pooling), _layer(content.view)
    path.mkdir()
    taken: set[str] = set()
    for row in content.named():
        held = {"label": row.label, field: {layer: torch.from_numpy(np.array(row.values))}}
        torch.save(held, path / _file_name(row.label, row.key, taken))
    return len(taken)


def _field(pooling: str) -> str:
    if pooling not in _FIELDS:
        problem = f".pt files of fair-esm hold mean, cls or none (residues), not {pooling}; .h5 holds any pooling"
        raise ConfigError(problem, where="pooling")
    return _FIELDS[pooling]


def _layer(view: View | None) -> int:
    """The layer's number as fair-esm counts, or from the end where the number of layers is not known."""
    layers = [0] if view is None else list(view.info.config.get("layers") or [0])
    if len(layers) > 1:
        raise ConfigError(
            f".pt files of fair-esm name one layer for each vector, and these are of {len(layers)}: "
            f"{', '.join(map(str, layers))} from the end; .h5 holds them",
            where="export",
        )
    named = _LAYERS.search(view.info.model) if view is not None else None
    return int(named[1]) - layers[0] if named else -1 - layers[0]


def _file_name(id: str, key: bytes, taken: set[str]) -> str:
    """A name of its own for an id: `/`, `|` and what else is not plain as %2F, long ones cut and ended by the key.

    >>> _file_name("sp|P1/2", b"k" * 16, set())
    'sp%7CP1%2F2.pt'
    >>> _file_name("a", b"k" * 16, {"a"})
    'a-6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b.pt'
    """
    plain = quote(id, safe="")
    name = plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}-{key.hex()}"
    if name.casefold() in taken:  # an id with several sequences, or another one on a file system that ignores case
        name = f"{name[:_LONGEST_NAME]}-{key.hex()}"
    taken.add(name.casefold())
    return f"{name}.pt"
