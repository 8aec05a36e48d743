"""How probes are trained and judged: the same for every input of every task, and recorded with every result."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from protea_ray.config.identity import canonical_json
from protea_ray.config.length_groups import LENGTHS

VERSION = 1  # raised whenever the same fields would give other numbers


@dataclass(frozen=True)
class Protocol:
    """A linear probe and a small MLP on standardised vectors, or logistic regression on residues.

    Training ends after `patience` epochs without a lower loss on the validation proteins, and the best epoch counts.
    Where the task keeps none, a tenth of the training proteins is drawn as whole groups; once they have chosen the
    epoch, the probe is trained for as many on all. Residues: the benchmark protocol of biotrainer's autoeval (PBC).
    Intervals are over `resamples` bootstrap draws of the tested proteins. `lengths` are the ends of the groups by
    length.
    """

    epochs: int = 300
    patience: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    hidden: int = 256
    validation_share: float = 0.1
    residue_epochs: int = 10
    residue_patience: int = 5
    residue_learning_rate: float = 1e-3
    resamples: int = 1000
    lengths: tuple[int, ...] = LENGTHS

    @property
    def digest(self) -> str:
        """8 hexadecimal digits of the fields and of the version of this code.

        The usual lengths are left out: results were stored before they could be chosen, and keep their cells.
        """
        facts = {**asdict(self), "version": VERSION}
        if self.lengths == LENGTHS:
            del facts["lengths"]
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:8]
