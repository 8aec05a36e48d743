"""The grammar of one variant in a comparison: the fields of a recipe that make it differ from the default.

| part | what it says |
|---|---|
| windows | windows of the trained length, the default; `windows:N` shares N residues, `windows:average` averages them |
| truncate | the first residues, up to the trained length |
| whole | one window, however long |
| exact, local:W, global:W, ... | an attention; one window, unless windows or truncate is said |
| yarn:S, ntk:S, linear:S | stretched rotary positions; without :S the longest of the bin over the trained length |
| int8, int4, hqq:8, ... | weights in fewer bits |
| model:DIR | another checkpoint in place of the model, with its own attention |

Parts are joined by `+`, as in `local:512+int4`; `NAME=` in front names the variant, which else goes by its text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, get_args

from protea_ray.config.attention_forms import attention_variant, rope_scaling
from protea_ray.config.recipe import Quantization
from protea_ray.config.resolution import ModelFacts
from protea_ray.errors import ConfigError, did_you_mean

UNCUT = 1_000_000  # residues of one window: no protein is longer
WINDOWS = "windows"  # the default
_OF_LONG = {"on_long", "window_overlap", "stitch", "max_residues"}
_ATTENTIONS = ("exact", "local", "global", "bigbird", "nystrom", "favor", "hedgehog")
_STRETCHES = ("linear", "ntk", "yarn")
_READINGS = ("windows", "truncate", "whole")
_QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)
_LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes", "hqq": "hqq"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+ -]*")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,5}")
_REST_OF_NUMBERS = re.compile(r"[0-9]+(\+.*)?")


@dataclass(frozen=True)
class ComparedVariant:
    """A name, and the fields of a recipe that make it differ from the default.

    `stretch` is a scaling of rotary positions whose factor follows the length: linear, ntk, yarn, or empty.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stretch: str = ""

    @property
    def of_one_window(self) -> dict[str, Any]:
        """The fields that matter for a protein of one window: all but what becomes of a longer one."""
        return {name: value for name, value in self.fields.items() if name not in _OF_LONG}

    def at(self, longest: int, trained: int | None) -> ComparedVariant:
        """The variant for proteins of up to `longest` residues: a stretch gets its factor, rounded up."""
        factor = math.ceil(longest / (trained or longest) * 1000) / 1000
        rope = {"rope": f"{self.stretch}:{factor:g}"} if self.stretch and factor > 1 else {}
        return replace(self, fields={**self.fields, **rope}, stretch="")


def default_variants(facts: ModelFacts) -> tuple[str, ...]:
    """What is compared where nobody says it: all that this model and this installation can do, as texts."""
    rotary = ("yarn", "ntk", "linear") if facts.has_rotary else ()
    maps = ("hedgehog",) if facts.has_feature_maps else ()
    bits = tuple(bits for bits in _QUANTIZATIONS if find_spec(_LIBRARIES[bits.partition(":")[0]]))
    sparse = ("local:512", "global:512", "bigbird:64,3,1,3,0", "nystrom:64", "favor:128,0")
    return ("exact", "windows", "windows:0", "windows:average", "truncate", *sparse, *maps, *rotary, *bits)


def listed_variants(values: Sequence[str]) -> list[str]:
    """Texts of variants that were written with commas, one by one; numbers belong to the form before them.

    >>> listed_variants(["exact,bigbird:64,3,1,3,0+int8", "windows"])
    ['exact', 'bigbird:64,3,1,3,0+int8', 'windows']
    """
    found: list[str] = []
    for part in ",".join(values).split(","):
        if found and _REST_OF_NUMBERS.fullmatch(part.strip()):
            found[-1] += f",{part.strip()}"
        elif part.strip():
            found.append(part.strip())
    return found


