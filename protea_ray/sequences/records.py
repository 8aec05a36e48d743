"""One protein record: which letters are legal, what its key is, why it is rejected, and the columns it is stored in.

The rules are the same for every input format. Letters: white space is removed, lower case becomes upper case, one
trailing `*` is dropped, and anything that is not A to Z after that rejects the record. So gaps (`-`, `.`) reject:
an aligned row is not the protein. Nucleotides are legal letters and are stored as they are. Foldseek's structure
letters (3Di) are 20 of the letters of amino acids: they are stored in lower case, so that their key is another one.

Ids are kept byte for byte, up to `MAX_ID` characters and without control characters (they end up in tables,
terminals and exports). Descriptions are for people only: control characters become spaces and the text is cut
at `MAX_DESCRIPTION` characters. Text is UTF-8; bytes that are not UTF-8 are read as Latin-1, which never fails.

`PROTEINS_SCHEMA` and `REJECTS_SCHEMA` are the Arrow schemas of the two tables in which every record ends.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

from protea_ray.config.recipe import AlphabetName

KEY_BYTES = 16
KEY = pa.binary(KEY_BYTES)

PROTEINS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("key", KEY, nullable=False),  # first 16 bytes of sha256 of the normalised letters
        pa.field("length", pa.int32(), nullable=False),  # residues
        pa.field("sequence", pa.string(), nullable=False),  # normalised letters: amino acids upper, 3Di lower case
        pa.field("description", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # where the record was read
        pa.field("line", pa.int64(), nullable=False),  # 1-based line (row of tabular inputs) in that source
    ]
)

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("key", KEY),  # null where there were no letters to hash
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # ingest or embed
        pa.field("reason", pa.string(), nullable=False),  # one word, stable: what to group by
        pa.field("detail", pa.string(), nullable=False),  # a sentence for a person
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("space", pa.string()),  # null for ingest: no space ever saw it
    ]
)


MAX_ID = 1024  # characters; the longest real ids (metagenome contigs with coordinates) have about 200
MAX_DESCRIPTION = 8192  # characters; merged NCBI headers reach hundreds of thousands
MAX_RECORD = 64 << 20  # bytes of one record in its file: 1,000 times the longest known protein; reading holds 5 copies

_UPPER = bytes(range(256)).upper()  # ASCII only: bytes.upper leaves 0x80 to 0xff alone
_LOWER = bytes(range(256)).lower()
_BLANK = b" \t\n\r\x0b\x0c"
_NOT_A_LETTER = re.compile(rb"[^A-Z]")
_NOT_3DI = re.compile(rb"[^acdefghiklmnpqrstvwy]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Reason(StrEnum):
    """Why a record was rejected: one stable word to group by. The last six are set while embedding."""

    EMPTY_SEQUENCE = "empty_sequence"
    ILLEGAL_LETTER = "illegal_letter"
    TOO_LARGE = "too_large"
    EMPTY_ID = "empty_id"
    LONG_ID = "long_id"
    ILLEGAL_ID = "illegal_id"
    MALFORMED_ROW = "malformed_row"
    NON_FINITE = "non_finite"
    TOO_LONG = "too_long"
    KILLS_WORKER = "kills_worker"
    OUT_OF_MEMORY = "out_of_memory"
    ENCODER_ERROR = "encoder_error"
    APPROXIMATION_ERROR = "approximation_error"


REASON_MEANINGS = {
    Reason.EMPTY_SEQUENCE: "there are no letters",
    Reason.ILLEGAL_LETTER: "a letter stands for no residue of the alphabet, or the model has no token for it",
    Reason.TOO_LARGE: "the record is larger than a record may be",
    Reason.EMPTY_ID: "there is no id",
    Reason.LONG_ID: "the id is longer than an id may be",
    Reason.ILLEGAL_ID: "the id holds characters that an id may not hold",
    Reason.MALFORMED_ROW: "the row or record cannot be read as its format says",
    Reason.NON_FINITE: "the model gave NaN or infinity",
    Reason.TOO_LONG: "more residues than max_residues, and the recipe rejects such proteins",
    Reason.KILLS_WORKER: "the worker died on this protein alone, several times",
    Reason.OUT_OF_MEMORY: "memory does not hold this protein even alone",
    Reason.ENCODER_ERROR: "the model raised an error on this protein alone",
    Reason.APPROXIMATION_ERROR: "the approximate attention is too far from the exact one",
}


class RejectedError(Exception):
    """Raised for a record that cannot be stored. `read_part` turns it into a row of the rejects."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Found(NamedTuple):
    """A record as it stands in a file, before it is checked. `line` is 1-based; in a table it is the row."""

    line: int
    id: bytes
    description: bytes
    letters: bytes
    problem: RejectedError | None = None  # set where the reader itself could not parse the record


