"""Tables fit where they are printed, and no name is ever cut: at every width, in every alphabet and encoding."""

from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.cli import show_rows, terminal
from protea_ray.cli.terminal import NARROWEST_TEXT, Column, print_table, say, table_lines
from protea_ray.display import text_table
from protea_ray.store.aliases import move
from protea_ray.store.location import open_location
from protea_ray.store.spaces import ensure_space
from tests.commands import call
from tests.store import build

SPACE = "untrained_esm2_8m_with_forty_letters-0f8864c7"
OTHER = "untrained_esm2_8m_with_forty_letters-1f8864c7"
DESCRIPTION = "Aspartate aminotransferase, mitochondrial OS=Oryctolagus cuniculus OX=9986 GN=GOT2 PE=1 SV=2"
COLUMNS = [
    Column("rank", right=True),
    Column("id"),
    Column("already present", right=True),
    Column("description", text=True),
    Column("n_ids", right=True, keep=False),
    Column("key", keep=False),
]
ROWS = [
    ["1", "sp|P12345|AATM_RABIT", "1,234", DESCRIPTION, "1", "a" * 32],
    ["10", "tr|A0A0B4J2D5|GAL3B_HUMAN", "0", "short", "12", "b" * 32],
]


class Terminal(io.TextIOWrapper):
    """A stream in memory that says that a person looks at it."""

    def __init__(self, encoding: str = "utf-8", errors: str = "strict") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors, newline="")

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


def columns_taken(line: str) -> int:
    """Cells of a terminal, from the Unicode standard's own tables (UAX 11) and not from rich's."""
    wide = {"W": 2, "F": 2}
    return sum(0 if unicodedata.combining(c) else wide.get(unicodedata.east_asian_width(c), 1) for c in line)


def test_a_pipe_gets_whole_rows_of_one_line_whatever_their_length() -> None:
    lines = table_lines(COLUMNS, ROWS, None, "")
    assert len(lines) == 1 + len(ROWS)
    for line, row in zip(lines[1:], ROWS, strict=True):
        assert [part for part in line.split("  ") if part.strip()] != []
        assert all(cell in line for cell in row)
    assert not set("│┃━─") & set("".join(lines))
    assert lines[1].index("1,234") + 5 == lines[2].index(" 0 ") + 2, "numbers end at the same place"


def test_lesser_columns_go_first_and_are_named_then_text_is_shortened() -> None:
    whole = table_lines(COLUMNS, ROWS, 250, "-")
    assert whole[0].endswith("key") and set(whole[1]) == {"-", " "} and not any("left out" in line for line in whole)
    without_key = table_lines(COLUMNS, ROWS, 160, "-")
    assert without_key[-1] == "columns left out: key; --json has all"
    assert DESCRIPTION in "\n".join(without_key)
    narrow = table_lines(COLUMNS, ROWS, 80, "-")
    assert narrow[0].split() == ["already"] and narrow[1].split() == ["rank", "id", "present", "description"]
    assert "columns left out: n_ids, key; --json has all" in narrow
    assert "..." in narrow[3] and "sp|P12345|AATM_RABIT" in narrow[3]
    assert max(map(len, narrow)) <= 80


def test_what_can_not_fit_is_stacked_with_every_column_whole() -> None:
    lines = table_lines(COLUMNS, ROWS, 60, "-")
    assert lines[0] == "rank:            1"
    assert lines[1] == "id:              sp|P12345|AATM_RABIT"
    assert lines.count("") == len(ROWS)
    text = " ".join(line.strip() for line in lines)
    assert DESCRIPTION in text, "text is wrapped and none of it lost"
    assert "a" * 32 in text
    assert max(map(len, lines)) <= 60


LETTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Mn"])
NAMES = st.text(LETTERS, min_size=1, max_size=5) | st.text(LETTERS, min_size=NARROWEST_TEXT + 1, max_size=50)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES), max_size=4), st.integers(1, 300))
def test_no_name_is_cut_at_any_width(rows: list[tuple[str, ...]], width: int) -> None:
    columns = [
        Column("id"),
        Column("description", text=True),
        Column("to embed", right=True),
        Column("key", keep=False),
    ]
    lines = table_lines(columns, rows, width, "─")
    said = "\n".join(lines)
    for row in rows:
        assert row[0] in said and row[2] in said
        assert row[3] in said or "left out: key" in " ".join(lines)
    assert lines, "an empty table has its header, however narrow"


@given(st.lists(st.text("abcWéあ蛋 ", min_size=1, max_size=40), min_size=2, max_size=2))
def test_columns_stand_below_each_other_in_cells_of_the_terminal(names: list[str]) -> None:
    lines = table_lines(
        [Column("id"), Column("n", right=True)], [[name.strip() or "x", "7"] for name in names], None, ""
    )
    assert len({columns_taken(line) for line in lines}) == 1, lines


