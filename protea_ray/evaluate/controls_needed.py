"""Which controls stand beside the subjects: each once, however many subjects it is a control of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from protea_ray.cluster.progress import Reporter
from protea_ray.config.run import RunOptions
from protea_ray.errors import ProteaRayError
from protea_ray.evaluate.inputs import RANDOM, UNTRAINED, WINDOW, Input
from protea_ray.evaluate.letters import WINDOW_RESIDUES
from protea_ray.evaluate.subjects import Subject, space_subject
from protea_ray.evaluate.untrained_spaces import MissingTwins, WantedTwin, in_one_pass, missing_twins, wanted_twin
from protea_ray.store.keys import KeyIndex
from protea_ray.store.location import Location
from protea_ray.store.spaces import SpaceInfo, list_spaces
from protea_ray.store.tables import open_table
from protea_ray.store.twin_spaces import is_twin

_SHOWN = {WINDOW: f"{WINDOW} {WINDOW_RESIDUES}"}  # how tables name it: the residues that it sees


@dataclass(frozen=True)
class Untrained:
    """`controls` that the store holds whole, what has to be embedded first, and in words which subject has none."""

    controls: tuple[Subject, ...] = ()
    missing: tuple[MissingTwins, ...] = ()
    notes: tuple[str, ...] = ()


def made_controls(controls: Sequence[str], given: Sequence[Input]) -> list[Input]:
    """Controls that need no space, beside inputs of one task: random vectors of each width, others once."""
    found: list[Input] = []
    for control in controls:
        if control == RANDOM:
            widths = sorted({one.width for one in given})
            found += [Input(f"{RANDOM} {width}", width, control=RANDOM, trained=False) for width in widths]
        elif control != UNTRAINED:
            found.append(Input(_SHOWN.get(control, control), 0, control=control, trained=False))
    return found


def untrained_controls(
    location: Location, subjects: Sequence[Subject], keys: pa.Array, options: RunOptions, report: Reporter
) -> Untrained:
    """The untrained space of each trained subject, in the store or to be embedded. Nothing is written.

    One that lacks some of `keys`, the proteins of the tasks, is to be embedded too.
    """
    spaces = list_spaces(location)
    controls: dict[str, Subject] = {}
    absent: dict[str, WantedTwin] = {}
    notes: list[str] = []
    for subject in subjects:
        if (why := _no_twin(subject)) is not None:
            notes += [why] if why else []
            continue
        assert subject.info is not None  # a file's subject has a reason
        twin = next((info for info in spaces if is_twin(info, subject.info)), None)
        if twin is None or lacks(location, twin, keys):
            absent[subject.info.name] = wanted_twin(subject.info, twin)
        else:
            control = as_control(location, twin, subject)
            controls[control.name] = control
    missing, failed = _openable(list(absent.values()), options, report)
    return Untrained(tuple(controls.values()), tuple(missing), (*notes, *failed))


def _no_twin(subject: Subject) -> str | None:
    """Why a subject has no untrained control, in words; empty where that needs no word, None where it has one."""
    if subject.info is None:
        return f"{subject.name} has no untrained control: it is a file, which names no model"
    if subject.info.imported:
        return f"{subject.name} has no untrained control: its vectors were imported"
    return None if subject.info.trained else ""


def _openable(
    wanted: Sequence[WantedTwin], options: RunOptions, report: Reporter
) -> tuple[list[MissingTwins], list[str]]:
    """What can be embedded here, and in words what cannot."""
    missing: list[MissingTwins] = []
    failed: list[str] = []
    for together in in_one_pass(wanted):
        try:
            missing.append(missing_twins(together, options, report))
        except ProteaRayError as error:
            names = ", ".join(one.subject.name for one in together)
            failed.append(f"{names} has no untrained control: {error}")
    return missing, failed


def lacks(location: Location, info: SpaceInfo, keys: pa.Array) -> int:
    """How many of `keys` have no vector in a space."""
    held = open_table(location.table(info.name)).to_table(columns=["key"])["key"].combine_chunks()
    return int(np.sum(~KeyIndex(held).contains(keys)))


def as_control(location: Location, twin: SpaceInfo, subject: Subject) -> Subject:
    """An untrained space as the control of a subject: the same pooling, read at its latest version."""
    pooling = subject.pooled.pooling if subject.pooled is not None else None
    found = space_subject(location, twin.name, None, pooling)
    name = found.name if len(twin.poolings) > 1 else twin.name

    def control(given: Input | None) -> Input | None:
        return replace(given, name=name, control=UNTRAINED) if given is not None else None

    return replace(found, name=name, pooled=control(found.pooled), residues=control(found.residues))
