"""How commands are read and how the list of them is shown: what typer's own classes do otherwise.

A command refuses lists with spaces; the group prints whole summaries under headings.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

from protea_ray.cli.click_errors import UsageError
from protea_ray.cli.spaced_lists import Lists, meant, meant_again, quoted
from protea_ray.errors import ConfigError


class CheckedCommand(TyperCommand):
    """A command whose mistakes are named before it starts. `lists`: its options that take several words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; raises ConfigError for a list that was written with spaces."""
        words = ctx.command_path.split()
        lists: Lists = getattr(self.callback, "lists", {})
        if not ctx.resilient_parsing and (found := meant(args, lists)):
            option, whole = found
            raise ConfigError(
                f"{option} takes its list with commas; write {quoted([*words, *whole])}", where="arguments"
            )
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            again = self._as_meant(given, error)
            if again is None:
                raise
            command = quoted([*words, *again])
            raise ConfigError(f"an option has one value, and is written again for another; write {command}",
                              where="arguments") from None  # fmt: skip

    def _as_meant(self, given: list[str], error: UsageError) -> list[str] | None:
        """The arguments that were meant when words too many stand behind an option that takes several."""
        if "extra argument" not in error.format_message():
            return None
        extra = error.format_message().rpartition("(")[2].rstrip(").").split()
        lists = dict.fromkeys(getattr(self.callback, "lists", {}), extra)
        if found := meant(given, lists):
            return found[1]
        repeatable = [word for one in self.params if getattr(one, "multiple", False) for word in one.opts]
        return meant_again(given, repeatable, extra)


class SectionedGroup(TyperGroup):
    """The program: its commands under headings, each with its whole summary."""

    sections: ClassVar[dict[str, list[str]]] = {}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands; a summary that is longer than the line goes on in the next."""
        for title, names in self.sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, _summary(command)) for name, command in commands])


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
