"""What a run leaves in its row of `runs` beside its accounting, for the report: about 10 kB, however long the run."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from protea_ray.config.identity import identity_digest
from protea_ray.config.libraries import OF_EMBEDDING, versions
from protea_ray.pictures.store_data import Packing

if TYPE_CHECKING:
    from protea_ray.config.recipe import EmbeddingConfig
    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.loop import Tally

RECORD = "record"  # the key in the summary of a row of `runs`
MOST_INPUTS = 20  # that are recorded by name; a shell may give a million
_WEB_QUERY = re.compile(r"(?<=://)([^?#]*)[?#].*")  # signed links carry their signature there
_USER = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/@]*@")
_KIB = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss


def resident_peak() -> int:
    """The most memory that this process had resident so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def run_record(
    recipes: Sequence[EmbeddingConfig],
    options: RunOptions,
    files: Mapping[str, str],
    tally: Tally,
    began: float,
    inputs: Sequence[str] = (),
) -> dict[str, Any]:
    """What made the vectors and what it took, as plain values; `began`: the command, in seconds since the epoch.

    `files` are the digests of the checkpoint, `inputs` are as they were given, none for a run that reads none. A figure
    that nothing was measured for is left out.
    """
    computed = bool(tally.packs)
    packing = Packing(tally.residues, tally.tokens, 0, tally.packs)  # windows lie side by side: no token is padding
    actors = {"actor": tally.peak_memory} if tally.peak_memory else {}
    gpu = {"gpu": tally.peak_gpu_memory} if tally.peak_gpu_memory else {}
    return {
        "rate": [asdict(point) for point in tally.timeline.points(began)],
        "packing": asdict(packing) if computed else None,
        "peak_memory": {"driver": resident_peak(), **actors, **gpu},
        "config": {
            "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
            "run": options.model_dump(mode="json", exclude={"address"}),
            "inputs": [_without_secrets(given) for given in inputs[:MOST_INPUTS]],
            "inputs_given": len(inputs),
        },
        "digests": {**files, **_recipe_digests(recipes, files)},
        "versions": {**versions(OF_EMBEDDING), "python": platform.python_version()},
        "machine": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count() or 1},
    }


def _without_secrets(given: str) -> str:
    """An address without a user's name and password, and of the web without what follows the path.

    Globs of files and buckets may hold `?` and stay as they are.

    >>> _without_secrets("https://me:word@host/a.fasta?signature=s"), _without_secrets("s3://bucket/a?.fasta")
    ('https://host/a.fasta', 's3://bucket/a?.fasta')
    """
    given = _USER.sub(r"\1", given)
    return _WEB_QUERY.sub(r"\1", given) if given.startswith(("http://", "https://")) else given


def _recipe_digests(recipes: Sequence[EmbeddingConfig], files: Mapping[str, str]) -> dict[str, str]:
    """The digest of each recipe with its checkpoint; a new space's name ends in the first 8 of its digits."""
    names = ["recipe"] if len(recipes) == 1 else [f"recipe {place}" for place in range(1, len(recipes) + 1)]
    return {name: identity_digest(recipe, files) for name, recipe in zip(names, recipes, strict=True)}
