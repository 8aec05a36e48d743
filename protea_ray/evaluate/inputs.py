"""What goes into the probes: a vector column of a space at one pin, or a control that needs no space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from protea_ray.config.identity import canonical_json

RANDOM, COMPOSITION, WINDOW, UNTRAINED = "random", "composition", "window", "untrained"
CONTROLS = (RANDOM, COMPOSITION, WINDOW, UNTRAINED)
RESIDUES_ONLY = (WINDOW,)  # controls that a task per protein has no use for


@dataclass(frozen=True)
class Input:
    """`name` is what tables show. `control` is empty for a subject, else one of CONTROLS.

    `space`, `version`, `proteins` and `pooling` say what is read, `recipe` and `model` how it was made; of `random`,
    `composition` and `window` these are empty, 0 or {}. An untrained control is a space too. `width` is that of a
    vector, 0 for the composition and the window. `source` is the digest of a user's file of vectors, whose path `space`
    then is; empty otherwise.
    """

    name: str
    width: int
    control: str = ""
    space: str = ""
    version: int = 0
    proteins: int = 0
    pooling: str = ""
    model: str = ""
    trained: bool = True
    recipe: dict[str, Any] | None = None
    source: str = ""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of what its numbers follow from, whichever version of the space they are read at.

        A space's name is made from its recipe and the digests of the checkpoint's files, so its vectors of a protein
        are the same at every version.
        """
        facts = {"space": self.space, "pooling": self.pooling, "source": self.source}
        if not self.space:
            facts = {"control": self.control, "width": str(self.width)}
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:16]
