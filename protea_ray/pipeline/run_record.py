"""What a run leaves in its row of `runs` beside its accounting, for the report: about 10 kB, however long the run."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from protea_ray.config.libraries import OF_EMBEDDING, versions
from protea_ray.pictures.store_data import Packing

if TYPE_CHECKING:
    from protea_ray.config.recipe import EmbeddingConfig
    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.loop import Tally

RECORD = "record"  # the key in the summary of a row of `runs`
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
) -> dict[str, Any]:
    """What made the vectors and what it took, as plain values; `began`: the command, in seconds since the epoch.

    `files` are the digests of the checkpoint. A figure that nothing was measured for is left out.
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
            "run": options.model_dump(mode="json", exclude_defaults=True, exclude={"address"}),
        },
        "digests": dict(files),
        "versions": {**versions(OF_EMBEDDING), "python": platform.python_version()},
        "machine": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count() or 1},
    }
