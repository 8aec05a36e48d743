"""Ids match their stored forms by the same text, then by accession, and never where two proteins may be meant."""

from __future__ import annotations

import pyarrow as pa
import pytest

from protea_ray.sequences.accessions import WAYS, StoredIds, accessions, match_ids

STORED = (
    "sp|P01308|INS_HUMAN", "tr|A0A2K5QDB3|A0A2K5QDB3_CEBIM", "sp|P01308-2|INS_HUMAN", "UniRef90_O43526",
    "UniRef100_UPI0000DD1FF4", "ref|NP_000198.1|", "gi|5524211|gb|AAD44166.1|", "pdb|2HHB|C", "lcl|contig7_4",
    "gnl|Ecoli|b0002", "ENSMUSP00000028995.4", "XP_011539.1", "XP_011539.2", "prf||0601198A", "7ZZZ_2|Chains",
    "AFDB:AF-Q5VSL9-F1", "AF-Q8W3K0-F1-model_v4", "AT1G01010.1", "sp|Q00001|TWIN_A", "tr|Q00001|TWIN_B",
    "gi|77|sp|O00001.3|NCBI_YEAST", "plain", "sp|plain|X_X",
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "stored", "way"),
    [
        ("sp|P01308|INS_HUMAN", "sp|P01308|INS_HUMAN", "id"),
        ("P01308", "sp|P01308|INS_HUMAN", "accession"),
        ("tr|P01308|OLD_NAME", "sp|P01308|INS_HUMAN", "accession"),
        ("A0A2K5QDB3", "tr|A0A2K5QDB3|A0A2K5QDB3_CEBIM", "accession"),
        ("A0A2K5QDB3_CEBIM", "tr|A0A2K5QDB3|A0A2K5QDB3_CEBIM", "UniProt entry name"),
        ("P01308-2", "sp|P01308-2|INS_HUMAN", "accession"),
        ("O43526", "UniRef90_O43526", "accession"),
        ("UPI0000DD1FF4", "UniRef100_UPI0000DD1FF4", "accession"),
        ("NP_000198.1", "ref|NP_000198.1|", "accession"),
        ("NP_000198", "ref|NP_000198.1|", "accession without its version"),
        ("AAD44166.1", "gi|5524211|gb|AAD44166.1|", "accession"),
        ("2HHB_C", "pdb|2HHB|C", "accession"),
        ("contig7_4", "lcl|contig7_4", "accession"),
        ("b0002", "gnl|Ecoli|b0002", "accession"),
        ("ENSMUSP00000028995", "ENSMUSP00000028995.4", "accession without its version"),
        ("0601198A", "prf||0601198A", "accession"),
        ("7ZZZ_2", "7ZZZ_2|Chains", "accession"),
        ("Q5VSL9", "AFDB:AF-Q5VSL9-F1", "accession"),
        ("Q8W3K0", "AF-Q8W3K0-F1-model_v4", "accession"),
        ("O00001", "gi|77|sp|O00001.3|NCBI_YEAST", "accession without its version"),
        ("sp_P01308_INS_HUMAN", "sp|P01308|INS_HUMAN", "accession"),
    ],
)
def test_the_usual_forms(asked: str, stored: str, way: str) -> None:
    match = match_ids([asked], pa.array(STORED))

    assert match.ids.to_pylist() == [stored]
    assert WAYS[match.way[0]] == way
    assert bool(match.sentences()) == (way != "id")


@pytest.mark.parametrize("asked", ["NP_000198.2", "ENSMUSP00000028995.3", "P01308-3", "5524211", "AT1G01010", "2HHB",
                                   "p01308", "", "INS", "P0130", "sp", "HUMAN"])  # fmt: skip
def test_another_version_isoform_or_a_part_is_no_match(asked: str) -> None:
    match = match_ids([asked], pa.array(STORED))

    assert match.ids.to_pylist() == [None]
    assert not match.several.any()


@pytest.mark.parametrize(
    ("asked", "choices"),
    [
        ("Q00001", {"sp|Q00001|TWIN_A", "tr|Q00001|TWIN_B"}),
        ("XP_011539", {"XP_011539.1", "XP_011539.2"}),
        ("INS_HUMAN", {"sp|P01308|INS_HUMAN", "sp|P01308-2|INS_HUMAN"}),
    ],
)
def test_of_several_none_is_taken_and_all_are_named(asked: str, choices: set[str]) -> None:
    match = match_ids(["P01308", asked], pa.chunked_array([STORED[:7], STORED[7:], STORED]))

    assert match.ids.to_pylist() == ["sp|P01308|INS_HUMAN", None]
    assert match.several.tolist() == [False, True]
    assert set(match.choices[asked]) == choices
    assert all(choice in match.ambiguities()[0] for choice in choices)


def test_an_id_that_is_also_an_accession_is_taken_as_an_id_and_said() -> None:
    match = match_ids(["plain", "P01308", "plain"], pa.array(STORED))

    assert match.ids.to_pylist() == ["plain", "sp|P01308|INS_HUMAN", "plain"]
    assert match.sentences() == [
        "1 of 3 ids were matched by accession (P01308 is sp|P01308|INS_HUMAN)",
        "2 id(s) are stored and other proteins' accession, and were taken as ids "
        "(plain is also the accession of sp|plain|X_X)",
    ]


def test_names_of_hdf5_data_sets_have_lost_their_punctuation() -> None:
    names = ["ref_NP_000198_1_", "XP_011539_2", "tr_A0A2K5QDB3_A0A2K5QDB3_CEBIM"]

    assert match_ids(names[:2], pa.array(STORED)).ids.to_pylist() == [None, None]
    assert match_ids(names, StoredIds(pa.array(STORED), hdf5=True)).ids.to_pylist() == [
        "ref|NP_000198.1|", "XP_011539.2", "tr|A0A2K5QDB3|A0A2K5QDB3_CEBIM",
    ]  # fmt: skip


def test_nothing_asked_and_nothing_stored() -> None:
    assert match_ids([], pa.array(STORED)).ids.to_pylist() == []
    assert match_ids(["P01308"], pa.array([], pa.string())).ids.to_pylist() == [None]
    assert accessions(pa.array([None, "a|b", "|", "sp||"], pa.string())).to_pylist() == [None, "a|b", "|", "sp||"]
