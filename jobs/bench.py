"""Residues per second: plain transformers, our encoder, our whole pipeline, in one run on the same proteins.

    python -m jobs.bench [--proteins 96] [--repeats 3] [--model DIR] [--json]

One thread each, float32 on the CPU, repetitions interleaved so that a busy machine hurts all alike; median and
spread. Proteins come from a FASTA (`--fasta`), else from the synthetic length distribution; all are cut to the
trained length first, because plain transformers would have to be told how to window. The share of peak counts only
operations that a result needs, padding excluded.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from transformers import EsmModel, EsmTokenizer

from protea_ray.config.embedding import embedding_config, resolve
from protea_ray.config.run import run_config
from protea_ray.embed.checkpoint import Checkpoint, open_checkpoint, read_config
from protea_ray.embed.encoder import Encoder
from protea_ray.embed.families import recognise
from protea_ray.report.console import wide_console
from protea_ray.run.cluster import usable_cores
from protea_ray.run.driver import embed
from protea_ray.run.probe import operations
from protea_ray.run.progress import LineReporter
from protea_ray.sequences.read import read_part
from protea_ray.sequences.sources import Columns, expand, scan
from protea_ray.sequences.synth import synthesise

PADDED_BUDGET = 2048  # tokens of one padded batch in the sorted baseline
PEAK_SIZE = 2048


@dataclass(frozen=True)
class Row:
    """One way to embed the proteins. `rate` is the median in residues/s, `spread` (max - min) / median."""

    name: str
    rate: float
    spread: float
    share_of_peak: float
    padding: float


def main(
    proteins: Annotated[int, typer.Option(min=8, help="how many proteins")] = 96,
    repeats: Annotated[int, typer.Option(min=1, help="repetitions of every way")] = 3,
    model: Annotated[str | None, typer.Option(help="ESM-2 directory or hub id [untrained 8M shape]")] = None,
    fasta: Annotated[str | None, typer.Option(help="any input of `protea-ray embed` to sample proteins from")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="last line is one JSON object")] = False,
) -> None:
    """Compare plain transformers, the encoder and the pipeline."""
    torch.set_num_threads(1)
    checkpoint = open_checkpoint(model)
    limit = checkpoint.facts.trained_length or 1022
    sequences = [s[:limit] for s in sample(fasta, proteins)]
    cores = usable_cores()
    with tempfile.TemporaryDirectory() as scratch:
        ways = make_ways(checkpoint, sequences, Path(scratch), cores)
        seconds = measure(ways, repeats)
    peak = matrix_product_peak()
    rows = [row(name, times, sequences, checkpoint, peak, cores) for name, times in seconds.items()]
    show(rows, sequences, peak, as_json)


def sample(fasta: str | None, count: int) -> list[str]:
    """Proteins of real lengths, the same every time."""
    if fasta is None:
        return [p.sequence for p in synthesise(count, seed=0)]
    (source,) = expand([fasta])
    parts = scan(source, Columns(), 1 << 40).parts
    letters = [
        s for part in parts for b in read_part(part, Columns(), "", "") for s in b.proteins["sequence"].to_pylist()
    ]
    return random.Random(0).sample(letters, min(count, len(letters)))


Way = Callable[[], float]  # embeds all proteins once and returns its seconds


def make_ways(checkpoint: Checkpoint, sequences: list[str], scratch: Path, cores: int) -> dict[str, Way]:
    """Name to way, the baseline first."""
    plain = EsmModel.from_pretrained(checkpoint.path, add_pooling_layer=False).eval()
    tokenizer = EsmTokenizer.from_pretrained(checkpoint.path)
    encoder = load_encoder(checkpoint)
    ways: dict[str, Way] = {
        "transformers, batch of 8, input order": timed(lambda: padded(plain, tokenizer, batches_of(sequences, 8))),
        "transformers, sorted, token budget": timed(lambda: padded(plain, tokenizer, sorted_batches(sequences))),
        "protea_ray encoder": timed(lambda: list(encoder.embed(sequences))),
        "protea_ray pipeline, 1 actor": pipeline(checkpoint, sequences, scratch, 1),
    }
    if cores > 1:
        ways[f"protea_ray pipeline, {cores} actors"] = pipeline(checkpoint, sequences, scratch, cores)
    return ways


def load_encoder(checkpoint: Checkpoint) -> Encoder:
    """The default recipe on the CPU."""
    recipe = resolve(embedding_config({"model": checkpoint.model}), checkpoint.facts, "cpu", None)
    family = recognise(read_config(checkpoint.path), checkpoint.path)
    return Encoder.load(checkpoint.path, family, [recipe])


def timed(work: Callable[[], Any]) -> Way:
    """Seconds of one call."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def pipeline(checkpoint: Checkpoint, sequences: list[str], scratch: Path, actors: int) -> Way:
    """A whole run into a new store: seconds from the first forward pass to the last commit."""
    fasta = scratch / "proteins.fasta"
    fasta.write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(sequences)))
    config = run_config({"model": checkpoint.model, "run": {"actors": actors}})

    def run() -> float:
        store = tempfile.mkdtemp(dir=scratch)
        return embed([str(fasta)], store, config, LineReporter()).embed_seconds

    return run


