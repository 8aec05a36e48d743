"""`protea-ray models`: the models that have a short name, and what a person wants to know before choosing one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from protea_ray.cli.options import JSON

if TYPE_CHECKING:
    from protea_ray.config.known_models import KnownModel


def models(as_json: JSON = False) -> None:
    """List models by short name: size, memory, licence, and whether the files are here. Nothing is downloaded."""
    from protea_ray.config.known_models import KNOWN
    from protea_ray.models.at_hand import built_in_models, is_here

    here = {known.name: is_here(known.hub_id) for known in KNOWN}
    if as_json:
        facts = [_facts(known, here[known.name]) for known in KNOWN]
        print(json.dumps({"models": facts, "built_in": built_in_models()}))
        return
    _print_models(here)


def _facts(known: KnownModel, here: bool) -> dict[str, Any]:
    """One model for programs; sizes in bytes, `trained_length` in residues."""
    return {
        "name": known.name,
        "hub_id": known.hub_id,
        "also": list(known.others),
        "parameters": round(known.millions * 1e6),
        "layers": known.layers,
        "width": known.width,
        "trained_length": known.trained_length,
        "float32_bytes": known.weights(4),
        "half_bytes": known.weights(2),
        "licence": known.licence,
        "relative_cost": known.cost,
        "here": here,
    }


def _print_models(here: dict[str, bool]) -> None:
    """One row a model; the built-in ones in words."""
    from rich.filesize import decimal

    from protea_ray.cli.terminal import Column, print_table, say
    from protea_ray.config.known_models import KNOWN
    from protea_ray.models.at_hand import built_in_models

    numbers = ("parameters", "layers x width", "window", "float32", "half", "time")
    columns = [Column("name"), Column("hub id")]
    columns += [Column(name, right=True, keep=name in ("parameters", "half")) for name in numbers]
    rows = [
        (
            known.name, known.hub_id, f"{known.millions:,g} M", f"{known.layers} x {known.width:,}",
            f"{known.trained_length:,}" if known.trained_length else "relative",
            decimal(known.weights(4)), decimal(known.weights(2)),
            "" if known.cost is None else f"{known.cost:g}", known.licence, "yes" if here[known.name] else "",
        )
        for known in KNOWN
    ]  # fmt: skip
    print_table([*columns, Column("licence", keep=False), Column("here")], rows)
    say("window: residues that it was trained on at once (relative: any number); float32, half: memory of its weights;")
    say("time: of a residue on an H200 in half precision, esm2_650m = 1, empty: not measured; here: in the hub's cache")
    for name, said in built_in_models().items():
        say(f"built in: {name}: {said}")
    say("Any other model of these families: its hub id (owner/name) or a directory, ./NAME for one in this directory.")
