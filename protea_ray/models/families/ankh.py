"""Ankh (Elnaggar et al. 2023): a T5 encoder with gated GELU and 64 distance buckets. EOS after the residues.

Its tokenizer.json has bare letters and no pre-tokenizer. `T5Tokenizer` of transformers 5 rebuilds it with a word
marker in front of every letter, which this vocabulary lacks, and returns <unk> before each residue: twice as
many tokens, no error. The file is therefore run as it is, by the tokenizers library.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protea_ray.models.families.t5 import T5, not_residue_t5
from protea_ray.models.families.vocabulary import AMINO_ACIDS, lacking


class Ankh(T5):
    """ElnaggarLab/ankh-base, ankh-large."""

    name = "ankh"
    tokenizer_file = "tokenizer.json"
    example = "ElnaggarLab/ankh-base"

    def misfit(self, config: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str | None:
        """Why this is no Ankh, None when it is. Ankh 3 needs a task prefix ([NLU]) and is another model."""
        wrong = not_residue_t5(config, vocabulary)
        missing = lacking(vocabulary, AMINO_ACIDS + "X")
        if wrong or missing:
            return wrong or f"the vocabulary has no {missing}"
        return "it is an Ankh 3, which needs a task prefix" if "[NLU]" in vocabulary else None

    def tokenizer(self, directory: Path) -> Any:
        from tokenizers import Tokenizer

        own = Tokenizer.from_file(str(directory / "tokenizer.json"))
        return lambda letters: own.encode(list(letters), is_pretokenized=True).ids, own.token_to_id("<unk>")


FAMILY = Ankh()
