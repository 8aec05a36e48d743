"""The numbers to be reached, from transformers and each model's own tokenizer alone, one protein at a time.

Nothing of the package is imported: no packing, no tables, no windows but those stitched here, every hidden state.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import EsmcModel, EsmcTokenizer, EsmModel, EsmTokenizer, T5EncoderModel, T5Tokenizer
from transformers.models.esm import modeling_esm

MODELS = {
    "esm2": EsmModel, "esmc": EsmcModel, "t5": T5EncoderModel, "prostt5": T5EncoderModel, "ankh": T5EncoderModel,
}  # fmt: skip
REPLACED = {"esm2": "J", "esmc": "J", "t5": "JUZOB", "prostt5": "JUZOB", "ankh": "JUZOB"}
SPECIALS = {"esm2": (1, 1), "esmc": (1, 1), "t5": (0, 1), "prostt5": (1, 1), "ankh": (0, 1)}  # in front, behind


class Reference:
    """One family's plain model: `states` of a protein, and what the recipe makes of them."""

    def __init__(self, family: str, directory: Path, **options) -> None:
        self.family = family
        extra = {"add_pooling_layer": False} if family == "esm2" else {}
        self.model = MODELS[family].from_pretrained(directory, **extra, **options).eval()
        self._tokenize = _tokenizer(family, directory)

    def ids(self, letters: str) -> list[int]:
        spelt = "".join("X" if letter in REPLACED[self.family] else letter for letter in letters)
        ids = self._tokenize(spelt)
        assert len(ids) == len(letters) + sum(SPECIALS[self.family])
        return ids

    def states(self, letters: str) -> torch.Tensor:
        """All hidden states with special tokens, (n_layers + 1, T, D) float32."""
        with torch.inference_mode(), _plain_gelu():
            out = self.model(input_ids=torch.tensor([self.ids(letters)]), output_hidden_states=True)
        return torch.stack([state[0].float() for state in out.hidden_states])

    def residues(self, letters: str) -> np.ndarray:
        """All hidden states without special tokens, (n_layers + 1, L, D)."""
        before = SPECIALS[self.family][0]
        return self.states(letters)[:, before : before + len(letters)].numpy()

    def stitched(self, letters: str, windows: list[tuple[int, int]]) -> np.ndarray:
        """The same from windows: each residue from the first window where it is furthest from an edge."""
        parts = [self.residues(letters[start:end]) for start, end in windows]
        out = np.empty((parts[0].shape[0], len(letters), parts[0].shape[2]), np.float32)
        for i in range(len(letters)):
            depth = [min(i - start, end - 1 - i) for start, end in windows]
            best = max(range(len(windows)), key=lambda w: (depth[w], w))
            out[:, i] = parts[best][:, i - windows[best][0]]
        return out


def aggregate(states: np.ndarray, layers, how: str) -> np.ndarray:
    """(states, L, D) to (L, width): layers counted from the end, 0 the last."""
    chosen = [states[len(states) - 1 - layer] for layer in sorted(layers)]
    if how == "last":
        return chosen[0]
    return np.concatenate(chosen, 1) if how == "concat" else np.mean(chosen, 0)


def pool(rows: np.ndarray, how: str) -> np.ndarray:
    """(L, width) to one vector."""
    parts = {"mean": rows.mean(0), "max": rows.max(0), "std": rows.std(0)}
    return np.concatenate([parts["mean"], parts["max"]]) if how == "mean_max" else parts[how]


def unit(rows: np.ndarray) -> np.ndarray:
    """Length 1 along the last axis."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _tokenizer(family: str, directory: Path):
    if family == "esm2":
        own = EsmTokenizer.from_pretrained(directory)
        return lambda letters: own(letters)["input_ids"]
    if family == "esmc":
        own = EsmcTokenizer()
        return lambda letters: own(letters)["input_ids"]
    if family == "ankh":  # as the file says; T5Tokenizer of transformers 5 would interleave <unk>
        own = Tokenizer.from_file(str(directory / "tokenizer.json"))
        return lambda letters: own.encode(list(letters), is_pretokenized=True).ids
    own = T5Tokenizer.from_pretrained(directory)
    prefix = "<AA2fold> " if family == "prostt5" else ""
    return lambda letters: own(prefix + " ".join(letters))["input_ids"]


@contextmanager
def _plain_gelu():
    """transformers' own gelu for the time of a reference, whatever else has been loaded in this process."""
    before = modeling_esm.gelu
    modeling_esm.gelu = lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))
    try:
        yield
    finally:
        modeling_esm.gelu = before