def normalise(letters: str | bytes, alphabet: AlphabetName = "aa") -> str:
    """The stored spelling of a sequence: upper-case A to Z; for 3Di its 20 letters in lower case.

    Bytes are the letters as they stand in a file, in any encoding, since a legal letter is ASCII. Raises RejectedError
    for any other letter.

    >>> normalise("mktay iakqr*")
    'MKTAYIAKQR'
    >>> normalise("DPVV lvvq", "3di")
    'dpvvlvvq'
    >>> normalise("MK-TAY")
    Traceback (most recent call last):
        ...
    protea_ray.sequences.records.RejectedError: letter '-', residue 3
    """
    raw = letters.encode("utf-8", "surrogatepass") if isinstance(letters, str) else letters
    is_3di = alphabet == "3di"
    residues = raw.translate(_LOWER if is_3di else _UPPER, _BLANK).removesuffix(b"*")
    if not residues:
        raise RejectedError(Reason.EMPTY_SEQUENCE, "no residues")
    bad = (_NOT_3DI if is_3di else _NOT_A_LETTER).search(residues)
    if bad:
        detail = f"{_named_letter(residues, bad.start())}, residue {bad.start() + 1}"
        raise RejectedError(Reason.ILLEGAL_LETTER, detail + (": not one of the 20 of 3Di" if is_3di else ""))
    return residues.decode("ascii")


def key_of(normalised: str) -> bytes:
    """The key of a protein: the first 16 bytes of sha256 of its normalised letters.

    Two records have the same key when they have the same letters, whatever their ids.

    >>> key_of(normalise("MKTAYIAKQR")).hex()
    '0b2b6b8411d220f8648b67b5f839a433'
    >>> key_of(normalise("mktay iakqr*")) == key_of("MKTAYIAKQR")
    True
    """
    return hashlib.sha256(normalised.encode("ascii")).digest()[:KEY_BYTES]


def text_of(raw: bytes) -> str:
    """Decode header text as UTF-8, or as Latin-1 where it is not UTF-8; Latin-1 reads any bytes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def checked_id(raw: bytes) -> str:
    """The id of a record; raises RejectedError when it is empty, too long or holds control characters."""
    found = text_of(raw)
    if not found.strip():
        raise RejectedError(Reason.EMPTY_ID, "the record has no id")
    if len(found) > MAX_ID:
        raise RejectedError(Reason.LONG_ID, f"the id has {len(found)} characters, at most {MAX_ID} are kept")
    control = _CONTROL.search(found)
    if control:
        raise RejectedError(Reason.ILLEGAL_ID, f"the id holds the control character {control.group()!r}")
    return found


def printable(raw: bytes, limit: int = MAX_DESCRIPTION) -> str:
    """Decode text for people: control characters become spaces, and at most `limit` characters are kept."""
    # a character takes at most 4 bytes, so no more than that is ever decoded of a header of any size
    found = text_of(raw[: 4 * limit])[:limit]
    return found if found.isprintable() else _CONTROL.sub(" ", found)


def _named_letter(residues: bytes, position: int) -> str:
    """The illegal letter in words for a person: the character if it is printable text, else its byte value."""
    for width in (1, 2, 3, 4):
        try:
            character = residues[position : position + width].decode("utf-8")
        except UnicodeDecodeError:
            continue
        if character.isprintable():
            return f"letter {character!r}"
        break
    return f"byte 0x{residues[position]:02x}"
