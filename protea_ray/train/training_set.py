"""The two sides of a run's proteins as packs of tokens for one vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protea_ray.config.training import TrainingConfig
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import mask_token, read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.vocabulary import AMINO_ACIDS
from protea_ray.plan.pack import micro_batches
from protea_ray.plan.steps import StepLayout
from protea_ray.train.masking import MaskedPack, Masker
from protea_ray.train.pack_feed import PlannedStep, StepPlan
from protea_ray.train.proteins import Proteins, token_lookup


@dataclass(frozen=True)
class TrainingSet:
    """Packs of a run. `rows` (n,) are the numbers of the training proteins, which the plan counts from 0.

    `amino_acids` (20,) are the token ids of the amino acids.
    """

    proteins: Proteins
    masker: Masker
    lookup: np.ndarray
    amino_acids: np.ndarray
    rows: np.ndarray
    plan: StepPlan

    def pack(self, step: PlannedStep, number: int) -> MaskedPack:
        """Pack `number` of a step, cropped and masked."""
        rows = self.rows[step.packs[number]]
        return self.masker.masked_pack(self.proteins.tokens(rows, self.lookup), rows, step.epoch)

    def ids(self, step: PlannedStep, number: int) -> list[str]:
        """Ids of the proteins in a pack of a step."""
        return self.proteins.ids(self.rows[step.packs[number]])

    def validation_rows(self, most_tokens: int | None = None) -> np.ndarray:
        """Numbers of the validation proteins, or of every n-th of them so that they have `most_tokens` at most."""
        rows = np.flatnonzero(self.proteins.split)
        tokens = int(self._tokens(rows).sum())
        return rows if most_tokens is None or tokens <= most_tokens else rows[:: -(-tokens // most_tokens)]

    def validation_packs(self, rows: np.ndarray) -> list[MaskedPack]:
        """These proteins with the fixed mask, longest first."""
        packs = [rows[pack] for pack in micro_batches(self._tokens(rows).tolist(), self.masker.layout.pack_tokens)]
        return [self.masker.validation_pack(self.proteins.tokens(pack, self.lookup), pack) for pack in packs]

    def _tokens(self, rows: np.ndarray) -> np.ndarray:
        layout = self.masker.layout
        return np.minimum(self.proteins.lengths[rows], layout.crop) + layout.specials


def training_set(proteins: Proteins, model: Path, config: TrainingConfig) -> TrainingSet:
    """The packs of `proteins` for the vocabulary in the directory `model`.

    Raises ConfigError where no protein is on the validation side, or the training side does not fill a step.
    """
    if not proteins.split.any():
        raise ConfigError("no protein is on the validation side; make the clusters first", where="training")
    alphabet = recognise(read_config(model), model, "auto").alphabet(model)
    layout = StepLayout(config.crop, config.pack_tokens, config.step_tokens, config.seed, alphabet.specials)
    masker = Masker(alphabet, mask_token(model), layout, config.mask_rate, config.mask_kind)
    rows = np.flatnonzero(~proteins.split)
    plan = StepPlan(proteins.lengths[rows], layout)
    return TrainingSet(proteins, masker, token_lookup(alphabet.table), alphabet.residues(AMINO_ACIDS), rows, plan)
