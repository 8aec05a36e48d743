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

from protea_ray.config.recipe import AlphabetName, Dtype
from protea_ray.config.resolution import ModelFacts
from protea_ray.errors import CheckpointError
from protea_ray.models.families.alphabet import LETTERS, LETTERS_3DI, Alphabet, Tokenize, read_alphabet
from protea_ray.models.families.training_marker import trained_attention, trained_residues
from protea_ray.models.families.vocabulary import added_tokens, by_id, letter_ids, read_vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


FEATURE_MAP = ".feature_maps."  # in the name of every tensor of a feature map, and in no other


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

    `begin(ids, positions, cu_seqlens)` takes two (T,) int64 tensors of one pack and the (n + 1,) int32 first rows of
    its windows, and returns the embeddings (1, T, D) and the keyword arguments of every layer; `positions` restart at
    0 in each window. `contacts` is ESM-2's head.
    """

    begin: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, dict[str, Any]]]
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
    replaced: str = "J"  # letters that the published model reads as X
    published: str = ""  # those of them that its vocabulary has tokens for all the same
    head_weight: str | None = None  # a tensor that is in the files when `lm_head` can be built
    model_type: str = ""  # of config.json
    tokenizer_file: str = "the tokenizer's files"
    example: str = ""  # a hub id whose tokenizer file is the published one
    attention_part: str | None = None  # name in a layer of the module that attends; None: it takes no feature maps

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
        """Residues in the longest training crop, None where positions are relative.

        What this package wrote into config.json when it trained the model wins over the published rule.
        """
        return trained_residues(config)

    def facts(
        self, config: Mapping[str, Any], tensors: Collection[str] = (), vocabulary: Mapping[str, int] | None = None
    ) -> ModelFacts:
        """What a recipe depends on; `tensors` are the names in the weight files, `vocabulary` the ids of the tokens.

        Raises CheckpointError for a letter whose token has no row in the model's embedding, and for a damaged marker.
        """
        known, shape = vocabulary or {}, self.shape(config)
        reads_3di = self.reads_3di(known)
        _require_embeddings(known, LETTERS + LETTERS_3DI if reads_3di else LETTERS, shape.vocabulary)
        return ModelFacts(
            self.name, shape.layers, self.has_cls, self.trained_length(config), self.gpu_dtype,
            has_lm_head=self.head_weight in tensors, reads_3di=reads_3di, has_bias=self.has_bias,
            has_rotary=self.has_rotary(config), attention=trained_attention(config),
            has_feature_maps=any(FEATURE_MAP in name for name in tensors),
        )  # fmt: skip

    def has_rotary(self, config: Mapping[str, Any]) -> bool:
        """Whether positions are rotations that `encoder/rope.py` can stretch: parts of the module with `inv_freq`."""
        return False

    def reads_3di(self, vocabulary: Mapping[str, int]) -> bool:
        """Whether a vocabulary has Foldseek's structure letters, told apart from amino acids."""
        return False

    def tokens(self, directory: Path, size: int) -> tuple[str, ...]:
        """What each column of the logits stands for: `size` tokens by id, empty where an id has none."""
        return by_id(read_vocabulary(directory), size)

    def alphabet(self, directory: Path, name: AlphabetName = "aa") -> Alphabet:
        """The letter table of amino acids or of 3Di, built from the checkpoint's tokenizer; raises CheckpointError."""
        if name == "3di":
            raise CheckpointError(f"{directory}: {self.name} reads no structure letters (3Di); use the alphabet aa")
        tokenize, unknown = self.tokenizer(directory)
        own = self.own_letters(directory)
        return read_alphabet(tokenize, unknown, [letter for letter in self.replaced if letter not in own])

    def own_letters(self, directory: Path) -> str:
        """Letters that this checkpoint was given a token for, although the published model reads them as X.

        A token that was added counts, and one of a letter that the published vocabulary lacks.
        """
        added, ids = added_tokens(directory), letter_ids(read_vocabulary(directory))
        return "".join(c for c in self.replaced if c in added or (c in ids and c not in self.published))

    def letter_notes(self, directory: Path) -> list[str]:
        """In words, what is unusual about the letters of a checkpoint: tokens of its own, and tokens out of reach."""
        vocabulary = read_vocabulary(directory)
        known_3di = LETTERS_3DI if self.reads_3di(vocabulary) else ""
        beyond = [c for c in letter_ids(vocabulary) if c.islower() and c not in known_3di]
        beyond += [c for c in "*-" if c in added_tokens(directory)]
        notes = []
        if own := self.own_letters(directory):
            notes.append(f"this checkpoint has tokens of its own for {', '.join(own)}: not read as X")
        if beyond:
            notes.append(
                f"this checkpoint has tokens for {', '.join(beyond)} that are never used: letters are read in upper "
                "case, and what is not A to Z rejects its record"
            )
        return notes

    def lm_head(self, module: nn.Module, directory: Path) -> nn.Module | None:
        """The language-model head, from last state (T, D) to logits (T, vocabulary); None where there is none."""
        return None

    def training_head(self, module: nn.Module, directory: Path) -> nn.Module:
        """`lm_head` with gradients: tied where the family ties it, fresh where the files hold none.

        Raises CheckpointError for a family without a head.
        """
        raise CheckpointError(f"{directory}: {self.name} has no language-model head")

    def set_dropout(self, module: nn.Module, share: float) -> None:
        """Let training set `share` of what each branch adds to the residual stream to zero; others are scaled up."""
        from torch import nn

        for layer in self.stack(module).layers:
            for part in layer.modules():
                if isinstance(part, nn.Dropout):
                    part.p = share

    def stored_name(self, name: str) -> str:
        """The name in the files of the module's tensor `name`."""
        return name


def _require_embeddings(vocabulary: Mapping[str, int], letters: str, rows: int) -> None:
    """Raise CheckpointError for one of `letters` whose token the model's embedding of `rows` rows does not have."""
    ids = letter_ids(vocabulary)
    beyond = [f"{c} ({ids[c]})" for c in letters if ids.get(c, 0) >= rows]
    if beyond:
        raise CheckpointError(
            f"the vocabulary has tokens for {', '.join(beyond)}, but the model embeds {rows} tokens, 0 to {rows - 1}: "
            "call resize_token_embeddings(len(tokenizer)), train, and save model and tokenizer again"
        )


def number(config: Mapping[str, Any], name: str) -> int:
    """A whole number from config.json; raises CheckpointError."""
    value = config.get(name)
    if not isinstance(value, int):
        raise CheckpointError(f"config.json: {name} is {value!r}, not a whole number")
    return value
