"""How a layer attends and how positions are stretched: the grammar of a recipe's `attention` and `rope`.

| attention | which keys a query sees |
|---|---|
| exact | all |
| local:W | those at most W residues away (Longformer, Beltagy et al. 2020, whose window w is 2 W) |
| global:W | the same, and the special tokens at both ends; these see all |
| bigbird:B,w,g,r,seed | w blocks of B tokens around its own, g at either end, r random ones (Zaheer et al. 2020) |
| nystrom:M | all, through M landmarks (Xiong et al. 2021) |
| favor:R,seed | all, through R positive random features (Performer, Choromanski et al. 2021) |
| hedgehog | all, through feature maps that the checkpoint carries (Zhang et al. 2024) |

All but exact are other functions than the one that a model was trained with, unless it was trained with them: each is
a space of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["exact", "local", "global", "bigbird", "nystrom", "favor", "hedgehog"]
RopeKind = Literal["none", "linear", "ntk", "yarn"]

ATTENTION_FORMS = "exact, local:W, global:W, bigbird:B,w,g,r,seed, nystrom:M, favor:R,seed or hedgehog"
ROPE_FORMS = "none, linear:S, ntk:S or yarn:S"
_NUMBERS: dict[str, tuple[str, ...]] = {
    "exact": (),
    "local": ("W",),
    "global": ("W",),
    "bigbird": ("B", "w", "g", "r", "seed"),
    "nystrom": ("M",),
    "favor": ("R", "seed"),
    "hedgehog": (),
}
_MAY_BE_ZERO = {"g", "r", "seed"}
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
_FACTOR = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")


@dataclass(frozen=True)
class AttentionVariant:
    """One way to attend: its kind and its numbers, in the order of its form."""

    kind: Kind
    numbers: tuple[int, ...] = ()

    @property
    def window(self) -> int:
        """Half width of `local` and `global` in residues, -1 for every other kind."""
        return self.numbers[0] if self.kind in ("local", "global") else -1

    @property
    def is_masked_exactly(self) -> bool:
        """Whether every kernel can compute it: all keys of a protein, or those near a query."""
        return self.kind in ("exact", "local")

    @property
    def is_approximation(self) -> bool:
        """Whether it estimates the weights, or draws keys: worth a warning where a model was not trained with it."""
        return self.kind in ("bigbird", "nystrom", "favor", "hedgehog")

    def __str__(self) -> str:
        return self.kind + (":" + ",".join(map(str, self.numbers)) if self.numbers else "")


EXACT = AttentionVariant("exact")


@dataclass(frozen=True)
class RopeScaling:
    """A stretch of rotary positions by `factor`, at least 1."""

    kind: RopeKind
    factor: float = 1.0

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind}:{self.factor:g}"


def attention_variant(text: str) -> AttentionVariant:
    """Read an attention as a recipe writes it; raises ValueError for what has no such form.

    >>> attention_variant("local:512"), attention_variant("global:512").window
    (AttentionVariant(kind='local', numbers=(512,)), 512)
    >>> str(attention_variant("bigbird:64,3,1,3,0"))
    'bigbird:64,3,1,3,0'
    """
    kind, _, rest = text.partition(":")
    names, values = _NUMBERS.get(kind), rest.split(",") if rest else []
    if names is None or len(values) != len(names) or (":" in text) != bool(names):
        raise ValueError(f"{text!r} is not known; use {ATTENTION_FORMS}, as in local:1024")
    for name, value in zip(names, values, strict=True):
        if not _WHOLE.fullmatch(value) or (value == "0" and name not in _MAY_BE_ZERO):
            raise ValueError(f"{text!r}: {name} is {value!r}; it must be a whole number{_above_zero(name)}")
    return AttentionVariant(kind, tuple(map(int, values)))  # pyright: ignore[reportArgumentType]


def rope_scaling(text: str) -> RopeScaling:
    """Read a scaling of rotary positions as a recipe writes it; raises ValueError.

    >>> rope_scaling("yarn:2"), rope_scaling("none")
    (RopeScaling(kind='yarn', factor=2.0), RopeScaling(kind='none', factor=1.0))
    """
    kind, _, factor = text.partition(":")
    if text == "none":
        return RopeScaling("none")
    if kind not in ("linear", "ntk", "yarn") or not _FACTOR.fullmatch(factor):
        raise ValueError(f"{text!r} is not known; use {ROPE_FORMS}, as in yarn:2")
    if float(factor) < 1:
        raise ValueError(f"{text!r}: a factor below 1 would squeeze positions; use at least 1")
    return RopeScaling(kind, float(factor))


def known_attention(text: str) -> str:
    """An attention in its one spelling; raises ValueError for what has no such form."""
    return str(attention_variant(text))


def known_rope(text: str) -> str:
    """A scaling in its one spelling: yarn:2.0 is yarn:2, and a factor of 1 is none; raises ValueError."""
    scaling = rope_scaling(text)
    return "none" if scaling.factor == 1 else str(scaling)


def _above_zero(name: str) -> str:
    return "" if name in _MAY_BE_ZERO else " above 0"