def compared_variants(texts: Sequence[str]) -> tuple[ComparedVariant, ...]:
    """Read every text; raises ConfigError with all mistakes. Equal texts count once; two of one name are a mistake."""
    found: dict[str, ComparedVariant] = {}
    problems: list[str] = []
    for text in dict.fromkeys(texts):
        try:
            made = compared_variant(text)
        except ValueError as error:
            problems.append(str(error))
            continue
        if made.name == WINDOWS and text != WINDOWS:
            problems.append(f"{text!r}: {WINDOWS} is the name of the default; use another")
        if made.name in found:
            problems.append(f"{text!r}: there is a variant {made.name!r} already; name this one, as in OTHER={text}")
        found[made.name] = made
    if problems:
        raise ConfigError(problems, where="variants")
    return tuple(found.values())


def compared_variant(text: str) -> ComparedVariant:
    """Read one variant; raises ValueError with what is wrong.

    >>> compared_variant("windows")
    ComparedVariant(name='windows', fields={}, stretch='')
    >>> compared_variant("small4=local:512+int4").fields
    {'max_residues': 1000000, 'attention': 'local:512', 'quantization': 'int4'}
    >>> compared_variant("yarn").at(2044, 1022).fields
    {'rope': 'yarn:2'}
    """
    name, equals, body = text.partition("=")
    if not equals or not _NAME.fullmatch(name) or ":" in name:  # a path may have the sign too
        name, body = text, text
    given: dict[str, dict[str, Any]] = {}
    for part in body.split("+"):
        kind, fields = _part(part.strip(), text)
        if kind in given:
            raise ValueError(f"{text!r} says {kind} twice; give each variant one")
        given[kind] = fields
    stretch = given.get("rotary positions", {}).pop("stretch", "")
    if "attention" in given and "reading" not in given:
        given = {"reading": {"max_residues": UNCUT}} | given
    fields = {field: value for part in given.values() for field, value in part.items()}
    return ComparedVariant(name.strip(), fields, stretch)


def _part(part: str, text: str) -> tuple[str, dict[str, Any]]:
    """What one part is about, and its fields."""
    word, colon, rest = part.partition(":")
    readers: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        **dict.fromkeys(_READINGS, ("reading", lambda: _reading(word, rest, bool(colon)))),
        **dict.fromkeys(_ATTENTIONS, ("attention", lambda: {"attention": str(attention_variant(part))})),
        **dict.fromkeys(_STRETCHES, ("rotary positions", lambda: _stretch(word, part, bool(colon)))),
        **{bits.partition(":")[0]: ("bits", lambda: _bits(part)) for bits in _QUANTIZATIONS},
        "model": ("model", lambda: _model(rest)),
    }
    if word not in readers:
        near = did_you_mean(word, readers)
        raise ValueError(f"{text!r}: {word!r} is no part of a variant{near or '; use ' + ', '.join(readers)}")
    kind, read = readers[word]
    return kind, read()


def _reading(word: str, rest: str, has_colon: bool) -> dict[str, Any]:
    if word == "windows" and rest == "average":
        return {"stitch": "average", "window_overlap": 0}
    if word == "windows" and _WHOLE.fullmatch(rest):
        return {"window_overlap": int(rest)}
    if has_colon:
        forms = "windows, windows:average, windows:N (residues that two share), truncate or whole"
        raise ValueError(f"'{word}:{rest}' is not known; use {forms}")
    return {"windows": {}, "truncate": {"on_long": "truncate"}, "whole": {"max_residues": UNCUT}}[word]


def _stretch(word: str, part: str, has_factor: bool) -> dict[str, Any]:
    return {"rope": str(rope_scaling(part))} if has_factor else {"stretch": word}


def _bits(part: str) -> dict[str, Any]:
    if part not in _QUANTIZATIONS:
        raise ValueError(f"{part!r} is not known; use {', '.join(_QUANTIZATIONS)}{did_you_mean(part, _QUANTIZATIONS)}")
    return {"quantization": part}


def _model(directory: str) -> dict[str, Any]:
    if not directory:
        raise ValueError("'model:' names no checkpoint; write model:DIR")
    return {"model": directory}
