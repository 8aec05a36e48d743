"""The delta against a reference of Python sets and loops."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.plan.delta import delta
from protea_ray.sequences.records import KEY


def key(number: int) -> bytes:
    # keys that differ in their last byte only, or end in NUL, must not be taken for one another
    return bytes(15) + bytes([number])


def array(numbers: list[int]) -> pa.Array:
    return pa.array([key(n) for n in numbers], type=KEY)


numbers = st.lists(st.integers(0, 12), max_size=40)


@given(records=numbers, held=st.sets(st.integers(0, 12)), refused=st.sets(st.integers(0, 12)))
def test_every_record_has_one_place(records: list[int], held: set[int], refused: set[int]) -> None:
    seen: set[int] = set()
    places: list[str] = []
    for number in records:
        if number in held:
            places.append("already")
        elif number in seen:
            places.append("duplicate")
        elif number in refused:
            places.append("rejected")
        else:
            places.append("wanted")
        seen.add(number)

    found = delta(array(records), [array(sorted(held))], [array(sorted(refused))])

    counts = found.counts[0]
    assert counts.records == len(records)
    assert counts.already_present == places.count("already")
    assert counts.duplicate == places.count("duplicate")
    assert counts.rejected == places.count("rejected")
    assert counts.wanted == places.count("wanted")
    assert found.rows.tolist() == [i for i, place in enumerate(places) if place == "wanted"]
    assert found.masks.tolist() == [1] * len(found.rows)


def test_masks_say_which_space_lacks_a_key() -> None:
    found = delta(array([1, 2, 3]), [array([1]), array([1, 2])], [array([]), array([])])

    assert found.rows.tolist() == [1, 2]
    assert found.masks.tolist() == [0b01, 0b11]
    assert [c.wanted for c in found.counts] == [2, 1]
