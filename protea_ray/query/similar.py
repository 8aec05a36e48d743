"""Similarity search as a person asks for it: with the id of a stored protein, new letters, files, or vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.config.paths import require_inputs
from protea_ray.errors import ConfigError, StoreError
from protea_ray.query import lookup, search
from protea_ray.query.one_pass import QueryRows
from protea_ray.query.stored_protein import keys_of_id, why_rejected
from protea_ray.query.view import View, matrix
from protea_ray.store.keys import key_array

Queries = str | Sequence[str] | Mapping[str, str] | Sequence[float] | np.ndarray | pa.Array | pa.ChunkedArray
_log = logging.getLogger(__name__)
_KINDS = "letters, a list of them, {name: letters}, a vector (D,), or vectors (n, D)"


@dataclass(frozen=True)
class SearchOptions:
    """What is wanted of a search: `k` proteins by `pooling`, that match the SQL filter `where`."""

    k: int = 10
    pooling: str | None = None
    where: str | None = None
    approximate: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise ConfigError(f"k must be a whole number of at least 1 (got {self.k!r})", where="search")


def similar_to_stored(view: View, id: str, wanted: SearchOptions) -> pa.Table:
    """The proteins nearest to a stored one, which is left out; see `Store.nearest`."""
    pooling = search.pooling_of(view, wanted.pooling)
    key, earlier = keys_of_id(view, id)
    rows = matrix(view.rows_of(key_array([key]), [pooling])[pooling])
    if not len(rows):
        raise StoreError(f"protein {id!r} has no vector in space {view.pin.space}{why_rejected(view, id)}")
    allowed = search.allowed_keys(view, wanted.where)
    found = search.nearest(view, key, rows, wanted.k, pooling, allowed, wanted.approximate)
    ranks = [str(rank) for rank, other in enumerate(found.keys, 1) if other in earlier]
    if ranks:
        lookup.say([f"neighbour {', '.join(ranks)} of {id} is {id} itself, with another of its sequences"])
    return view.stamped(search.described(view, found))


def similar_to_new(
    view: View, queries: Any, files: Sequence[str], wanted: SearchOptions, model: str | None = None,
    device: str = "auto", tell: Callable[[str], None] = _log.info,
) -> pa.Table:  # fmt: skip
    """The proteins nearest to each query, which may be among them; see `Store.search`. `tell` hears what takes long."""
    if queries is None and not files:
        raise ConfigError("no query was given; give sequences, vectors or fasta=FILE", where="search")
    pooling = search.pooling_of(view, wanted.pooling)
    vectors = None if queries is None else _vectors(queries, view.facts["widths"][pooling])
    allowed = search.allowed_keys(view, wanted.where)
    problems: Sequence[str] = ()
    if vectors is not None:
        if files:
            raise ConfigError("give vectors or a file of sequences, not both", where="search")
        names = _numbered(len(vectors))
        rows = QueryRows(vectors, np.arange(len(vectors)), len(vectors))
    else:
        names, rows, problems = _sequences(view, queries, files, pooling, model, device, tell)
    tell(f"searching {view.vectors.count_rows():,} rows of {view.pin.space}")
    found = search.search(view, rows, wanted.k, pooling, allowed, wanted.approximate)
    return view.stamped(search.described_each(view, names, found), rejected=problems)


def _sequences(
    view: View, queries: Any, files: Sequence[str], pooling: str, model: str | None, device: str,
    tell: Callable[[str], None],
) -> tuple[list[str], QueryRows, list[str]]:  # fmt: skip
    """Names and rows of the sequences that were given and read, and what was left out, which is logged too."""
    from protea_ray.query.new_sequences import read_new, require_alphabet  # 0.1 s, and not for ids and vectors
    from protea_ray.query.own_recipe import vectors_of

    given = _named(queries)
    require_inputs(files)
    if files:
        tell(f"reading {', '.join('standard input' if file == '-' else file for file in files)}"[:200])
    alphabet = view.info.config.get("alphabet") or "aa"
    new = read_new(given, files, alphabet)
    require_alphabet(new.proteins, list(given.values()), view.info.name, alphabet)
    kept, rows, without = vectors_of(view, new.proteins, pooling, model, device, tell)
    problems = [*new.problems, *without]
    lookup.say(f"left out: {problem}" for problem in problems)
    return [p.name for p in kept], rows, problems


def _named(queries: Any) -> dict[str, str]:
    """Sequences by name; raises ConfigError for anything else."""
    if queries is None:
        return {}
    if isinstance(queries, Path):
        raise ConfigError(f"{queries} is a path; give it as fasta={str(queries)!r}", where="search")
    if isinstance(queries, Mapping):
        named = {str(name): letters for name, letters in queries.items()}
    else:
        letters = [queries] if isinstance(queries, str) else list(queries)
        named = dict(zip(_numbered(len(letters)), letters, strict=True))
    wrong = [f"{name} is {type(value).__name__}; give {_KINDS}" for name, value in named.items()
             if not isinstance(value, str)]  # fmt: skip
    if wrong:
        raise ConfigError(wrong[:3], where="search")
    return named


def _numbered(count: int) -> list[str]:
    return [f"query{number}" for number in range(1, count + 1)]


def _vectors(queries: Any, width: int) -> np.ndarray | None:
    """Vectors (n, width) of numbers that were given; None for sequences. Raises ConfigError with all that is wrong."""
    if isinstance(queries, str | Path | Mapping):
        return None
    if isinstance(queries, pa.Array | pa.ChunkedArray):
        queries = matrix(queries) if pa.types.is_fixed_size_list(queries.type) else queries.to_pylist()
    elif hasattr(queries, "detach"):  # a tensor, perhaps on a GPU
        queries = queries.detach().cpu().float()
    try:
        given = np.asarray(queries)
    except ValueError:  # rows of several lengths
        raise ConfigError(f"the queries are rows of several lengths; give {_KINDS}", where="search") from None
    if given.dtype.kind not in "fiu":
        return None
    problems = list(_vector_problems(given, width))
    if problems:
        raise ConfigError(problems, where="search")
    return np.atleast_2d(given).astype(np.float32)


def _vector_problems(queries: np.ndarray, width: int) -> Iterator[str]:
    if queries.ndim not in (1, 2) or queries.shape[-1] != width or not len(queries):
        yield f"vectors of the space have {width} values, and the query has the shape {queries.shape}; give {_KINDS}"
        return
    given = np.atleast_2d(queries)
    strange = np.flatnonzero(~np.isfinite(given).all(axis=1))
    if len(strange):
        yield f"vector {strange[0] + 1} of {len(given)} holds NaN or infinity"
    zero = np.flatnonzero((given == 0).all(axis=1))
    if len(zero):
        yield f"vector {zero[0] + 1} of {len(given)} is all zeros and has no direction"
