"""The command line. Nothing heavy is imported until a command needs it: `--help` answers in a blink."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from protea_ray.cli import doctor, embed, store, tools
from protea_ray.errors import ProteaRayError
from protea_ray.store.object_store_errors import outage_as_store_error

app = typer.Typer(
    name="protea-ray",
    help="Protein sequences to language-model embeddings in a Lance store, every protein accounted for.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich's help alone would take half of the 0.3 s that --help may take
    pretty_exceptions_enable=False,
)
app.command("embed")(embed.embed)
app.command("reembed")(embed.reembed)
app.command("status")(store.status)
app.command("query")(store.query)
app.command("import")(embed.import_)
app.command("alias")(store.alias)
app.command("drift")(store.drift)
app.command("verify")(store.verify)
app.command("repair")(store.repair)
app.command("upkeep")(store.upkeep)
app.command("drop-space")(store.drop_space)
app.command("index")(store.index)
app.command("maps")(tools.maps)
app.command("convert-protea")(tools.convert_protea)
app.command("doctor")(doctor.doctor)
app.command("synth")(tools.synth)


def run() -> NoReturn:
    """Entry point. Exit codes: 0 finished, 1 failed, 2 usage or configuration, 3 too many rejects, 130 stopped."""
    try:
        with outage_as_store_error():
            app()
    except ProteaRayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    run()
