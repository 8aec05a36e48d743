"""`python -m tools.flags`: write what is generated from the models of recipes and options.

The command line must show its help without importing pydantic, and type checkers cannot read a model's fields as
keywords. So two files repeat the models: protea_ray/cli/_flags.py for the first, protea_ray/_fields.py for the
second. The tables of docs/training.md repeat them for people. A test fails when any of them is out of date.
"""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.run import RunOptions
from protea_ray.config.training import TrainingConfig, TrainingOptions
from protea_ray.config.training_presets import PRESETS

ROOT = Path(__file__).parent.parent / "protea_ray"
FLAGS, FIELDS, PAGE = ROOT / "cli" / "_flags.py", ROOT / "_fields.py", ROOT.parent / "docs" / "training.md"
# RunOptions that are worth a flag of their own; the others are reached with --set run.NAME=VALUE
RUN_FLAGS = (
    "actors", "device", "token_budget", "kernel", "compile", "products", "limit", "max_rejects", "retry_rejects",
    "id_column", "sequence_column", "address",
)  # fmt: skip
_HINTS = ("unset: ", "auto: ")  # how a description says what happens without a value

_FLAGS_HEAD = '''\
"""Flags that are fields of a model. `python -m tools.flags` writes this file from the models; do not edit it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Flag(NamedTuple):
    """One flag. `unset`: what holds without it; `kind`: a switch takes no value, a list takes several with commas;
    `choices`: the only words it takes, empty where there are more."""

    flag: str
    help: str
    unset: str
    kind: Literal["text", "list", "switch"]
    choices: tuple[str, ...] = ()


'''
_FIELDS_HEAD = '''\
"""Keywords of embed, reembed and train. `python -m tools.flags` writes this file from the models; do not edit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict


'''


def flags_source() -> str:
    """Text of protea_ray/cli/_flags.py."""
    tables = {
        "RECIPE_FLAGS": [_flag(name, field, in_recipe=True) for name, field in EmbeddingConfig.model_fields.items()],
        "RUN_FLAGS": [_flag(name, RunOptions.model_fields[name], in_recipe=False) for name in RUN_FLAGS],
        "TRAINING_FLAGS": [
            _flag(name, field, in_recipe=False, unset=by_preset(name))
            for name, field in TrainingConfig.model_fields.items()
        ],
        "TRAINING_RUN_FLAGS": [
            _flag(name, field, in_recipe=False) for name, field in TrainingOptions.model_fields.items()
        ],
    }
    return _formatted(_FLAGS_HEAD + "".join(f"{name} = {{\n{''.join(rows)}}}\n" for name, rows in tables.items()))


def fields_source() -> str:
    """Text of protea_ray/_fields.py."""
    recipe = {name: field for name, field in EmbeddingConfig.model_fields.items() if name != "model"}
    return _formatted(
        _FIELDS_HEAD
        + _typed_dict("RecipeFields", "Fields of EmbeddingConfig, but for `model`.", recipe)
        + _typed_dict("RunFields", "Fields of RunOptions.", RunOptions.model_fields)
        + _typed_dict("TrainingFields", "Fields of TrainingConfig.", TrainingConfig.model_fields)
        + _typed_dict("TrainingRunFields", "Fields of TrainingOptions.", TrainingOptions.model_fields)
    )


def by_preset(name: str) -> str:
    """What an unset field of TrainingConfig is in each preset, where they differ; empty where they do not."""
    default = TrainingConfig.model_fields[name].default
    values = {preset: fields.get(name, default) for preset, fields in PRESETS.items()}
    if len(set(values.values())) == 1:
        return ""
    return ", ".join(f"{preset} {_shown(value)}" for preset, value in values.items() if value is not None)


