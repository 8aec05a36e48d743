"""The reference: plain transformers, one protein at a time, all hidden states. Imports nothing of this package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from transformers import EsmModel, EsmTokenizer


class PlainEsm:
    """ESM-2 as its documentation shows it."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = EsmTokenizer.from_pretrained(directory)
        self.model = EsmModel.from_pretrained(directory, add_pooling_layer=False).eval()

    def states(self, sequence: str) -> list[np.ndarray]:
        """All n_layers + 1 states of the residues, each (length, hidden); at most 1,022 residues."""
        tokens = self.tokenizer(sequence.replace("J", "X"), return_tensors="pt")
        with torch.inference_mode():
            output = self.model(**tokens, output_hidden_states=True)
        return [state[0, 1:-1].numpy() for state in output.hidden_states]

    def mean(self, sequence: str, layers: Iterable[int] = (0,), agg: str = "mean") -> np.ndarray:
        """The default recipe for one protein: layers counted from the end, mean over residues, L2."""
        states = self.states(sequence)
        chosen = [states[-1 - layer] for layer in sorted(layers)]
        residues = np.concatenate(chosen, axis=1) if agg == "concat" else np.mean(chosen, axis=0)
        vector = residues.mean(axis=0)
        return vector / np.linalg.norm(vector)
