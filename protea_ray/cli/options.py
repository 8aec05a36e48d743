"""Flags that are fields of run.yaml, declared once for the commands that embed.

A command takes them as keyword arguments, `**given`; `fields_of` adds them to its signature, where typer finds them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

RECIPE, RUN = "Recipe (part of the space's identity)", "Run (changes no number)"

RECIPE_FLAGS = {
    "model": ("--model", "hub id or directory; unset: a small untrained model, offline"),
    "revision": ("--revision", "40-hex commit of a hub id"),
    "family": ("--family", "esm2, esmc, t5, ankh or auto"),
    "layers": ("--layers", "reverse index, 0 = last: 0 or 0,1,2"),
    "layer_agg": ("--layer-agg", "mean, last or concat"),
    "pooling": ("--pooling", "any of mean,max,cls,mean_max,std,none"),
    "outputs": ("--outputs", "embeddings, or embeddings,logits for the language model's logits per residue"),
    "normalize_residues": ("--normalize-residues/--no-normalize-residues", "L2 of each residue before pooling"),
    "normalize": ("--normalize/--no-normalize", "L2 of the pooled vector [on]"),
    "max_residues": ("--max-residues", "longest stretch of one forward pass [trained length]"),
    "on_long": ("--on-long", "window, truncate or reject"),
    "window_overlap": ("--window-overlap", "residues that forward windows share [256]"),
    "chunk_size": ("--chunk-size", "residues per stored row [whole protein]"),
    "chunk_overlap": ("--chunk-overlap", "residues that stored rows share [0]"),
    "chunk_mode": ("--chunk-mode", "independent or posthoc"),
    "dtype": ("--dtype", "float32, float16 or bfloat16 [by device]"),
    "store_dtype": ("--store-dtype", "float16 or float32"),
    "attention": ("--attention", "exact or local:W"),
    "quantization": ("--quantization", "int8 or int4"),
}
RUN_FLAGS = {
    "actors": ("--actors", "encoder actors [one a GPU, else one a core]"),
    "device": ("--device", "auto, cpu or cuda"),
    "token_budget": ("--token-budget", "tokens of one micro-batch [by device]"),
    "kernel": ("--kernel", "attention kernel: sdpa, toeplitz, varlen, flex [by device]"),
    "compile": ("--compile", "torch.compile of the layers: on or off [where it pays]"),
    "products": ("--products", "matrix products: torch, instead of oneDNN on x86 CPUs [by device]"),
    "limit": ("--limit", "read only the first N records"),
    "max_rejects": ("--max-rejects", "exit code 3 above N rejects"),
    "retry_rejects": ("--retry-rejects", "try again what an earlier run rejected"),
    "id_column": ("--id-column", "column of the id in tables [id]"),
    "sequence_column": ("--sequence-column", "column of the letters in tables [sequence]"),
    "address": ("--address", "a running Ray cluster [RAY_ADDRESS, else local]"),
}
_SWITCHES = {"normalize_residues", "normalize", "retry_rejects"}
INPUT_FIELDS = ("limit", "id_column", "sequence_column")  # say how sources are read
FILE = Annotated[str | None, typer.Option("--config", help="run.yaml with any of these fields", rich_help_panel=RUN)]
ASSIGNMENTS = Annotated[
    list[str] | None,
    typer.Option("--set", help="any field of run.yaml: --set run.unit_seconds=60", rich_help_panel=RUN),
]

JSON = Annotated[bool, typer.Option("--json", help="last line of standard output is one JSON object")]


def fields_of(**texts: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add every flag to a command with `**given`; `texts` gives a field another help, or None to leave it out."""

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        first = [p for p in own if p.default is p.empty]
        rest = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.default is not p.empty]
        flags = [*_parameters(RECIPE_FLAGS, RECIPE, texts), *_parameters(RUN_FLAGS, RUN, texts)]
        vars(command)["__signature__"] = signature.replace(parameters=[*first, *flags, *rest])
        return command

    return declare


def _parameters(
    flags: Mapping[str, tuple[str, str]], panel: str, texts: Mapping[str, str | None]
) -> list[inspect.Parameter]:
    found = []
    for field, (flag, text) in flags.items():
        if (said := texts.get(field, text)) is None:
            continue
        kind = bool if field in _SWITCHES else str
        option = typer.Option(flag, help=said, rich_help_panel=panel, show_default=False)
        annotation = Annotated[kind | None, option]
        found.append(inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return found


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as fields of run.yaml; lists are written with commas."""
    fields = {name: given.get(name) for name in RECIPE_FLAGS}
    fields |= {f"run.{name}": given.get(name) for name in RUN_FLAGS}
    for name in ("layers", "pooling", "outputs"):
        if fields[name] is not None:
            fields[name] = [part.strip() for part in str(fields[name]).split(",")]
    return {name: value for name, value in fields.items() if value is not None}
