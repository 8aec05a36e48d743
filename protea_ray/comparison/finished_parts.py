"""Parts of a comparison that are done, kept as Parquet files in the folder `parts` of the output.

A part is one block of one variant, of masked losses also one bin. Its name ends in a digest of all that its numbers
follow from (weights, recipe, proteins, seed), so that the same comparison again finds it and any other one does not. A
file is written beside its place and moved there: a killed run leaves no half of one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.config.identity import canonical_json

PROTOCOL = 1  # another one computes every part anew


@dataclass(frozen=True)
class FinishedParts:
    """The parts below `folder`."""

    folder: Path

    def get(self, block: str, facts: Mapping[str, Any], make: Callable[[], Mapping[str, pa.Table]]) -> dict[str, Any]:
        """The tables of a part by name: read where they are all there, else made and kept.

        `facts` are plain values that the numbers follow from.
        """
        digest = hashlib.sha256(canonical_json({"protocol": PROTOCOL, "block": block, **facts}).encode()).hexdigest()
        marker = self.folder / f"{block}-{digest[:16]}.txt"
        if marker.is_file():
            names = marker.read_text(encoding="utf-8").split()
            return {name: pq.read_table(self._path(block, name, digest)) for name in names}
        made = dict(make())
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, table in made.items():
            path = self._path(block, name, digest)
            unfinished = path.with_suffix(".unfinished")
            pq.write_table(table, unfinished, compression="zstd")
            os.replace(unfinished, path)
        marker.write_text("\n".join(made), encoding="utf-8")  # last: the part is whole
        return made

    def _path(self, block: str, name: str, digest: str) -> Path:
        return self.folder / f"{block}-{name}-{digest[:16]}.parquet"
