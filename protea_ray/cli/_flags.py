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


RECIPE_FLAGS = {
    "model": Flag("--model", "name, hub id or directory", "small, which ships with the package", "text"),
    "revision": Flag("--revision", "40-hex commit of a hub id", "resolved and recorded", "text"),
    "family": Flag("--family", "esm2, esmc, t5, ankh, a plugin's name, or auto", "auto", "text"),
    "alphabet": Flag(
        "--alphabet", "what the letters are: aa (amino acids) or 3di (structure, ProstT5)", "aa", "text", ("aa", "3di")
    ),
    "layers": Flag("--layers", "layers counted from the end, 0 = last: 0 or 0,1,2", "0", "list"),
    "layer_agg": Flag(
        "--layer-agg", "how several layers become one: mean, last or concat", "mean", "text", ("mean", "last", "concat")
    ),
    "pooling": Flag(
        "--pooling",
        "how residues become one vector, none to keep them: any of mean,max,cls,mean_max,std,none",
        "mean",
        "list",
        ("mean", "max", "cls", "mean_max", "std", "none"),
    ),
    "outputs": Flag(
        "--outputs",
        "embeddings, or embeddings,logits for the language model's logits per residue",
        "embeddings",
        "list",
        ("embeddings", "logits"),
    ),
    "normalize_residues": Flag(
        "--normalize-residues/--no-normalize-residues", "L2 of each residue before pooling", "off", "switch"
    ),
    "normalize": Flag("--normalize/--no-normalize", "L2 of the pooled vector", "on", "switch"),
    "max_residues": Flag(
        "--max-residues", "longest stretch of one forward pass, in residues", "trained length", "text"
    ),
    "on_long": Flag(
        "--on-long",
        "what becomes of a protein past max_residues: window, truncate or reject",
        "window",
        "text",
        ("window", "truncate", "reject"),
    ),
    "window_overlap": Flag("--window-overlap", "overlap of forward windows, in residues", "256", "text"),
    "chunk_size": Flag("--chunk-size", "residues per stored row", "whole protein", "text"),
    "chunk_overlap": Flag("--chunk-overlap", "overlap of stored rows, in residues", "0", "text"),
    "chunk_mode": Flag(
        "--chunk-mode",
        "each chunk on its own (independent), or cut after one pass (posthoc)",
        "independent",
        "text",
        ("posthoc", "independent"),
    ),
    "dtype": Flag(
        "--dtype",
        "compute precision: float32, float16 or bfloat16",
        "by device and family",
        "text",
        ("float32", "float16", "bfloat16"),
    ),
    "store_dtype": Flag(
        "--store-dtype", "stored precision: float16 or float32", "float16", "text", ("float16", "float32")
    ),
    "attention": Flag(
        "--attention", "exact, local:W, global:W or another form", "the checkpoint's own, mostly exact", "text"
    ),
    "rope": Flag("--rope", "rotary positions stretched: none, linear:S, ntk:S or yarn:S", "none", "text"),
    "stitch": Flag(
        "--stitch",
        "residues of several windows: from one (owner), or windows averaged by position",
        "owner",
        "text",
        ("owner", "average"),
    ),
    "quantization": Flag(
        "--quantization",
        "weights in fewer bits: int8, int4, hqq:8, hqq:4, hqq:3 or hqq:2",
        "no",
        "text",
        ("int8", "int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"),
    ),
}
RUN_FLAGS = {
    "actors": Flag("--actors", "encoder actors", "one a GPU, else one a core", "text"),
    "device": Flag(
        "--device", "where the forward pass runs: auto, cpu or cuda", "auto", "text", ("auto", "cpu", "cuda")
    ),
    "token_budget": Flag("--token-budget", "tokens of one micro-batch", "by device", "text"),
    "kernel": Flag(
        "--kernel",
        "attention kernel: auto, sdpa, toeplitz, varlen or flex",
        "auto: the fastest exact one here",
        "text",
        ("auto", "sdpa", "toeplitz", "varlen", "flex"),
    ),
    "compile": Flag(
        "--compile",
        "torch.compile of the layers: auto, on or off",
        "auto: where it pays",
        "text",
        ("auto", "on", "off"),
    ),
    "products": Flag(
        "--products",
        "matrix products of the layers: auto or torch",
        "auto: oneDNN on x86 CPUs, joined on a GPU; torch: each as loaded",
        "text",
        ("auto", "torch"),
    ),
    "limit": Flag("--limit", "read only the first N records", "all", "text"),
    "max_rejects": Flag("--max-rejects", "exit code 3 when a run rejects more than this", "any number may be", "text"),
    "retry_rejects": Flag("--retry-rejects", "try again what an earlier run rejected while embedding", "off", "switch"),
    "id_column": Flag("--id-column", "column of tabular inputs that holds the id", "id", "text"),
    "sequence_column": Flag("--sequence-column", "column that holds the letters", "sequence", "text"),
    "address": Flag("--address", "a running Ray cluster", "RAY_ADDRESS, else local", "text"),
}
TRAINING_FLAGS = {
    "model": Flag("--model", "continue from: name, hub id or directory", "", "text"),
    "shape": Flag("--shape", "fresh weights: small, default, 8M, 35M, 150M, 650M or path of a config.json", "", "text"),
    "adapt": Flag("--adapt", "start from the recipe that brings a model to longer proteins", "off", "switch"),
    "attention": Flag(
        "--attention",
        "exact, local:W, global:W or another form",
        "the model's own, else exact; adapt local:512",
        "text",
    ),
    "adapter": Flag(
        "--adapter",
        "none, lora (low-rank factors beside frozen weights) or qlora (the weights in few bits)",
        "none",
        "text",
        ("none", "lora", "qlora"),
    ),
    "quantization": Flag(
        "--quantization",
        "the frozen weights of qlora: int4, hqq:8, hqq:4, hqq:3 or hqq:2",
        "int4 with qlora",
        "text",
        ("int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"),
    ),
    "feature_maps": Flag(
        "--feature-maps",
        "hedgehog: learn the maps of linear attention, and train nothing else: none or hedgehog",
        "none",
        "text",
        ("none", "hedgehog"),
    ),
    "lora_rank": Flag("--lora-rank", "rank of an adapter's factors", "8", "text"),
    "lora_alpha": Flag("--lora-alpha", "an adapter adds alpha / rank times its product", "16.0", "text"),
    "lora_targets": Flag("--lora-targets", "layers that get an adapter", "query,key,value", "list"),
    "mask_rate": Flag("--mask-rate", "share of the residues that are predicted", "0.15", "text"),
    "mask_kind": Flag(
        "--mask-kind",
        "bert (80 % masked, 10 % another amino acid, 10 % kept) or mask (all masked)",
        "bert",
        "text",
        ("bert", "mask"),
    ),
    "crop": Flag(
        "--crop",
        "longest stretch of a protein in a step, in residues, at random",
        "small 510, default 1022, continue 2046, adapt 2048",
        "text",
    ),
    "pack_tokens": Flag(
        "--pack-tokens",
        "tokens of one pack, one forward pass",
        "small 1536, default 32768, continue 16384, adapt 16384",
        "text",
    ),
    "step_tokens": Flag(
        "--step-tokens",
        "tokens of one optimiser step, a multiple of a pack's",
        "small 15360, default 131072, continue 65536, adapt 32768",
        "text",
    ),
    "tokens": Flag("--tokens", "length of the run in tokens (this or epochs)", "small 60000000", "text"),
    "epochs": Flag(
        "--epochs", "length of the run in epochs (this or tokens)", "default 35.0, continue 5.0, adapt 5.0", "text"
    ),
    "optimiser": Flag(
        "--optimiser",
        "adamw, or muon for the layers' matrices with adamw for the rest",
        "small adamw, default muon, continue adamw, adapt adamw",
        "text",
        ("adamw", "muon"),
    ),
    "learning_rate": Flag(
        "--learning-rate", "highest learning rate", "small 0.0015, default 0.001, continue 5e-05, adapt 5e-05", "text"
    ),
    "weight_decay": Flag(
        "--weight-decay", "decoupled decay of the matrices", "small 0.1, default 0.1, continue 0.01, adapt 0.01", "text"
    ),
    "beta1": Flag("--beta1", "decay of the mean of the gradient", "0.9", "text"),
    "beta2": Flag("--beta2", "decay of the mean of its square", "0.98", "text"),
    "epsilon": Flag("--epsilon", "added to the root of that mean", "1e-08", "text"),
    "clip": Flag("--clip", "largest norm of the gradient; null: not clipped", "1.0", "text"),
    "warmup_steps": Flag(
        "--warmup-steps",
        "steps in which the learning rate rises, or a share of the run as 3%",
        "small 200, default 300, continue 50, adapt 3%",
        "text",
    ),
    "schedule": Flag(
        "--schedule",
        "learning rate after it: linear and cosine fall to 0 at the end, or constant",
        "linear",
        "text",
        ("linear", "cosine", "constant"),
    ),
    "dropout": Flag(
        "--dropout", "dropout of the hidden states", "small 0.0, default 0.1, continue 0.0, adapt 0.0", "text"
    ),
    "ema": Flag(
        "--ema",
        "decay of averaged weights, which are evaluated; 0: off",
        "small 0.0, default 0.999, continue 0.0, adapt 0.0",
        "text",
    ),
    "dtype": Flag(
        "--dtype",
        "precision of the products (weights stay float32): float32, bfloat16 or float16",
        "bfloat16",
        "text",
        ("float32", "bfloat16", "float16"),
    ),
    "gradient_checkpointing": Flag("--gradient-checkpointing", "compute layers twice to save memory", "off", "switch"),
    "seed": Flag("--seed", "of fresh weights, order, crops and masks", "0", "text"),
    "validation_share": Flag(
        "--validation-share", "share of the proteins kept for validation, as whole clusters", "0.05", "text"
    ),
    "validation_every": Flag("--validation-every", "steps between two validations", "200", "text"),
}
TRAINING_RUN_FLAGS = {
    "device": Flag("--device", "where the steps run: auto, cpu or cuda", "auto", "text", ("auto", "cpu", "cuda")),
    "workers": Flag("--workers", "Ray Train workers, 0 for none (in this process)", "one a GPU, else 1", "text"),
    "compile": Flag(
        "--compile",
        "torch.compile of the layers: auto, on or off",
        "auto: where it pays",
        "text",
        ("auto", "on", "off"),
    ),
    "checkpoint_minutes": Flag("--checkpoint-minutes", "minutes between two checkpoints, at most", "5.0", "text"),
    "keep": Flag("--keep", "newest checkpoints that are kept, beside the best", "2", "text"),
    "max_failures": Flag("--max-failures", "times that a lost worker is replaced", "3", "text"),
    "address": Flag("--address", "a running Ray cluster", "RAY_ADDRESS, else local", "text"),
}
