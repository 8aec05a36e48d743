"""The command line. A command imports what it needs when it runs, so that `--help` answers within 0.3 s."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from protea_ray.cli import (
    compare_variants,
    doctor,
    embed,
    evaluate,
    exchange,
    models,
    query,
    rejects,
    report,
    store,
    tools,
    train,
    two_spaces,
)
from protea_ray.cli.grammar import CheckedCommand, SectionedGroup
from protea_ray.cli.outcome import PROGRAM, carry_out, forgiving_output
from protea_ray.cli.process_start import one_command

COMMANDS = {
    "Work": {"embed": embed.embed, "reembed": embed.reembed, "train": train.train},
    "Look": {
        "status": store.status,
        "query": query.query,
        "rejects": rejects.rejects,
        "report": report.report,
        "drift": two_spaces.drift,
        "evaluate": evaluate.evaluate,
        "compare-variants": compare_variants.compare_variants,
        "maps": tools.maps,
    },
    "Exchange": {
        "export": exchange.export,
        "import": exchange.import_,
        "convert-protea": exchange.convert_protea,
    },
    "Care of a store": {
        "alias": store.alias,
        "index": store.index,
        "verify": store.verify,
        "repair": store.repair,
        "upkeep": store.upkeep,
        "forget": store.forget,
        "drop-space": store.drop_space,
    },
    "Tools": {"models": models.models, "doctor": doctor.doctor, "synth": tools.synth},
}


class Program(SectionedGroup):
    """All commands."""

    sections = {title: list(commands) for title, commands in COMMANDS.items()}  # noqa: RUF012, as in the base


app = typer.Typer(
    cls=Program,
    name=PROGRAM,
    help="Protein sequences to language-model embeddings in a Lance store, every protein accounted for.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help alone would take half of the 0.3 s that --help may take
    pretty_exceptions_enable=False,
)
for commands in COMMANDS.values():
    for name, command in commands.items():
        app.command(name, cls=CheckedCommand)(command)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""


def run(command: str | None = None, program: str = PROGRAM) -> NoReturn:
    """Entry point, of one command alone when it is named; exit codes are those of `carry_out`."""
    one_command()
    forgiving_output()
    everything = get_command(app)
    chosen = everything if command is None else vars(everything)["commands"][command]
    sys.exit(carry_out(chosen, program=program))


if __name__ == "__main__":
    run()
