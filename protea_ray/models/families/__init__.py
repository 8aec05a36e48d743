"""Which family a checkpoint is of, from its own configuration and vocabulary; never from its name.

Four families come with the package. Another one is a subclass of `Family` in one file, and one line in a
`pyproject.toml`: an entry point of the group `protea_ray.families` whose value is an instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from protea_ray.errors import CheckpointError
from protea_ray.models.families import ankh, esm2, esmc, t5
from protea_ray.models.families.base import Family, Shape, Stack
from protea_ray.models.families.vocabulary import read_vocabulary

__all__ = ["BUILT_IN", "GROUP", "Family", "Shape", "Stack", "families", "recognise"]

GROUP = "protea_ray.families"
BUILT_IN: tuple[Family, ...] = (esm2.FAMILY, esmc.FAMILY, t5.FAMILY, ankh.FAMILY)


def families() -> tuple[Family, ...]:
    """The built-in families and those that installed packages register; a built-in name cannot be taken over."""
    known = {family.name: family for family in BUILT_IN}
    for point in entry_points(group=GROUP):
        if point.name not in known:
            known[point.name] = _family(point)
    return tuple(known.values())


def recognise(config: Mapping[str, Any], directory: Path, wanted: str = "auto") -> Family:
    """The family of the checkpoint in `directory`, whose config.json says `config`.

    `wanted` names a family that it must be of. Raises CheckpointError with what was found, what is supported and,
    for each family, why it does not fit.
    """
    vocabulary = read_vocabulary(Path(directory))
    candidates = [family for family in families() if wanted in ("auto", family.name)]
    misfits = {family.name: family.misfit(config, vocabulary) for family in candidates}
    fitting = [family for family in candidates if misfits[family.name] is None]
    if fitting:
        return fitting[0]
    if not vocabulary and (kin := [f for f in candidates if f.model_type == config.get("model_type")]):
        raise CheckpointError(_no_tokenizer(directory, config, kin))
    names = ", ".join(family.name for family in families())
    found = (
        f"model_type {config.get('model_type')!r}, architectures {config.get('architectures')}, "
        f"{len(vocabulary)} tokens in its vocabulary files"
    )
    asked = "" if wanted == "auto" else f" as {wanted!r}"
    reasons = "".join(f"\n  not {name}: {reason}" for name, reason in misfits.items())
    raise CheckpointError(f"{directory} cannot be used{asked}: {found}. Supported: {names}.{reasons}")


def _no_tokenizer(directory: Path, config: Mapping[str, Any], kin: Sequence[Family]) -> str:
    """What to copy from where, for a checkpoint of one of the families `kin` without a tokenizer."""
    base = config.get("_name_or_path")
    copies = " or ".join(f"{f.tokenizer_file} ({f.name}: from {f.example})" for f in kin)
    source = f" It says that it was made from {base}." if isinstance(base, str) and base else ""
    return f"{directory} has no tokenizer's files. Copy those of the model it was made from: {copies}.{source}"


def _family(point: Any) -> Family:
    family = point.load()
    if not isinstance(family, Family):
        raise CheckpointError(
            f"entry point {point.name} = {point.value} of {GROUP} is a {type(family).__name__}, "
            "not an instance of protea_ray.models.families.Family"
        )
    return family
