"""Flags that are fields of a file, for the commands that embed and for the one that trains.

Their names and texts are generated from the models into `_flags`, so that `--help` does without pydantic. A command
takes them as keyword arguments, `**given`; `fields_of` adds them to its signature, where typer finds them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from protea_ray.cli._flags import RECIPE_FLAGS, RUN_FLAGS, TRAINING_FLAGS, TRAINING_RUN_FLAGS, Flag

Command = Callable[..., None]
RECIPE, RUN = "Recipe (part of the space's identity)", "Run (changes no number)"
TRAINING = "Recipe (part of the plan)"
INHERITED = "the space's"
INPUT_FIELDS = ("limit", "id_column", "sequence_column")  # say how sources are read


def _existing(store: str) -> str:
    """Look for a local store while the command line is read: a typo costs no import."""
    from protea_ray.config.paths import require_store

    require_store(store)
    return store


STORE = Annotated[str, typer.Argument(metavar="STORE", help="directory, s3:// or gs:// URI", callback=_existing)]
NEW_STORE = Annotated[str, typer.Argument(metavar="STORE", help="directory, s3:// or gs:// URI; new, or a store")]
JSON = Annotated[bool, typer.Option("--json", help="last line of standard output is one JSON object")]
FILE = Annotated[str | None, typer.Option("--config", help="run.yaml with any of these fields", rich_help_panel=RUN)]
ASSIGNMENTS = Annotated[
    list[str] | None,
    typer.Option("--set", help="any field of run.yaml: --set run.unit_seconds=60", rich_help_panel=RUN),
]


def fields_of(*, inherits: bool = False, **texts: str | None) -> Callable[[Command], Command]:
    """Add every flag to a command with `**given`; `texts` gives a field another help, or None to leave it out.

    `inherits`: an unset recipe flag is that of an earlier space, so its help names no other default.
    """
    recipe = _parameters(RECIPE_FLAGS, RECIPE, texts, shows_unset=not inherits)
    run = _parameters(RUN_FLAGS, RUN, texts, shows_unset=True)
    return _declare([*recipe, *run], _lists(RECIPE_FLAGS, RUN_FLAGS))


def training_fields() -> Callable[[Command], Command]:
    """Add every field of a training run to a command with `**given`."""
    recipe = _parameters(TRAINING_FLAGS, TRAINING, {}, shows_unset=True)
    run = _parameters(TRAINING_RUN_FLAGS, RUN, {}, shows_unset=True)
    return _declare([*recipe, *run], _lists(TRAINING_FLAGS, TRAINING_RUN_FLAGS))


def tells_untrained(command: Command) -> Command:
    """A command that reads vectors, saying on standard error when they are of a model that was never trained."""

    @functools.wraps(command)
    def told(*arguments: Any, **options: Any) -> None:
        from protea_ray.query.random_vectors import told_on_standard_error

        with told_on_standard_error():
            command(*arguments, **options)

    return told


def takes_lists(**lists: Sequence[str]) -> Callable[[Command], Command]:
    """Say which options of a command take several of these words with commas, so that spaces are noticed."""

    def declare(command: Command) -> Command:
        vars(command)["lists"] = {f"--{name.replace('_', '-')}": words for name, words in lists.items()}
        return command

    return declare


def _lists(*tables: Mapping[str, Flag]) -> dict[str, Sequence[str]]:
    """The words of every option that takes several; none where any word may be meant, or whole numbers are."""
    return {flag.flag: flag.choices for table in tables for flag in table.values() if flag.kind == "list"}


def _declare(flags: list[inspect.Parameter], lists: Mapping[str, Sequence[str]]) -> Callable[[Command], Command]:
    """Put flags behind a command's arguments and before its own options; `lists`: see `takes_lists`."""

    def declare(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        first = [p for p in own if p.default is p.empty]
        rest = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.default is not p.empty]
        vars(command)["__signature__"] = signature.replace(parameters=[*first, *flags, *rest])
        vars(command)["lists"] = lists
        return command

    return declare


def _parameters(
    flags: Mapping[str, Flag], panel: str, texts: Mapping[str, str | None], *, shows_unset: bool
) -> list[inspect.Parameter]:
    """The flags as keyword parameters that typer reads."""
    parameters = []
    for field, flag in flags.items():
        unset = flag.unset if shows_unset else INHERITED
        hint = f" [{unset}]" if unset else ""
        if (text := texts.get(field, flag.help + hint)) is None:
            continue
        kind = bool if flag.kind == "switch" else str
        option = typer.Option(flag.flag, help=text, rich_help_panel=panel, show_default=False)
        annotation = Annotated[kind | None, option]
        parameters.append(inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return parameters


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as fields of run.yaml; lists are written with commas."""
    return _given(RECIPE_FLAGS, RUN_FLAGS, given)


def training_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a training run that were given, as fields of its file."""
    return _given(TRAINING_FLAGS, TRAINING_RUN_FLAGS, given)


def _given(recipe: Mapping[str, Flag], run: Mapping[str, Flag], given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: _value(flag, given.get(name)) for name, flag in recipe.items()}
    fields |= {f"run.{name}": _value(flag, given.get(name)) for name, flag in run.items()}
    return {name: value for name, value in fields.items() if value is not None}


def _value(flag: Flag, given: Any) -> Any:
    """A flag's value, that of a list split at its commas."""
    if flag.kind != "list" or given is None:
        return given
    return [part.strip() for part in str(given).split(",")]
