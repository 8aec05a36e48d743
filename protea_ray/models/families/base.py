"""What an encoder must know about a model family, so that one encoder serves all of them.

An adapter is one file with one subclass of `Family`: how a checkpoint is recognised, how residues become tokens,
how long a window it was trained on, which half precision is stable, how positions enter, and where in the
transformers module the layers are. Instances hold no state and nothing here imports torch at the top: the driver
asks for facts and shapes without loading a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.config.recipe import Dtype, ModelFacts
from protea_ray.errors import CheckpointError
from protea_ray.models.families.alphabet import Alphabet, Tokenize, read_alphabet
from protea_ray.models.families.vocabulary import by_id, read_vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes that decide cost and memory; `ffn` is the inner width, `gated` means three matrices instead of two."""

    hidden: int
    layers: int
    heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    gated: bool = False


@dataclass(frozen=True)
class Stack:
    """The parts of a loaded module that the layer loop calls.

    `begin(ids, positions)` takes two (T,) int64 tensors of one pack and returns the embeddings (1, T, D) and the
    keyword arguments of every layer; `positions` restart at 0 in each window. `contacts` is ESM-2's head.
    """

    begin: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Any]]]
    layers: Sequence[nn.Module]
    norm: nn.Module
    contacts: nn.Module | None = None


@dataclass(frozen=True)
class Wanted:
    """The tensors that loading takes from a checkpoint's files.

    `sizes` has them by their names in the module; in the files `prefix` and a dot may stand in front, which
    transformers removes. `layers` is what stands before a layer's number. Tensors of `optional` may be missing;
    `synonyms` are other names of tensors of `sizes`.
    """

    sizes: Mapping[str, tuple[int, ...]]
    prefix: str
    layers: str
    optional: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict[str, str])


class Family(ABC):
    """One model family. Another one is a subclass, and an entry point whose value is an instance of it."""

    name: str
    has_cls: bool
    has_bias: bool = False  # attention takes a relative position bias
    gpu_dtype: Dtype
    replaced: str = "J"  # letters that the model reads as X
    head_weight: str | None = None  # a tensor that is in the files when `lm_head` can be built
    model_type: str = ""  # of config.json
    tokenizer_file: str = "the tokenizer's files"
    example: str = ""  # a hub id whose tokenizer file is the published one

    @abstractmethod
    def misfit(self, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
        """Why this checkpoint is not of this family, None when it is."""

    @abstractmethod
    def shape(self, config: Mapping[str, Any]) -> Shape:
        """Sizes from config.json; raises CheckpointError when one is missing."""

    def wanted(self, config: Mapping[str, Any]) -> Wanted | None:
        """What `load` takes from the files; None: not known, and only the outline of the files can be checked."""
        return None

    @abstractmethod
    def tokenizer(self, directory: Path) -> tuple[Tokenize, int]:
        """The model's own tokenizer as a function from letters to ids, and the id of an unknown token."""

    @abstractmethod
    def load(self, directory: Path, dtype: torch.dtype) -> nn.Module:
        """The transformers module on the CPU; raises CheckpointError."""

    @abstractmethod
    def stack(self, module: nn.Module) -> Stack:
        """Where the layer loop finds its parts."""

    def trained_length(self, config: Mapping[str, Any]) -> int | None:
        """Residues in the longest training crop, None where positions are relative."""
        return None

    def facts(self, config: Mapping[str, Any], tensors: Collection[str] = ()) -> ModelFacts:
        """What a recipe depends on; `tensors` are the names that the weight files hold."""
        trained, has_head = self.trained_length(config), self.head_weight in tensors
        return ModelFacts(self.name, self.shape(config).layers, self.has_cls, trained, self.gpu_dtype, has_head)

    def tokens(self, directory: Path, size: int) -> tuple[str, ...]:
        """What each column of the logits stands for: `size` tokens by id, empty where an id has none."""
        return by_id(read_vocabulary(directory), size)

    def alphabet(self, directory: Path) -> Alphabet:
        """The letter table, built from the checkpoint's tokenizer; raises CheckpointError."""
        tokenize, unknown = self.tokenizer(directory)
        return read_alphabet(tokenize, unknown, self.replaced)

    def lm_head(self, module: nn.Module, directory: Path) -> nn.Module | None:
        """The language-model head, from last state (T, D) to logits (T, vocabulary); None where there is none."""
        return None


def number(config: Mapping[str, Any], name: str) -> int:
    """A whole number from config.json; raises CheckpointError."""
    value = config.get(name)
    if not isinstance(value, int):
        raise CheckpointError(f"config.json: {name} is {value!r}, not a whole number")
    return value
