"""A variant of a comparison as an encoder: its checkpoint, its whole recipe, and the loaded model.

All variants compute in float32, so that a difference is the variant's own. Nothing imports torch before a model is
loaded. One loaded model is kept, the last: variants are compared one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from protea_ray.comparison.compared_variant import ComparedVariant
from protea_ray.config.identity import identity
from protea_ray.config.recipe import EmbeddingConfig, embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

USUAL_OVERLAP: int = EmbeddingConfig.model_fields["window_overlap"].default
_ALWAYS = {"dtype": "float32", "pooling": ["mean"]}


@dataclass
class VariantEncoders:
    """Loads variants of one model on `device` (auto, cpu, cuda); `checkpoint` is that of the model."""

    checkpoint: Checkpoint
    device: str = "auto"
    _others: dict[str, Checkpoint] = field(default_factory=dict[str, Checkpoint])
    _loaded: tuple[dict[str, Any], Encoder] | None = None

    @property
    def trained(self) -> int | None:
        """Residues in the longest training crop of the model."""
        return self.checkpoint.facts.trained_length

    def checkpoint_of(self, variant: ComparedVariant) -> Checkpoint:
        """The checkpoint that a variant is of; raises CheckpointError."""
        model = variant.fields.get("model")
        if model is None:
            return self.checkpoint
        if model not in self._others:
            self._others[model] = open_checkpoint(model)
        return self._others[model]

    def fitted(self, variant: ComparedVariant) -> ComparedVariant:
        """The variant with windows that share a quarter of the trained length, where the usual overlap is not below it.

        Raises CheckpointError.
        """
        trained = self.checkpoint_of(variant).facts.trained_length
        has_own = bool({"window_overlap", "max_residues", "on_long"} & set(variant.fields))
        if trained is None or trained > USUAL_OVERLAP or has_own:
            return variant
        return replace(variant, fields={**variant.fields, "window_overlap": trained // 4})

    def identity(self, variant: ComparedVariant) -> dict[str, Any]:
        """All that the numbers of a variant follow from; raises ConfigError for what its checkpoint cannot do."""
        checkpoint = self.checkpoint_of(variant)
        resolved = resolve(self._recipe(variant), checkpoint.facts, "cpu", checkpoint.revision)
        return identity(resolved, checkpoint.files) | {"device": self.device}

    def load(self, variant: ComparedVariant) -> Encoder:
        """The loaded variant, whose stretch has its factor; raises ConfigError, CheckpointError and EncoderError."""
        from protea_ray.encoder.in_memory import encoder_here

        wanted = self.identity(variant)
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # its memory is free before the next is loaded
            found = encoder_here(self.checkpoint_of(variant), self._recipe(variant), self.device, compiled="off")
            self._loaded = (wanted, found)
        return self._loaded[1]

    def _recipe(self, variant: ComparedVariant) -> EmbeddingConfig:
        model = {"model": self.checkpoint.model, "revision": self.checkpoint.revision}
        if "model" in variant.fields:
            model["revision"] = None
        return embedding_config({**_ALWAYS, **model, **variant.fields}, where=variant.name)
