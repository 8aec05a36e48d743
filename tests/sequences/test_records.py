"""Letters, keys, ids and descriptions of one record."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.sequences.records import (
    MAX_DESCRIPTION,
    MAX_ID,
    Reason,
    RejectedError,
    checked_id,
    key_of,
    normalise,
    printable,
    text_of,
)


@pytest.mark.parametrize(
    ("letters", "stored"),
    [
        ("MKV", "MKV"),
        ("mkV", "MKV"),
        (" M K\tV\r\n\x0b\x0c", "MKV"),
        ("MKV*", "MKV"),
        ("MKV*\n", "MKV"),
        ("XBUZOJ", "XBUZOJ"),
        ("acgt", "ACGT"),
        (b"mkv*", "MKV"),
    ],
)
def test_letters_that_are_stored(letters: str | bytes, stored: str) -> None:
    assert normalise(letters) == stored


@pytest.mark.parametrize(
    ("letters", "reason", "detail"),
    [
        ("", Reason.EMPTY_SEQUENCE, "no residues"),
        (" \n\t", Reason.EMPTY_SEQUENCE, "no residues"),
        ("*", Reason.EMPTY_SEQUENCE, "no residues"),
        ("MK-V", Reason.ILLEGAL_LETTER, "letter '-', residue 3"),
        ("M\nK.V", Reason.ILLEGAL_LETTER, "letter '.', residue 3"),
        ("M**", Reason.ILLEGAL_LETTER, "letter '*', residue 2"),
        ("M*K", Reason.ILLEGAL_LETTER, "letter '*', residue 2"),
        ("MK\x00V", Reason.ILLEGAL_LETTER, "byte 0x00, residue 3"),
        ("MK1", Reason.ILLEGAL_LETTER, "letter '1', residue 3"),
        ("MÉ", Reason.ILLEGAL_LETTER, "letter 'É', residue 2"),
        ("Mı", Reason.ILLEGAL_LETTER, "letter 'ı', residue 2"),  # str.upper would make it a legal I
        ("Mß", Reason.ILLEGAL_LETTER, "letter 'ß', residue 2"),  # and this SS
        ("MK\U0001f9ecV", Reason.ILLEGAL_LETTER, "letter '\U0001f9ec', residue 3"),  # four bytes
        ("M\u2014K", Reason.ILLEGAL_LETTER, "letter '\u2014', residue 2"),  # three
        ("M\ud800", Reason.ILLEGAL_LETTER, "byte 0xed, residue 2"),
        (b"M\xe9K", Reason.ILLEGAL_LETTER, "byte 0xe9, residue 2"),
        ("M\x1dK", Reason.ILLEGAL_LETTER, "byte 0x1d, residue 2"),  # white space to str.split
        ("M\xa0K", Reason.ILLEGAL_LETTER, "byte 0xc2, residue 2"),
    ],
)
def test_letters_that_reject(letters: str | bytes, reason: Reason, detail: str) -> None:
    with pytest.raises(RejectedError) as caught:
        normalise(letters)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@settings(max_examples=50)
@given(st.text(string.ascii_letters + " \n\t", max_size=50))
def test_normalising_is_idempotent_and_counts_letters(letters: str) -> None:
    residues = sum(letter.isalpha() for letter in letters)
    if not residues:
        with pytest.raises(RejectedError):
            normalise(letters)
        return
    once = normalise(letters)
    assert len(once) == residues
    assert normalise(once) == normalise(once + "*") == once


def test_key_is_the_first_half_of_sha256_of_the_normalised_letters() -> None:
    assert key_of(normalise("mk v*")) == hashlib.sha256(b"MKV").digest()[:16]


def test_text_is_utf8_else_latin1() -> None:
    assert text_of("Größe".encode()) == "Größe"
    assert text_of("Größe".encode("latin-1")) == "Größe"


@pytest.mark.parametrize("name", ["sp|P12345|X_HUMAN", "../../etc/passwd", "<b>x</b>", "a' OR 1=1", "日本", "a b"])
def test_ids_are_data_and_kept_as_they_are(name: str) -> None:
    assert checked_id(name.encode()) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"", Reason.EMPTY_ID),
        (b"  ", Reason.EMPTY_ID),
        (b"a" * (MAX_ID + 1), Reason.LONG_ID),
        (b"a\x1b[2Jb", Reason.ILLEGAL_ID),
        (b"a\x00", Reason.ILLEGAL_ID),
        (b"a\nb", Reason.ILLEGAL_ID),
    ],
)
def test_ids_that_reject(name: bytes, reason: Reason) -> None:
    with pytest.raises(RejectedError) as caught:
        checked_id(name)
    assert caught.value.reason is reason


def test_descriptions_are_cut_and_made_printable() -> None:
    assert printable(b"one\x01two\tthree") == "one two three"
    assert printable("é".encode() * (MAX_DESCRIPTION + 5)) == "é" * MAX_DESCRIPTION
    assert printable(b"x" * (1 << 20)) == "x" * MAX_DESCRIPTION


@pytest.mark.parametrize("letters", ["DVQ vad\n", "dvqvad*", b"DvQvAd"])
def test_structure_letters_are_stored_in_lower_case(letters: str | bytes) -> None:
    stored = normalise(letters, "3di")
    assert stored == "dvqvad"
    assert key_of(stored) == hashlib.sha256(b"dvqvad").digest()[:16] != key_of("DVQVAD")


@pytest.mark.parametrize("letter", ["B", "j", "O", "u", "X", "z", "-", "3"])
def test_structure_letters_are_twenty(letter: str) -> None:
    with pytest.raises(RejectedError) as caught:
        normalise(f"DVQ{letter}A", "3di")
    assert caught.value.detail == f"letter {letter.lower()!r}, residue 4: not one of the 20 of 3Di"
