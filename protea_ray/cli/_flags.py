"""Flags of the commands that embed. `python -m tools.flags` writes this file from the models; do not edit it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Flag(NamedTuple):
    """One flag. `unset`: what holds without it; `kind`: a switch takes no value, a list takes several with commas."""

    flag: str
    help: str
    unset: str
    kind: Literal["text", "list", "switch"]


RECIPE_FLAGS = {
    "model": Flag("--model", "hub id or directory", "small, which ships with the package", "text"),
    "revision": Flag("--revision", "40-hex commit of a hub id", "resolved and recorded", "text"),
    "family": Flag("--family", "esm2, esmc, t5, ankh, a plugin's name, or auto", "auto", "text"),
    "alphabet": Flag("--alphabet", "what the letters are: aa (amino acids) or 3di (structure, ProstT5)", "aa", "text"),
    "layers": Flag("--layers", "layers counted from the end, 0 = last: 0 or 0,1,2", "0", "list"),
    "layer_agg": Flag("--layer-agg", "how several layers become one: mean, last or concat", "mean", "text"),
    "pooling": Flag(
        "--pooling",
        "how residues become one vector, none to keep them: any of mean,max,cls,mean_max,std,none",
        "mean",
        "list",
    ),
    "outputs": Flag(
        "--outputs",
        "embeddings, or embeddings,logits for the language model's logits per residue",
        "embeddings",
        "list",
    ),
    "normalize_residues": Flag(
        "--normalize-residues/--no-normalize-residues", "L2 of each residue before pooling", "", "switch"
    ),
    "normalize": Flag("--normalize/--no-normalize", "L2 of the pooled vector", "on", "switch"),
    "max_residues": Flag(
        "--max-residues", "longest stretch of one forward pass, in residues", "trained length", "text"
    ),
    "on_long": Flag(
        "--on-long", "what becomes of a protein past max_residues: window, truncate or reject", "window", "text"
    ),
    "window_overlap": Flag("--window-overlap", "overlap of forward windows, in residues", "256", "text"),
    "chunk_size": Flag("--chunk-size", "residues per stored row", "whole protein", "text"),
    "chunk_overlap": Flag("--chunk-overlap", "overlap of stored rows, in residues", "0", "text"),
    "chunk_mode": Flag(
        "--chunk-mode", "each chunk on its own (independent), or cut after one pass (posthoc)", "independent", "text"
    ),
    "dtype": Flag("--dtype", "compute precision: float32, float16 or bfloat16", "by device and family", "text"),
    "store_dtype": Flag("--store-dtype", "stored precision: float16 or float32", "float16", "text"),
    "attention": Flag("--attention", "exact, or local:W for |i - j| <= W", "exact", "text"),
    "quantization": Flag("--quantization", "weights in fewer bits: int8 or int4", "no", "text"),
}
RUN_FLAGS = {
    "actors": Flag("--actors", "encoder actors", "one a GPU, else one a core", "text"),
    "device": Flag("--device", "where the forward pass runs: auto, cpu or cuda", "auto", "text"),
    "token_budget": Flag("--token-budget", "tokens of one micro-batch", "by device", "text"),
    "kernel": Flag(
        "--kernel", "attention kernel: auto, sdpa, toeplitz, varlen or flex", "auto: the fastest exact one here", "text"
    ),
    "compile": Flag("--compile", "torch.compile of the layers: auto, on or off", "auto: where it pays", "text"),
    "products": Flag(
        "--products",
        "matrix products of the layers: auto or torch",
        "auto: by oneDNN on x86 CPUs; torch: never by oneDNN",
        "text",
    ),
    "limit": Flag("--limit", "read only the first N records", "", "text"),
    "max_rejects": Flag("--max-rejects", "exit code 3 when a run rejects more than this", "", "text"),
    "retry_rejects": Flag("--retry-rejects", "try again what an earlier run rejected while embedding", "", "switch"),
    "id_column": Flag("--id-column", "column of tabular inputs that holds the id", "id", "text"),
    "sequence_column": Flag("--sequence-column", "column that holds the letters", "sequence", "text"),
    "address": Flag("--address", "a running Ray cluster", "RAY_ADDRESS, else local", "text"),
}
