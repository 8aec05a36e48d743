"""Quotes in tables: a row never takes in another one without a word, and what pandas quotes is read as pandas reads."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.errors import InputError
from protea_ray.sequences import rows as rows_module
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.rows import header_of, read_rows, width_problem
from tests.sequences.reading import read, written

NAMED = Columns(description="organism")
HEADER = "id\torganism\tsequence"


def cells(text: str, format: str = "tsv") -> list[tuple[int, list[str]]]:
    return [(row.line, row.cells) for row in read_rows([text.encode()], format, "t")]


def lone(first: str, last: str, delimiter: str = "\t") -> bytes:
    """Five rows; a quote opens in the second and another stands in the fourth."""
    table = [["r1", "mouse", "MKA"], ["r2", first, "MKC"], ["r3", "rat", "MKD"], ["r4", last, "MKE"], ["r5", "", "MKF"]]
    return "\n".join([HEADER.replace("\t", delimiter), *(delimiter.join(row) for row in table), ""]).encode()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("first", "last"),
    [
        ('"Phytoplasma mali', 'Phytoplasma mali"'),  # as if quoted over three lines
        ('"', '"'),
        ('"Nostoc" azollae', '"Nostoc" azollae'),
        ('"Liberibacter', "crescens"),  # never closed
        ('"', '"Liberibacter" x'),
        ('5" end', '3" end'),
        ("'Nostoc", "azollae'"),
    ],
)
def test_every_line_of_an_unquoted_tsv_is_a_record(tmp_path: Path, first: str, last: str, end: bytes) -> None:
    got = read(written(tmp_path, lone(first, last).replace(b"\n", end), "x.tsv"), columns=NAMED)
    assert [(row["id"], row["sequence"], row["line"]) for row in got.proteins] == [
        (f"r{number}", "MK" + letter, number + 1) for number, letter in enumerate("ACDEF", 1)
    ]
    assert got.rejects == []
    assert [row["description"] for row in got.proteins][1:4:2] == [first, last]


@pytest.mark.parametrize("last", ['Phytoplasma mali"', '"', "mali"])
def test_a_quote_in_a_csv_that_takes_in_rows_stops_the_file(tmp_path: Path, last: str) -> None:
    with pytest.raises(InputError, match=r"x\.csv:3: a quoted field begins here and takes in line 4, which has all 3"):
        read(written(tmp_path, lone('"Phytoplasma', last, ","), "x.csv"), columns=NAMED)


def test_two_rows_of_a_csv_are_not_one(tmp_path: Path) -> None:
    data = b'id,organism,sequence\nr1,"P,MKA\nr2,p",MKC\n'
    with pytest.raises(InputError, match=r"x\.csv:2: a quoted field begins here and takes in line 3"):
        read(written(tmp_path, data, "x.csv"))


@pytest.mark.parametrize(("format", "delimiter"), [("tsv", "\t"), ("csv", ",")])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_what_pandas_writes_is_read(format: str, delimiter: str, quoting: int) -> None:
    table = pd.DataFrame(
        {
            "organism": ["two\nlines", 'a "quoted" word', "a\tb, c", '"whole"', "plain"],
            "id": ["u1", "u2", "u3", "u4", "u5"],
            "sequence": ["MKV\nLLA\n\nGGS", "MKW", "MKY", "MKR", "MKN"],
        }
    )
    text = table.to_csv(sep=delimiter, index=False, quoting=quoting)
    assert [row for _, row in cells(text, format)] == [list(table.columns), *table.to_numpy().tolist()]


def test_delimiters_between_quotes_count_where_the_header_says_so() -> None:
    text = f'{HEADER}\na\t"x\ty"\tMKV\nb\t"x\tMKL\nc\t"p\tMKV"\nd\t"x\ty"\tMKW\tz\n'
    assert [row for _, row in cells(text)][1:] == [
        ["a", "x\ty", "MKV"],
        ["b", '"x', "MKL"],
        ["c", '"p', 'MKV"'],  # of two readings the one with three columns
        ["d", "x\ty", "MKW", "z"],  # neither: a reject
    ]


@pytest.mark.parametrize("row", ['a\t"one\nand\ttwo"\tMKV', 'a\t"one\tMKV\nmy"\tLLL'])
def test_a_tsv_in_doubt_stops_with_its_line(tmp_path: Path, row: str) -> None:
    data = f"{HEADER}\nz\t\tMKV\n{row}\n".encode()
    with pytest.raises(InputError, match=r"x\.tsv:3: a quote begins here that is closed in line 4"):
        read(written(tmp_path, data, "x.tsv"))


def test_quotes_of_r_keep_their_columns() -> None:
    text = '"id"\t"organism"\t"sequence"\n"a"\t"5\\" x"\t"MKV"\n'
    assert cells(text) == [(1, ["id", "organism", "sequence"]), (2, ["a", '"5\\" x"', "MKV"])]


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"# made by a tool\nid\tsequence\na\tMKV\n", "x.tsv", "x.tsv:1: a comment line stands where"),
        (b'id,"na"me,sequence\na,b,MKV\n', "x.csv", "x.csv:1: the names of the columns cannot be read"),
        (b'id,sequence\na,"MKV\n\nLLL\n', "x.csv", "x.csv:2: a quoted field begins here and does not end"),
    ],
)
def test_headers_and_quotes_that_cannot_be_read(tmp_path: Path, data: bytes, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(written(tmp_path, data, name))
    assert said in str(caught.value)


def test_a_lone_quote_in_a_header_is_a_character(tmp_path: Path) -> None:
    data = b'id\t"note\tsequence\na\tx\tMKV\nb\ty"\tLLL\n'
    assert [row["id"] for row in read(written(tmp_path, data, "x.tsv")).proteins] == ["a", "b"]


def test_a_quote_that_is_never_closed_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_RECORD", 5000)
    text = f'{HEADER}\na\t"x\n' + "word\n" * 1000 + 'b\ty"\tMKV\n'
    rows = read_rows([text.encode()], "tsv", "t")
    assert header_of(rows, "t") == HEADER.split("\t")
    assert next(rows).cells == ["a", '"x']
    assert len(rows._ahead) < 60  # type: ignore[attr-defined]
    assert sum(width_problem(row, 3) is None for row in rows) == 1


_CELL = st.text("ab\" '\\", max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=8), st.integers(1, 9))
def test_no_row_of_an_unquoted_tsv_is_lost(table: list[tuple[str, str]], block: int) -> None:
    raw = "".join(["i\tx\ty\n", *(f"{number}\t{x}\t{y}\n" for number, (x, y) in enumerate(table))]).encode()
    pieces = [raw[at : at + block] for at in range(0, len(raw), block)]
    rows = list(read_rows(pieces, "tsv", "t"))[1:]
    assert [row.line for row in rows] == list(range(2, len(table) + 2))
    assert [row.cells[0] for row in rows] == [str(number) for number in range(len(table))]
    for row, (x, y) in zip(rows, table, strict=True):
        expected = next(csv.reader(StringIO(y, newline=""), delimiter="\t"), [""]) if y[-1:] == '"' == y[:1] else [y]
        assert row.cells[1:] == [row.cells[1], *expected] or row.cells[2] == y
        assert row.cells[1].strip('"').replace('""', '"') in (x, x.strip('"').replace('""', '"'))
