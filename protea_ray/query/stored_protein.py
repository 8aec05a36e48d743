"""One stored protein: the key that its id stands for, why it is not there, and its matrices."""

from __future__ import annotations

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query import lookup
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.view import View
from protea_ray.sequences.records import RejectedError, normalise
from protea_ray.store.location import REJECTS_TABLE
from protea_ray.store.rows import LOGITS, matrix_widths
from protea_ray.store.sql import both, equals
from protea_ray.store.tables import find_table

_LETTERS = 12  # so many letters and nothing else are a sequence rather than an id


def keys_of_id(view: View, id: str) -> tuple[bytes, set[bytes]]:
    """Key of the newest sequence of an id, and the keys of its others.

    Raises StoreError for an unknown id, ConfigError for what is no id at all; both name the search that takes it.
    """
    if not isinstance(id, str):
        raise ConfigError(
            f"an id is text, and this is {type(id).__name__}; store.search(...) takes vectors and sequences",
            where="nearest",
        )
    found = lookup.find_ids(view, [id])
    if found.unknown:
        why = why_rejected(view, id) or found.why_unknown(id) or _is_sequence(id)
        why = why or f"; {lookup.examples_of_ids(view)}"
        raise StoreError(f"{view.location.uri} has no protein with the id {id!r}{why}")
    records = lookup.records_of(view, found, ())
    key = lookup.newest(view, records)["key"][0].as_py()
    return key, set(records["key"].to_pylist()) - {key}


def _is_sequence(id: str) -> str:
    if len(id) < _LETTERS:
        return ""
    try:
        normalise(id)
    except RejectedError:
        return ""
    return "; a sequence is searched with `protea-ray query STORE --sequence LETTERS`, in Python store.search(LETTERS)"


def why_rejected(view: View, id: str) -> str:
    """Why a record is not there, if it was rejected; else nothing."""
    table = find_table(view.location.table(REJECTS_TABLE))
    wanted = both(equals("id", id), f"space IS NULL OR {equals('space', view.pin.space)}")
    rows = table.to_table(columns=["reason", "detail"], filter=wanted).to_pylist() if table is not None else []
    return f": rejected, {rows[-1]['reason']} ({rows[-1]['detail']})" if rows else ""


def matrix_of(view: View, column: str, flag: str, id: str, chunk: int) -> ResidueMatrix:
    """One blob of one row of the newest sequence of an id; `flag` is what would have stored it.

    Raises StoreError for a space without such matrices, and for an id without this one.
    """
    width = matrix_widths(view.facts).get(column)
    if width is None:
        raise StoreError(f"space {view.pin.space} keeps no {column}; embed with {flag}")
    mine = equals("key", keys_of_id(view, id)[0])
    rows = view.vectors.to_table(columns=["chunk_start"], filter=mine, with_row_id=True).sort_by("chunk_start")
    if not 0 <= chunk < len(rows):
        have = f"{len(rows)} chunk(s)" if len(rows) else "no vector"
        raise StoreError(f"protein {id!r} has {have} in space {view.pin.space}{why_rejected(view, id)}")
    row_id, start = rows["_rowid"][chunk].as_py(), rows["chunk_start"][chunk].as_py()
    tokens = tuple(view.facts["tokens"]) if column == LOGITS else None
    return ResidueMatrix(view.vectors, row_id, start, width, view.facts["store_dtype"], column, tokens)
