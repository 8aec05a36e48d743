"""Training tokens per second: plain transformers on padded batches, and runs of `train_here` by one and two processes.

    python -m benchmarks.training_rate [--shape small] [--proteins 400] [--steps 6] [--dtypes float32,bfloat16]

One thread each. Proteins are drawn from `--fasta` (any input of `protea-ray embed`; else synthetic, with the lengths
of UniProt) and cut to 510 residues. All ways predict 15 % masked residues, go forward and backward and take AdamW's
step. A token is a residue or a special token of a protein; padding is not counted. Two processes share memory and
clock of a machine, so twice one is out of reach.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
import typer

from protea_ray.acceptance.drawn import pool, sample
from protea_ray.config.training import TrainingConfig, TrainingOptions, training_config
from protea_ray.train.metrics_file import read_metrics
from protea_ray.train.proteins import Proteins, from_table
from protea_ray.train.shape import write_fresh
from protea_ray.train.train_here import train_here

CROP, BATCH, MASK, PAD = 510, 8, 32, 1
VALIDATED = 4  # proteins; a run wants some


def main(
    shape: Annotated[str, typer.Option(help="small, default, 8M, 35M ...")] = "small",
    proteins: Annotated[int, typer.Option(min=50)] = 400,
    steps: Annotated[int, typer.Option(min=3, help="steps of 15,360 tokens; the first is not counted")] = 6,
    dtypes: str = "float32,bfloat16",
    fasta: Annotated[str | None, typer.Option(help="any input of `protea-ray embed`")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="last line is one JSON object")] = False,
) -> None:
    """Print tokens per second of each way, and how many times the padded one it is."""
    torch.set_num_threads(1)
    sequences = sample(pool(fasta), proteins, CROP)
    found: dict[str, dict[str, float]] = {}
    for dtype in dtypes.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            start = write_fresh(Path(scratch) / "start", shape, 0, CROP)
            rates = {"transformers, padded, batches of 8": padded(start, sequences, dtype)}
            for workers in (1, 2):
                out = Path(scratch) / f"run-{workers}"
                rates[f"protea_ray, {workers} process(es)"] = packed(shape, sequences, dtype, steps, workers, out)
        found[dtype] = rates
        first = next(iter(rates.values()))
        for way, rate in rates.items():
            print(f"{dtype:<9} {way:<36} {rate:>9,.0f} tokens/s  {rate / first:.2f} times the first")
    if as_json:
        print(json.dumps(found))


def padded(start: Path, sequences: Sequence[str], dtype: str) -> float:
    """Tokens/s of transformers' own model in input order, as its documentation trains it; one batch is warm-up."""
    from transformers import EsmForMaskedLM, EsmTokenizer

    model = EsmForMaskedLM.from_pretrained(start).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokenizer, draw = EsmTokenizer.from_pretrained(start), torch.Generator().manual_seed(0)
    tokens, began = 0, time.perf_counter()
    for number, batch in enumerate(_batches(sequences[: 10 * BATCH])):
        if number == 1:
            tokens, began = 0, time.perf_counter()
        ids = tokenizer(batch, return_tensors="pt", padding=True)
        chosen = (torch.rand(ids["input_ids"].shape, generator=draw) < 0.15) & (ids["input_ids"] > 3)
        targets = ids["input_ids"].masked_fill(~chosen, -100)
        inputs = ids["input_ids"].masked_fill(chosen, MASK)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = model(input_ids=inputs, attention_mask=ids["attention_mask"]).logits
        F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
        optimiser.step()
        optimiser.zero_grad()
        tokens += int(ids["attention_mask"].sum())
    return tokens / (time.perf_counter() - began)


def _batches(sequences: Sequence[str]) -> Iterator[list[str]]:
    return (list(sequences[i : i + BATCH]) for i in range(0, len(sequences), BATCH))


def packed(shape: str, sequences: Sequence[str], dtype: str, steps: int, workers: int, out: Path) -> float:
    """Tokens/s of all processes together, of every step but the first."""
    fields: dict[str, Any] = {"shape": shape, "dtype": dtype, "crop": CROP, "pack_tokens": 1536, "step_tokens": 15_360}
    fields |= {"tokens": steps * 15_360, "optimiser": "adamw", "ema": 0.0, "dropout": 0.0, "validation_every": 10_000}
    config, port = training_config(fields), _free_port()
    given = [(rank, workers, port, config, list(sequences), out) for rank in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.starmap(_rank, given, chunksize=1)
    lines = [line for line in read_metrics(out) if line["kind"] == "step"]
    return (lines[-1]["tokens"] - lines[0]["tokens"]) / (lines[-1]["seconds"] - lines[0]["seconds"])


def _rank(rank: int, world: int, port: int, config: TrainingConfig, sequences: list[str], out: Path) -> None:
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    train_here(config, TrainingOptions(device="cpu"), _table(sequences), out, rank=rank, world=world)
    if world > 1:
        torch.distributed.destroy_process_group()


def _table(sequences: list[str]) -> Proteins:
    n = len(sequences)
    return from_table(pa.table({
        "id": [f"p{i}" for i in range(n)], "sequence": sequences, "cluster": np.arange(n),
        "is_validation": np.arange(n) < VALIDATED,
    }))  # fmt: skip


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    typer.run(main)