def batches_of(sequences: list[str], size: int) -> list[list[str]]:
    """Batches in input order."""
    return [sequences[i : i + size] for i in range(0, len(sequences), size)]


def sorted_batches(sequences: list[str]) -> list[list[str]]:
    """Sorted by length, as many per batch as a padded token budget holds: the honest baseline."""
    batches: list[list[str]] = [[]]
    for sequence in sorted(sequences, key=len):
        if batches[-1] and (len(batches[-1]) + 1) * (len(sequence) + 2) > PADDED_BUDGET:
            batches.append([])
        batches[-1].append(sequence)
    return batches


def padded(model: Any, tokenizer: Any, batches: list[list[str]]) -> None:
    """Mean of the residues of each protein, as the model's documentation shows it."""
    for batch in batches:
        tokens = tokenizer(batch, return_tensors="pt", padding=True)
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        for state, sequence in zip(states, batch, strict=True):
            state[1 : len(sequence) + 1].mean(0).numpy()


def padding_of(batches: list[list[str]]) -> float:
    """Share of the tokens that are padding."""
    real = sum(len(s) + 2 for batch in batches for s in batch)
    return 1 - real / sum(len(batch) * (max(map(len, batch)) + 2) for batch in batches)


def measure(ways: dict[str, Way], repeats: int) -> dict[str, list[float]]:
    """One warm-up each, then interleaved repetitions."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    return seconds


def matrix_product_peak() -> float:
    """FLOP/s of one large float32 matrix product on one thread, best of five."""
    a = torch.rand(PEAK_SIZE, PEAK_SIZE)
    best = min(timed(lambda: a @ a)() for _ in range(5))
    return 2 * PEAK_SIZE**3 / best


def row(name: str, seconds: list[float], sequences: list[str], checkpoint: Checkpoint, peak: float, cores: int) -> Row:
    """Rates from seconds; a pipeline with several actors is compared with as many peaks."""
    residues, middle = sum(map(len, sequences)), median(seconds)
    recipe = resolve(embedding_config({"model": checkpoint.model}), checkpoint.facts, "cpu", None)
    useful = operations(checkpoint.shape, recipe).of(np.array([len(s) + 2 for s in sequences])).sum()
    threads = cores if name.endswith(f"{cores} actors") else 1
    batches = batches_of(sequences, 8) if "batch of 8" in name else sorted_batches(sequences)
    waste = padding_of(batches) if name.startswith("transformers") else 0.0
    spread = (max(seconds) - min(seconds)) / middle
    return Row(name, residues / middle, spread, float(useful) / middle / peak / threads, waste)


def show(rows: list[Row], sequences: list[str], peak: float, as_json: bool) -> None:
    """Table with ratios to the first row."""
    console = wide_console()
    residues = sum(map(len, sequences))
    console.print(f"{len(sequences)} proteins, {residues:,} residues, peak {peak / 1e9:.0f} GFLOP/s a thread (float32)")
    table = Table("", "residues/s", "spread", "times the first", "of the peak", "padding")
    for r in rows:
        ratio = f"{r.rate / rows[0].rate:.2f}"
        table.add_row(r.name, f"{r.rate:,.0f}", f"{r.spread:.0%}", ratio, f"{r.share_of_peak:.0%}", f"{r.padding:.0%}")
    console.print(table)
    if as_json:
        print(json.dumps({"residues": residues, "peak": peak, "rows": [vars(r) for r in rows]}))


if __name__ == "__main__":
    typer.run(main)
