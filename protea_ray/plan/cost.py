"""Predicted cost of a protein: a*L + b*L*keys for each forward window, in seconds once a device has been timed.

`a` counts the matrix products with weights, `b` attention. Both follow from the shape of the model: two operations for
every weight and token, four for every (query, key) pair and head dimension. Timed packs of short and of long proteins
turn operations into seconds of a device, one factor for each term: at head dimension 16 attention runs at half the rate
of the products. `keys` is L, unless attention looks at fewer (`keys_seen`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from protea_ray.config.attention_forms import AttentionVariant


@dataclass(frozen=True)
class Cost:
    """Cost of one protein by its length in residues.

    `linear` and `quadratic` are in floating-point operations when they come from `transformer_cost`, and in
    seconds after `fitted`. A protein longer than `max_residues` has windows that share `overlap` residues, or is cut
    there when `truncates`. `keys` is the largest number of keys that attention looks at for a query, None for all.

    >>> cost = Cost(linear=2.0, quadratic=0.5, max_residues=10, overlap=5)
    >>> cost.of(np.array([4, 10])).tolist()
    [16.0, 70.0]
    >>> cost.of(np.array([20])).tolist()  # 20 residues, of which windows of 10 repeat half
    [280.0]
    """

    linear: float
    quadratic: float
    max_residues: int | None = None
    overlap: int = 0
    truncates: bool = False
    keys: int | None = None

    def of(self, residues: np.ndarray) -> np.ndarray:
        """Cost of each protein; `residues` is (n,) of any integer type, the result (n,) float64."""
        length = np.asarray(residues, dtype=np.float64)
        if self.max_residues is None:
            return self._of_token(length) * length
        seen = np.minimum(length, self.max_residues)
        if self.truncates:
            return self._of_token(seen) * seen
        repeated = np.where(length > seen, self.max_residues / (self.max_residues - self.overlap), 1.0)
        return self._of_token(seen) * length * repeated

    def _of_token(self, seen: np.ndarray) -> np.ndarray:
        """Cost of one token in windows of `seen` residues."""
        return self.linear + self.quadratic * (seen if self.keys is None else np.minimum(seen, self.keys))

    def fitted(self, samples: Sequence[tuple[np.ndarray, float]]) -> Cost:
        """The cost in seconds, fitted to samples: lengths in residues (n,) and the seconds that they took together.

        Both terms are fitted by least squares of relative errors. When the samples cannot tell the terms apart, or one
        would be negative, both terms are scaled by one factor instead.

        >>> short, long = np.array([100]), np.array([1000])
        >>> fitted = Cost(1.0, 1.0).fitted([(short, 0.3), (long, 12.0)])
        >>> [round(float(seconds), 6) for seconds in fitted.of(np.array([100, 1000]))]
        [0.3, 12.0]
        """
        terms = [replace(self, linear=a, quadratic=b) for a, b in ((1.0, 0.0), (0.0, 1.0))]
        rows = np.array([[term.of(residues).sum() / seconds for term in terms] for residues, seconds in samples])
        # numpy's stub leaves the types of the four results open
        answer = cast("tuple[Any, ...]", np.linalg.lstsq(rows / rows.max(0), np.ones(len(rows))))
        solution, rank = np.asarray(answer[0], dtype=np.float64), int(answer[2])
        if rank == 2 and (solution > 0).all():
            linear, quadratic = (solution / rows.max(0)).tolist()
            return replace(self, linear=linear, quadratic=quadratic)
        scale = sum(seconds for _, seconds in samples) / sum(float(self.of(residues).sum()) for residues, _ in samples)
        return replace(self, linear=self.linear * scale, quadratic=self.quadratic * scale)


def keys_seen(variant: AttentionVariant, head_dim: int) -> int | None:
    """Keys a query, to which the operations of a long protein's attention amount; None where it looks at all.

    Where there are no keys, as with features, it is the number with which 4 operations a key and head dimension are
    those of the products.

    >>> from protea_ray.config.attention_forms import attention_variant
    >>> [keys_seen(attention_variant(text), 16) for text in ("exact", "local:512", "favor:128,0")]
    [None, 1025, 256]
    """
    match variant.kind:
        case "exact":
            return None
        case "local":
            return 2 * variant.window + 1
        case "global":
            return 2 * variant.window + 1 + 4  # the ends are seen, and see all
        case "bigbird":
            block, near, ends, random, _ = variant.numbers
            return block * (near + 2 * ends + random) + 2 * ends * block
        case "nystrom":
            return 2 * variant.numbers[0] + 32  # landmarks as keys and as queries, and the queries that are checked
        case "favor":
            return 2 * variant.numbers[0]
        case "hedgehog":
            return 3 * head_dim


def transformer_cost(layers: int, hidden: int, attention: int, ffn: int, ffn_matrices: int = 2) -> Cost:
    """Cost in operations of an encoder: `attention` = heads x head dimension, `ffn_matrices` = 3 for a gated one.

    >>> esm2_8m = transformer_cost(layers=6, hidden=320, attention=320, ffn=1280)
    >>> esm2_8m.linear, esm2_8m.quadratic
    (14745600.0, 7680.0)
    """
    weights = 4 * hidden * attention + ffn_matrices * hidden * ffn
    return Cost(linear=2.0 * layers * weights, quadratic=4.0 * layers * attention)
