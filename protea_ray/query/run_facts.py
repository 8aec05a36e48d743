"""The runs of a store, from its table `runs`; what a run of an earlier release did not record is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from protea_ray.pictures.store_data import Flow, Packing, RatePoint, RunFacts, StageTime
from protea_ray.store.location import Location
from protea_ray.store.runs import list_runs

_FLOW = ("stored", "duplicate", "rejected", "already_present")


def read_run_facts(location: Location) -> tuple[RunFacts, ...]:
    """Read every run of the store, of every kind, oldest first."""
    return tuple(run_facts(row) for row in list_runs(location))


def run_facts(row: Mapping[str, Any]) -> RunFacts:
    """One row of `runs`, whose `summary` is a mapping, as values."""
    summary = row["summary"]
    record = summary.get("record") or {}
    return RunFacts(
        run=row["run"],
        kind=row["kind"],
        finished=row["finished"],
        **{name: summary.get(name) for name in ("seconds", "model", "trained", "device", "actors", "residues")},
        flows=_flows(summary),
        rate=tuple(RatePoint(**point) for point in record.get("rate", ())),
        stages=tuple(StageTime(**stage) for stage in summary.get("stages", ())),
        packing=Packing(**record["packing"]) if record.get("packing") else None,
        peak_memory=record.get("peak_memory", {}),
        config=record.get("config", {}),
        digests=record.get("digests", {}),
        versions={**record.get("versions", {}), **_machine(record)},
    )


def _machine(record: Mapping[str, Any]) -> dict[str, str]:
    machine = record.get("machine")
    return {"machine": f"{machine['system']} {machine['machine']}, {machine['cores']} cores"} if machine else {}


def _flows(summary: Mapping[str, Any]) -> tuple[Flow, ...]:
    """Where the records went in each space; nothing of a run that did not account for all of them."""
    spaces = summary.get("spaces")
    if not isinstance(spaces, list) or not isinstance(summary.get("in"), int):
        return ()
    names = {field.name for field in fields(Flow)} - {"records"}
    whole = [space for space in spaces if names <= space.keys()]
    return tuple(Flow(records=sum(s[n] for n in _FLOW), **{name: s[name] for name in names}) for s in whole)