def page_source() -> str:
    """Text of docs/training.md with its tables of the recipe and of the options."""
    presets = [f"| {' | '.join(('field', *PRESETS, 'meaning'))} |", "|---" * (len(PRESETS) + 2) + "|"]
    for name, field in TrainingConfig.model_fields.items():
        if field.exclude:  # no part of the plan: it chooses a column of this table
            continue
        values = [_in_table(fields.get(name, field.default)) for fields in PRESETS.values()]
        presets.append(f"| {' | '.join((name, *values, _in_table(field.description)))} |")
    options = ["| option | default | meaning |", "|---|---|---|"]
    for name, field in TrainingOptions.model_fields.items():
        options.append(f"| {name} | {_in_table(field.default)} | {_in_table(field.description)} |")
    text = PAGE.read_text(encoding="utf-8")
    for marker, rows in (("RECIPE", presets), ("OPTIONS", options)):
        before, _, rest = text.partition(f"<!-- {marker} -->")
        text = f"{before}<!-- {marker} -->\n{chr(10).join(rows)}\n<!-- END -->{rest.partition('<!-- END -->')[2]}"
    return text


def _in_table(value: Any) -> str:
    """A value as a cell of a Markdown table."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return "no" if value is False else _shown(value).replace("|", "\\|")


def _flag(name: str, field: FieldInfo, *, in_recipe: bool, unset: str = "") -> str:
    kind = "switch" if field.annotation is bool else "list" if _is_tuple(field.annotation) else "text"
    flag = "--" + name.replace("_", "-")
    if kind == "switch" and in_recipe:  # reembed takes an earlier recipe, so each switch must be able to go back
        flag += "/--no-" + name.replace("_", "-")
    text, usual = _help(field, kind)
    unset = f"{usual}; {unset}" if unset and "; unset: " in str(field.description) else unset or usual
    choices = tuple(_choices(field.annotation))
    return f"{name!r}: Flag({flag!r}, {text!r}, {unset!r}, {kind!r}{f', {choices!r}' if choices else ''}),\n"


def _help(field: FieldInfo, kind: str) -> tuple[str, str]:
    """Help of a flag: the description and, unless it names them all, the words to choose from; and what unset means."""
    text, _, rest = str(field.description).partition("; ")
    hint = rest.removeprefix("unset: ") if rest.startswith(_HINTS) else ""
    text = text if hint or not rest else f"{text}; {rest}"
    choices = _choices(field.annotation)
    if choices and not all(choice in text for choice in choices):
        listed = "any of " + ",".join(choices) if kind == "list" else f"{', '.join(choices[:-1])} or {choices[-1]}"
        text += f": {listed}"
    return text, hint or _shown(field.default)


def _shown(default: Any) -> str:
    """A default as it is written on the command line; empty where there is none."""
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) if isinstance(default, str | int | float) else ""


def _choices(annotation: Any) -> list[str]:
    """The words of every Literal in an annotation."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _choices(part)]


def _is_tuple(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _typed_dict(name: str, title: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f'    {field}: {_spelled(info.annotation)}\n    """{info.description}"""\n' for field, info in fields.items()
    ]
    return f'class {name}(TypedDict, total=False):\n    """{title}"""\n\n' + "".join(rows) + "\n\n"


def _spelled(annotation: Any) -> str:
    """An annotation as source; a tuple of any length as the sequence that may be given for it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _spelled(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(repr(a) for a in arguments)}]"
    if origin is tuple:
        return f"Sequence[{_spelled(arguments[0])}]"
    if origin in (Union, types.UnionType):
        return " | ".join(_spelled(a) for a in arguments)
    return "None" if annotation is type(None) else annotation.__name__


def _formatted(source: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(ROOT / "generated.py"), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def written() -> Iterator[tuple[Path, str]]:
    """Each generated file and the text that it should have."""
    yield FLAGS, flags_source()
    yield FIELDS, fields_source()
    yield PAGE, page_source()


if __name__ == "__main__":
    for path, text in written():
        path.write_text(text, encoding="utf-8")