def test_text_shorter_than_the_narrowest_column_is_not_padded_to_it() -> None:
    lines = table_lines([Column("id"), Column("description", text=True)], [["P" * 30, "x" * 60]], 56, "")
    assert lines[1] == f"{'P' * 30}  {'x' * (NARROWEST_TEXT - 3)}..."
    assert table_lines([Column("id"), Column("description", text=True)], [["P" * 30, "x" * 60]], 55, "")[0][:3] == "id:"


def test_an_empty_table_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [])
    assert capsys.readouterr().out.split() == ["rank", "id", "already", "present", "description", "n_ids", "key"]


def test_two_hundred_columns_are_stacked_on_a_terminal_and_one_line_in_a_pipe() -> None:
    columns = [Column(f"column{i}") for i in range(200)]
    row = [f"value{i}" for i in range(200)]
    assert len(table_lines(columns, [row], 80, "-")) == 200 + 1
    assert len(table_lines(columns, [row], None, "")) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_is_written_and_nothing_is_lost(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_table([Column("id"), Column("space")], [["蛋白", SPACE], ["[bold]é[/]\x1b[31m", SPACE]])
    say("蛋白: done")
    text = stream.text()
    assert text.count(SPACE) == 2
    assert "[bold]" in text and "\x1b" not in text
    assert ("蛋白" if encoding == "utf-8" else r"\u86cb\u767d") in text
    assert ("─" in text) == (encoding == "utf-8")


def test_the_width_is_that_of_columns_else_of_the_terminal_else_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(COLUMNS, ROWS)
    assert DESCRIPTION in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    print_table(COLUMNS, ROWS)
    assert "columns left out: n_ids, key" in capsys.readouterr().out


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_terminal_gets_no_control_letters_and_whole_words(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    line = f"the alias current points to {SPACE} and was not moved by this run"
    say(line)
    print_table([Column("id")], [["P1"]])
    text = stream.text()
    assert "\x1b" not in text
    said = text.split("\nid\n")[0].split("\n")
    assert " ".join(said) == line and SPACE in said
    assert all(len(part) <= 40 for part in said if part != SPACE)


def test_a_line_in_a_pipe_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    say("word " * 40)
    assert capsys.readouterr().out == "word " * 40 + "\n"


def test_terminal_of_a_notebook_keep_names_whole_and_numbers_to_the_right() -> None:
    model = "/a/very/long/directory/of/checkpoints/of/someone/else/esm2-checkpoint-100"
    lines = text_table(("space", "model", "in", "freed"), [(SPACE, model, "5", "10 kB"), ("b", "蛋", "1,200", "9 B")])
    first, second, third = lines.split("\n")
    assert model in second and SPACE in second
    assert columns_taken(first) == columns_taken(second) == columns_taken(third)
    assert second.index("    5  10 kB") > 0 and third.endswith("1,200    9 B")


def test_nothing_of_rich_is_loaded_for_a_plain_table() -> None:
    code = (
        "import sys; from protea_ray.cli.terminal import *; "
        "print_table([Column('id')], [['P1']]); print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["id", "P1", "False"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of UniProt-like ids, one of them wide, with two spaces of names of more than forty letters."""
    path = tmp_path_factory.mktemp("tables") / "s"
    ids = [f"sp|P{n:05d}|蛋白_RABIT" if n % 7 == 0 else f"tr|A0A0B4J2D{n}|GAL{n}_HUMAN" for n in range(40)]
    location = open_location(path)
    build.ingest(location, build.proteins(range(40), ids=ids))
    for name in (SPACE, OTHER):
        ensure_space(location, build.info(name), build.schema())
        build.fill(location, name, range(40), "u", build.schema())
    move(location, "current", SPACE, run="r1", writer=build.writer())
    return path


GAL3 = "tr|A0A0B4J2D3|GAL3_HUMAN"
LOOKS = {  # the command, and names that must be there whole
    "status": (["status"], [SPACE, OTHER]),
    "upkeep": (["upkeep", "--dry-run"], [SPACE, OTHER]),
    "where": (["query", "--where", "length > 0"], [GAL3, "sp|P00007|蛋白_RABIT"]),
    "nearest": (["query", "--nearest", "tr|A0A0B4J2D1|GAL1_HUMAN"], ["GAL37_HUMAN ", "sp|P00021|蛋白_RABIT"]),
    "drift": (["drift", SPACE, OTHER], [SPACE, OTHER]),
    "alias": (["alias"], [SPACE]),
}


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("look", LOOKS)
def test_every_table_over_a_store_fits_its_terminal(
    look: str, width: int, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (terminal, show_rows):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    (command, *options), names = LOOKS[look]
    done = call(command, store, *options)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.split("\n") if str(store) not in line]
    assert max(map(columns_taken, lines)) <= width, done.stdout
    assert all(name in done.stdout for name in names), done.stdout
    assert ("left out: key" in done.stdout) == (look in ("where", "nearest") and width == 80)


def test_a_pipe_gets_every_row_of_a_query(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = call("query", store, "--where", "length > 0").stdout.splitlines()
    assert len(lines) == 1 + 40
    assert lines[0].split() == ["id", "length", "description", "key"]
    assert {columns_taken(line) for line in lines[1:]} == {columns_taken(lines[1])}
