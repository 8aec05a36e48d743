"""The command line. A command imports what it needs when it runs, so that `--help` answers within 0.3 s."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from protea_ray.cli import doctor, embed, exchange, models, query, rejects, store, tools, train
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
COMMANDS = {
    "embed": embed.embed,
    "reembed": embed.reembed,
    "train": train.train,
    "status": store.status,
    "query": query.query,
    "rejects": rejects.rejects,
    "export": exchange.export,
    "import": exchange.import_,
    "alias": store.alias,
    "drift": store.drift,
    "verify": store.verify,
    "repair": store.repair,
    "upkeep": store.upkeep,
    "forget": store.forget,
    "drop-space": store.drop_space,
    "index": store.index,
    "models": models.models,
    "maps": tools.maps,
    "convert-protea": exchange.convert_protea,
    "doctor": doctor.doctor,
    "synth": tools.synth,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


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
