"""The zoo: what FASTA files in the wild look like, each against a count that the reader did not make."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dnaio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.errors import InputError
from protea_ray.sequences import streams, text
from protea_ray.sequences.inputs import expand, scan
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.read import read_part
from protea_ray.sequences.records import MAX_DESCRIPTION, MAX_ID
from protea_ray.sequences.synth import write_fasta
from tests.sequences.reading import naive_fasta, read, written
from tests.shared_data import shared


def test_a_record_and_every_column(tmp_path: Path) -> None:
    got = read(written(tmp_path, b"\n>sp|P1|A first  protein \nmkv\nLA*\n"))
    assert got.rejects == []
    assert got.proteins == [
        {
            "id": "sp|P1|A",
            "key": hashlib.sha256(b"MKVLA").digest()[:16],
            "length": 5,
            "sequence": "MKVLA",
            "description": "first  protein ",
            "source": "label",
            "line": 2,
        }
    ]


def test_a_reject_and_every_column(tmp_path: Path) -> None:
    got = read(written(tmp_path, b">a\nMKV\n>b what\nMK-V\n>c\nLLL\n"))
    assert [row["id"] for row in got.proteins] == ["a", "c"]
    assert got.rejects == [
        {
            "id": "b",
            "key": None,
            "source": "label",
            "line": 3,
            "stage": "ingest",
            "reason": "illegal_letter",
            "detail": "letter '-', residue 3",
            "attempts": 1,
            "run": "run-1",
            "space": None,
        }
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: bytes, bom: bytes) -> None:
    lines = [b"", b">a one", b"MKV", b"LLL", b"", b">b > two", b"ACDE", b">c", b"WWW"]
    got = read(written(tmp_path, bom + end.join(lines)), part_bytes=1)
    assert [(row["id"], row["line"], row["sequence"]) for row in got.proteins] == [
        ("a", 2, "MKVLLL"),
        ("b", 6, "ACDE"),
        ("c", 8, "WWW"),
    ]
    assert got.proteins[1]["description"] == "> two"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b">b\nM\x00K\n", "illegal_letter"),
        (b">b\nM\xe9K\n", "illegal_letter"),
        (b">b\nMK..V\n", "illegal_letter"),
        (b">b\nMKV\n >d\nMKV\n", "illegal_letter"),
        (b">b\n#comment\nMKV\n", "illegal_letter"),
        (b">b\n", "empty_sequence"),
        (b">b\n\n\n", "empty_sequence"),
        (b">b\n*\n", "empty_sequence"),
        (b">\nMKV\n", "empty_id"),
        (b">   \nMKV\n", "empty_id"),
        (b">b\x00\nMKV\n", "illegal_id"),
        (b">" + b"x" * 1_000_000 + b"\nMKV\n", "long_id"),
    ],
)
def test_a_bad_record_is_one_reject_and_reading_goes_on(tmp_path: Path, record: bytes, reason: str) -> None:
    got = read(written(tmp_path, b">a\nMKV\n" + record + b">c\nLLL\n"))
    assert [row["id"] for row in got.proteins] == ["a", "c"]
    assert [(row["reason"], row["line"]) for row in got.rejects] == [(reason, 3)]
    assert len(got.rejects[0]["id"]) <= MAX_ID


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_comments_cost_no_protein_and_count_as_lines(tmp_path: Path, end: bytes) -> None:
    lines = [b"; made by hand", b"#x", b"!y", b"", b">a", b";note", b"MKV", b";", b"LLL;", b">b", b"; ;", b"GGS", b";z"]
    got = read(written(tmp_path, end.join([*lines, b">c;d", b"AAA", b""])), part_bytes=1)
    assert [(row["id"], row["sequence"], row["line"]) for row in got.proteins] == [("b", "GGS", 10), ("c;d", "AAA", 14)]
    assert [(row["line"], row["detail"]) for row in got.rejects] == [(5, "letter ';', residue 7")]


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        (b">b\nMKV\n# end of part 1\nLLL\n", "illegal_letter", "the line '# end of part 1'"),
        (b">b\n!x\nMKV\n", "illegal_letter", "only ';' begins a comment"),
        (b">b a protein of\nBacillus anthracis strain\nMKVLLL\nKK\n", "malformed_row", "must stand on one line"),
        (b">b of\nBacillus anthracis\nstrain Ames again\nMKV\n", "malformed_row", "'Bacillus anthracis'"),
        (b">b MKTWYIAKQR\n", "empty_sequence", "the header ends in 'MKTWYIAKQR'"),
        (b">MKTWYIAKQRMKTW*\n\n", "empty_sequence", "lines of their own"),
        (b">b short MKTW\n", "empty_sequence", "no residues"),
        (b">ss_pred PSIPRED\nCCHHHEEC\n", "malformed_row", "secondary structure"),
        (b">7XYZ:A:secstr\nHHHHEEEE\n", "malformed_row", "secondary structure"),
    ],
)
def test_what_is_no_protein_is_a_reject_in_words(tmp_path: Path, record: bytes, reason: str, words: str) -> None:
    got = read(written(tmp_path, b">a\nMKV\n" + record + b">c\nLLL\n"))
    assert [row["id"] for row in got.proteins] == ["a", "c"]
    assert [(row["reason"], row["line"]) for row in got.rejects] == [(reason, 3)]
    assert words in got.rejects[0]["detail"]


def test_blocks_of_residues_are_no_words(tmp_path: Path) -> None:
    data = b">a\nMKVLLLKKKA MKVLLLKKKA MKV\nMKV\n>b\nMK TWYIA K\n>c\nMKV \nLLL\n"
    assert [row["length"] for row in read(written(tmp_path, data)).proteins] == [26, 8, 6]


@pytest.mark.parametrize("header", ["Größe", "日本 タンパク質", "\N{DNA DOUBLE HELIX}"])
def test_utf8_headers(tmp_path: Path, header: str) -> None:
    got = read(written(tmp_path, f">x {header}\nMKV\n".encode()))
    assert got.proteins[0]["description"] == header


def test_latin1_header_reads_as_latin1(tmp_path: Path) -> None:
    got = read(written(tmp_path, ">é1 Größe\nMKV\n".encode("latin-1")))
    assert (got.proteins[0]["id"], got.proteins[0]["description"]) == ("é1", "Größe")


def test_a_megabyte_of_description_is_cut_and_the_protein_stored(tmp_path: Path) -> None:
    got = read(written(tmp_path, b">a " + b"x" * 1_000_000 + b"\nMKV\n>b\nMKV\n"))
    assert [len(row["description"]) for row in got.proteins] == [MAX_DESCRIPTION, 0]


def test_two_million_residues_are_stored(tmp_path: Path) -> None:
    line = b"ACDEFGHIKLMNPQRSTVWY" * 3 + b"\n"
    count = 2_000_000 // 60 + 1
    got = read(written(tmp_path, b">long\n" + line * count + b">next\nMKV\n"))
    assert [(row["id"], row["length"], row["line"]) for row in got.proteins] == [
        ("long", 60 * count, 1),
        ("next", 3, count + 2),
    ]


def test_a_record_above_the_limit_is_rejected_and_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.pieces, "__defaults__", (5000,))
    monkeypatch.setattr(text, "MAX_RECORD", 5000)
    monkeypatch.setattr(streams, "BLOCK", 1000)
    huge = b">big one\n" + b"MKV\n" * 50_000
    got = read(written(tmp_path, b">a\nMKV\n" + huge + b">c\nLLL\n"))
    assert [(row["id"], row["line"]) for row in got.proteins] == [("a", 1), ("c", 50_004)]
    assert [(row["id"], row["line"], row["reason"]) for row in got.rejects] == [("big", 3, "too_large")]


def test_a_hundred_thousand_one_residue_records(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(b">r%d\nM\n" % number for number in range(100_000)))
    got = read(path, part_bytes=100_000)
    assert [row["line"] for row in got.proteins] == list(range(1, 200_001, 2))
    assert len({row["id"] for row in got.proteins}) == 100_000


def test_duplicate_ids_are_not_this_floors_business(tmp_path: Path) -> None:
    got = read(written(tmp_path, b">a\nMKV\n>a\nMKV\n>a\nLLL\n"))
    assert [row["id"] for row in got.proteins] == ["a", "a", "a"]
    assert len({row["key"] for row in got.proteins}) == 2


@pytest.mark.parametrize(("data", "line"), [(b" >a\nMKV\n>b\nLLL\n", 1), (b"\r\n\r\n\t>a\r\nMKV\r\n>b\r\nL", 3)])
def test_text_before_the_first_record_stops_the_file(tmp_path: Path, data: bytes, line: int) -> None:
    with pytest.raises(InputError, match=rf"in\.fasta:{line}: '[\\t ]*>a' stands before the first '>'"):
        read(written(tmp_path, data))


def test_a_file_that_changes_after_the_scan_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, b">a\nMKV\n>b\nLLL\n")
    parts = scan(expand([str(path)])[0], Columns(), 1).parts
    path.write_bytes(b">a\nMKVLA\n>b\nLLL\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(read_part(parts[1], Columns(), "label", "run"))
    path.write_bytes(b">a\n")
    with pytest.raises(InputError, match="ends at byte"):
        list(read_part(parts[0], Columns(), "label", "run"))


def test_limit_counts_proteins_and_rejects(tmp_path: Path) -> None:
    got = read(written(tmp_path, b">a\nMKV\n>b\n\n>c\nLLL\n"), limit=2)
    assert ([row["id"] for row in got.proteins], got.reasons) == (["a"], ["empty_sequence"])


def test_batches_close_at_bytes_and_rows(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(b">r%d\nMKVLA\n" % number for number in range(10_000)))
    part = scan(expand([str(path)])[0], Columns(), 1 << 30).parts[0]

    def sizes(batch_bytes: int) -> list[int]:
        return [batch.proteins.num_rows for batch in read_part(part, Columns(), "label", "run", batch_bytes)]

    assert sizes(1 << 20) == [8192, 10_000 - 8192]
    assert max(sizes(1000)) <= 1000 // len("r0MKVLA") + 1
    assert sum(sizes(1000)) == 10_000


def test_clean_file_agrees_with_dnaio(tmp_path: Path) -> None:
    path = tmp_path / "synthetic.fasta"
    write_fasta(path, 500, seed=7)
    with dnaio.open(path) as reader:
        expected = [(record.name.split()[0], record.sequence) for record in reader]
    got = read(path, part_bytes=10_000)
    assert [(row["id"], row["sequence"]) for row in got.proteins] == expected


_LINES = st.sampled_from(
    [b">", b">a", b">b x", b">c >d", b"MKV", b"mk v", b"M-K", b"", b"  ", b"*", b"MK\x00", b"\xe9"]
)


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(_LINES, max_size=30),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    block=st.integers(1, 40),
    part_bytes=st.integers(1, 120),
)
def test_any_cut_of_any_file_gives_the_naive_readers_records(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, block: int, part_bytes: int
) -> None:
    data = b">first" + end + end.join(lines)
    path = written(tmp_path_factory.mktemp("cut"), data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams.raw_blocks, "__defaults__", (0, None, block))
        patch.setattr(streams.blocks, "__defaults__", (0, None, block))
        cut = read(path, part_bytes=part_bytes)
    whole = read(path, part_bytes=1 << 30)
    assert cut == whole
    expected = [line for line, _, _ in naive_fasta(data)]
    assert sorted(row["line"] for row in cut.proteins + cut.rejects) == expected
    letters = {line: residues for line, _, residues in naive_fasta(data)}
    for row in cut.proteins:
        assert row["sequence"].encode() == letters[row["line"]].upper().removesuffix(b"*")


# file, records (grep -c '^>'), gapped or nameless records that must be rejected
_DIRTY = [
    ("1a3a_1_A.a3m", 1024),
    ("illegal_amino_acids.fasta", 0),
    ("mmseqs_QUERY.fasta", 0),
    ("seqwence-protein.fasta", 0),
    ("some_proteins.fasta", 0),
]


@pytest.mark.parametrize(("name", "rejected"), _DIRTY)
def test_dirty_files_of_other_projects(name: str, rejected: int) -> None:
    path = shared(f"dirty_dev/{name}")
    data = path.read_bytes()
    got = read(path, part_bytes=4096)
    assert got.total == sum(line.startswith(b">") for line in data.splitlines())
    assert len(got.rejects) == rejected
    assert set(got.reasons) <= {"illegal_letter", "empty_id"}


def test_real_proteomes_have_every_record(tmp_path: Path) -> None:
    got = read(shared("quickstart/quickstart_1500.fasta"), part_bytes=50_000)
    naive = naive_fasta(shared("quickstart/quickstart_1500.fasta").read_bytes())
    assert [(row["line"], row["sequence"].encode()) for row in got.proteins] == [(at, s) for at, _, s in naive]
    assert (len(got.proteins), got.rejects) == (1500, [])
