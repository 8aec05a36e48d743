"""The log of attempts: careful from the third try, and a culprit only after two deaths alone."""

from __future__ import annotations

from protea_ray.run.attempts import AttemptLog

A, B = b"a" * 16, b"b" * 16


def test_a_protein_in_hand_at_two_deaths_is_the_culprit() -> None:
    log = AttemptLog()
    assert not log.begin("u").careful
    assert not log.begin("u").careful
    third = log.begin("u")
    assert (third.number, third.careful, third.culprits) == (3, True, {})

    log.hold("u", A)
    log.hold("u", B)  # A came back, so B is in hand when the worker dies
    assert log.begin("u").culprits == {}
    log.hold("u", A)
    log.hold("u", B)
    assert log.begin("u").culprits == {B: 2}


def test_deaths_of_different_proteins_condemn_none() -> None:
    log = AttemptLog()
    for _ in range(3):
        log.begin("u")
    log.hold("u", A)
    log.begin("u")
    log.hold("u", B)

    assert log.begin("u").culprits == {}


def test_a_finished_unit_is_forgotten() -> None:
    log = AttemptLog()
    log.begin("u")
    log.finish("u")

    assert log.begin("u").number == 1


def test_a_protein_that_was_put_down_is_no_suspect() -> None:
    """Its unit waited for the file to be written while another unit killed the worker, three times."""
    log = AttemptLog()
    for _ in range(3):
        log.begin("u")
        log.hold("u", A)
        log.put_down("u")

    assert log.begin("u").culprits == {}
