"""Fields of headers: what stands behind its name and an equals sign, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pytest

from protea_ray.query.description_fields import description_fields


@pytest.mark.parametrize(
    ("description", "family", "organism"),
    [
        ("family=F0001", "F0001", ""),
        ("a; Family=PF1;b", "PF1", ""),
        ("subfamily=7", "", ""),
        ("a family of kinases", "", ""),
        ("Alr3414 OS=Nostoc sp. (strain PCC 7120) OX=103690 GN=x PE=4 SV=1", "", "Nostoc sp. (strain PCC 7120)"),
        ("P53 OS=Homo sapiens", "", "Homo sapiens"),
        ("BOS=Bos", "", ""),
        ("OS= OX=9", "", ""),
        ("OS=<b>x\ny</b> OX=1", "", "<b>x\ny</b>"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_a_field_is_what_stands_behind_its_name(description: str, family: str, organism: str) -> None:
    found = {field.name: field for field in description_fields(pa.array([description, "other"]))}

    assert {name: field.values.to_pylist() for name, field in found.items()} == {
        name: [value, ""] for name, value in (("family", family), ("organism", organism)) if value
    }
    assert all(field.found == 1 for field in found.values())


def test_no_descriptions_have_no_fields() -> None:
    assert description_fields(pa.array([], pa.string())) == []
