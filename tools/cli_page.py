"""Write docs/cli.md: the help of every command, as the program prints it.

    python -m tools.cli_page            # write the page
    python -m tools.cli_page --check    # exit code 1 when the page is not what the program prints

`make docs` writes it, and a test fails when a changed flag left it behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.main import get_command

from protea_ray.cli.main import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
PROGRAM = "protea-ray"
WIDTH = 100  # characters, whatever the terminal
HEAD = """# Command line

<!-- written by `python -m tools.cli_page` from the program; do not edit -->

Exit codes: 0 finished, 1 failed, 2 wrong options or a space that does not exist, 3 more rejects than `--max-rejects`,
4 `verify` of an unfinished store, 5 of one that is being written, 130 interrupted, 141 output that nobody reads.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    program = get_command(app)
    root = typer.Context(program, info_name=PROGRAM, terminal_width=WIDTH, max_content_width=WIDTH)
    yield _block(program.get_help(root))
    for name, command in getattr(program, "commands", {}).items():
        context = typer.Context(command, info_name=name, parent=root, terminal_width=WIDTH, max_content_width=WIDTH)
        yield f"## {PROGRAM} {name}\n"
        yield _block(command.get_help(context))


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    text = page()
    if "--check" in arguments:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("docs/cli.md is current" if same else "docs/cli.md is old: python -m tools.cli_page")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
