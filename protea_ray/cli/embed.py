"""`protea-ray embed`: proteins in, a vector space out."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

TOO_MANY_REJECTS = 3
UNTRAINED = (
    "The model was never trained: these vectors carry no biology. They show that everything works; name a real "
    "checkpoint with --model, for example --model facebook/esm2_t33_650M_UR50D."
)

RECIPE, RUN = "Recipe (part of the space's identity)", "Run (changes no number)"


def _option(flag: str, text: str, panel: str = RECIPE) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=panel, show_default=False)


def embed(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="INPUT... STORE", help="files, globs, directories or URLs; last the store"),
    ],
    model: Annotated[
        str | None, _option("--model", "hub id or directory; unset: a small untrained model, offline")
    ] = None,
    revision: Annotated[str | None, _option("--revision", "40-hex commit of a hub id")] = None,
    family: Annotated[str | None, _option("--family", "esm2, esmc, t5, ankh or auto")] = None,
    layers: Annotated[str | None, _option("--layers", "reverse index, 0 = last: 0 or 0,1,2")] = None,
    layer_agg: Annotated[str | None, _option("--layer-agg", "mean, last or concat")] = None,
    pooling: Annotated[str | None, _option("--pooling", "any of mean,max,cls,mean_max,std,none")] = None,
    normalize_residues: Annotated[
        bool | None,
        _option("--normalize-residues/--no-normalize-residues", "L2 of each residue before pooling"),
    ] = None,
    normalize: Annotated[bool | None, _option("--normalize/--no-normalize", "L2 of the pooled vector [on]")] = None,
    max_residues: Annotated[
        str | None, _option("--max-residues", "longest stretch of one forward pass [trained length]")
    ] = None,
    on_long: Annotated[str | None, _option("--on-long", "window, truncate or reject")] = None,
    window_overlap: Annotated[
        str | None, _option("--window-overlap", "residues that forward windows share [256]")
    ] = None,
    chunk_size: Annotated[str | None, _option("--chunk-size", "residues per stored row [whole protein]")] = None,
    chunk_overlap: Annotated[str | None, _option("--chunk-overlap", "residues that stored rows share [0]")] = None,
    chunk_mode: Annotated[str | None, _option("--chunk-mode", "independent or posthoc")] = None,
    dtype: Annotated[str | None, _option("--dtype", "float32, float16 or bfloat16 [by device]")] = None,
    store_dtype: Annotated[str | None, _option("--store-dtype", "float16 or float32")] = None,
    attention: Annotated[str | None, _option("--attention", "exact or local:W")] = None,
    quantization: Annotated[str | None, _option("--quantization", "int8 or int4")] = None,
    actors: Annotated[str | None, _option("--actors", "encoder actors [one a GPU, else one a core]", RUN)] = None,
    device: Annotated[str | None, _option("--device", "auto, cpu or cuda", RUN)] = None,
    token_budget: Annotated[str | None, _option("--token-budget", "tokens of one micro-batch", RUN)] = None,
    limit: Annotated[str | None, _option("--limit", "read only the first N records", RUN)] = None,
    max_rejects: Annotated[str | None, _option("--max-rejects", "exit code 3 above N rejects", RUN)] = None,
    retry_rejects: Annotated[
        bool | None, _option("--retry-rejects", "try again what an earlier run rejected", RUN)
    ] = None,
    id_column: Annotated[str | None, _option("--id-column", "column of the id in tables [id]", RUN)] = None,
    sequence_column: Annotated[
        str | None, _option("--sequence-column", "column of the letters in tables [sequence]", RUN)
    ] = None,
    address: Annotated[str | None, _option("--address", "a running Ray cluster [RAY_ADDRESS, else local]", RUN)] = None,
    config: Annotated[str | None, _option("--config", "run.yaml with any of these fields", RUN)] = None,
    assignments: Annotated[
        list[str] | None, _option("--set", "any field of run.yaml: --set run.unit_seconds=60", RUN)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, embed and write nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="last line of standard output is one JSON object")] = False,
) -> None:
    """Embed every protein of INPUT... into STORE, exactly once; the same command again resumes."""
    given = dict(locals())
    from protea_ray.config.run import load_fields, run_config
    from protea_ray.embed.untrained import MODEL_NAME

    *inputs, store = split_paths(paths)
    fields = load_fields(config, assignments or [], overrides(given))
    fields.setdefault("model", MODEL_NAME)
    settings = run_config(fields)
    if dry_run:
        from protea_ray.report.plan import print_plan
        from protea_ray.run.dry import plan

        print_plan(plan(inputs, store, settings), as_json)
        return
    finish(run_now(inputs, store, settings), settings.run.max_rejects, as_json)


def split_paths(paths: list[str]) -> list[str]:
    """At least one input and the store; raises ConfigError."""
    from protea_ray.errors import ConfigError

    if len(paths) < 2:
        raise ConfigError(f"give at least one INPUT and then the STORE (got only {paths[0]})", where="arguments")
    return paths


_RECIPE_FIELDS = (
    "model", "revision", "family", "layers", "layer_agg", "pooling", "normalize_residues", "normalize",
    "max_residues", "on_long", "window_overlap", "chunk_size", "chunk_overlap", "chunk_mode", "dtype",
    "store_dtype", "attention", "quantization",
)  # fmt: skip
_RUN_FIELDS = (
    "actors", "device", "token_budget", "limit", "max_rejects", "retry_rejects", "id_column",
    "sequence_column", "address",
)  # fmt: skip


def overrides(given: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as fields of run.yaml; lists are written with commas."""
    fields = {name: given[name] for name in _RECIPE_FIELDS}
    fields |= {f"run.{name}": given[name] for name in _RUN_FIELDS}
    for name in ("layers", "pooling"):
        if fields[name] is not None:
            fields[name] = [part.strip() for part in fields[name].split(",")]
    return {name: value for name, value in fields.items() if value is not None}


def run_now(inputs: list[str], store: str, settings: Any) -> Any:
    """Embed with progress on standard error."""
    from protea_ray.run.driver import embed as run
    from protea_ray.run.progress import reporter

    with reporter() as report:
        return run(inputs, store, settings, report)


def finish(summary: Any, max_rejects: int | None, as_json: bool) -> None:
    """Print the accounting, and leave with code 3 when too much was rejected."""
    from protea_ray.report.summary import print_summary

    print_summary(summary)
    if not summary.trained:
        print(UNTRAINED, file=sys.stderr)
    if as_json:
        print(json.dumps(summary.to_json()))
    rejected = max(count.rejected for count in summary.spaces)
    if max_rejects is not None and rejected > max_rejects:
        print(f"{rejected} records were rejected, more than --max-rejects {max_rejects}.", file=sys.stderr)
        raise typer.Exit(TOO_MANY_REJECTS)
