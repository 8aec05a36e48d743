"""Residues per second: plain transformers, peers, our encoder, our whole pipeline, in one run on the same proteins.

    python -m benchmarks.encoder [--shapes 8M,35M,...] [--proteins 48] [--repeats 3] [--model DIR] [--json] [--png FILE]

One thread each on a CPU, repetitions interleaved so that a busy machine hurts all alike; median and spread. Proteins
are drawn from `--fasta` (by default a data set of real proteins beside the checkout, else the synthetic length
distribution) and cut to 1,022 residues; nothing else is cut. Loading, the first use and the steady state are separate
records. The share of peak counts only operations that a result needs, padding excluded, against a matrix product
(`a @ a`) of the same dtype on the same device in the same repetition; where oneDNN multiplies faster it is printed.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.encoder.peers import installed
from benchmarks.encoder.show import draw, show, show_more
from protea_ray.acceptance import drawn
from protea_ray.acceptance.measure import Seconds, clock, extra_memory, interleaved, peak, share_of, useful_operations
from protea_ray.acceptance.published_shapes import MODELS
from protea_ray.acceptance.ways import PADDED_BUDGET, Way, opened, ways
from protea_ray.cluster.cores import usable_cores
from protea_ray.encoder.acceleration import ONEDNN, choose_product
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.sequences.synth import synthesise

REAL_PROTEINS = Path(__file__).resolve().parents[2] / "shared" / "data" / "medium"
CUT = 1022  # residues, of the comparison; the buckets have longer ones
BUCKETS = ((1, 128), (129, 256), (257, 512), (513, 1024), (1025, 2048), (2049, 4096))
PIPELINE_TIMES = 40  # so many copies of the proteins, each without another few residues at its start
SMALL_FLOPS = 4e11  # of useful operations in one repetition of a shape that is not the first


@dataclass(frozen=True)
class Record:
    """One way on one model. Seconds; `rate` in residues/s; `difference` the largest relative one from the first way."""

    model: str
    depth: str
    way: str
    dtype: str
    proteins: int
    residues: int
    load: float
    first_use: float
    rate: float
    spread: float
    share_of_peak: float
    padding: float | None
    extra_bytes: int | None
    difference: float | None


def main(
    shapes: Annotated[str, typer.Option(help=f"any of {', '.join(MODELS)}; the first gets the pipeline and buckets")]
    = "8M,35M,150M,650M,esmc-300M,esmc-600M,prott5-xl,ankh-base",
    proteins: Annotated[int, typer.Option(min=8, help="how many proteins for the first shape")] = 48,
    repeats: Annotated[int, typer.Option(min=1, help="repetitions of every way")] = 3,
    dtypes: Annotated[str, typer.Option(help="float32, bfloat16, float16; the first is the baseline's")] = "",
    model: Annotated[str | None, typer.Option(help="a checkpoint directory or hub id in place of the shapes")] = None,
    fasta: Annotated[str | None, typer.Option(help="any input of `protea-ray embed` to draw proteins from")] = None,
    whole: Annotated[bool, typer.Option(help="the pipeline too, with its store written")] = True,
    by_length: Annotated[bool, typer.Option(help="the first shape by length, too")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="last line is one JSON object")] = False,
    png: Annotated[Path | None, typer.Option(help="write a picture of the comparison and the length curve")] = None,
) -> None:  # fmt: skip
    """Compare the ways, shape by shape."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kinds = dtypes.split(",") if dtypes else ["float16", "bfloat16"] if device == "cuda" else ["float32", "bfloat16"]
    pool = proteins_of(fasta)
    found: dict[str, Any] = {"device": device, "records": [], "buckets": [], "pipeline": [], "peaks": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, depth, directory) in enumerate(_directories(model, shapes, Path(scratch), device)):
            sequences = _draw(pool, proteins, directory, first=number == 0)
            sizes = (8, 32) if number == 0 else (8,)
            loaded = _load(_all_ways(directory, device, kinds, sizes), sequences, device)
            records, peaks = compare(loaded, sequences, repeats, directory, device)
            found["peaks"] = peaks
            if choose_product(device).name == ONEDNN:
                found["oneDNN"] = {kind: peak(device, kind, ONEDNN) for kind in peaks}
            for record in records:
                found["records"].append({**record, "model": name, "depth": depth})
            show(found, name)
            if number == 0 and by_length:
                found["buckets"] = buckets(loaded, pool, directory, device, found["peaks"])
            if number == 0 and whole:
                found["pipeline"] = pipelines(directory, sequences, Path(scratch), device)
            if number == 0:
                show_more(found)
    if png:
        draw(found, png)
    if as_json:
        print(json.dumps(found))


def _directories(model: str | None, shapes: str, scratch: Path, device: str) -> Iterable[tuple[str, str, Path]]:
    """(name, depth, directory) of what is measured, written as it comes; raises ConfigError for an unknown shape."""
    if model is not None:
        checkpoint = open_checkpoint(model)
        return [(model, f"{checkpoint.shape.layers} layers", checkpoint.path)]
    names = shapes.split(",")
    if unknown := [name for name in names if name not in MODELS]:
        raise ConfigError(f"--shapes: {', '.join(unknown)} is not one of {', '.join(MODELS)}", where="bench")
    full = device == "cuda"
    chosen = [MODELS[name] for name in names]
    return ((m.name, f"{m.depth(full)} of {m.layers} layers", m.write(scratch, full)) for m in chosen)


def proteins_of(fasta: str | None) -> list[str]:
    """Every protein of the input, or of the data set beside the checkout, or synthetic ones; always the same."""
    if fasta is None and not REAL_PROTEINS.is_dir():
        return [p.sequence for p in synthesise(20_000, seed=0)]
    return drawn.pool(fasta or str(REAL_PROTEINS))


def useful(directory: Path, lengths: Sequence[int]) -> float:
    """Operations that the proteins need, special tokens counted."""
    return useful_operations(opened(directory).shape, lengths)


def _all_ways(directory: Path, device: str, dtypes: Sequence[str], sizes: Sequence[int]) -> Iterator[Way]:
    yield from ways(directory, device, dtypes, sizes)
    for peer, load in installed(directory, device, dtypes[0], PADDED_BUDGET[device]):
        yield Way(f"{peer}, {dtypes[0]}", dtypes[0], load, is_peer=True)


def _draw(pool: list[str], count: int, directory: Path, *, first: bool) -> list[str]:
    """A random sample; smaller for a large shape, so that no shape takes longer than the first."""
    chosen = [s[:CUT] for s in random.Random(0).sample(pool, min(count, len(pool)))]
    while not first and len(chosen) > 8 and useful(directory, [len(s) for s in chosen]) > SMALL_FLOPS:
        chosen = chosen[: len(chosen) * 3 // 4]
    return chosen


Loaded = dict[str, tuple[Way, Callable[[Sequence[str]], dict[str, np.ndarray]], float, float]]


def _load(all_ways: Any, sequences: Sequence[str], device: str) -> Loaded:
    """Every way with what it loaded, the seconds of loading, and of its first use on two proteins."""
    loaded: Loaded = {}
    for way in all_ways:
        held: list[Any] = []
        try:
            load = clock(lambda way=way, held=held: held.append(way.load()), device)
            first = clock(lambda held=held: held[0](sequences[:2]), device)
        except Exception as error:
            if not way.is_peer:
                raise
            print(f"{way.name} is left out, it failed here: {error}")  # as installed, with this transformers
            continue
        loaded[way.name] = (way, held[0], load, first)
    return loaded


def compare(
    loaded: Loaded, sequences: list[str], repeats: int, directory: Path, device: str
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One record for each way, and the peak of each dtype: the median of those taken among the repetitions.

    A repetition of all is the warm-up, in which memory and differences are taken.
    """
    residues, extra, vectors = sum(map(len, sequences)), {}, {}
    for name, (_, embed, _, _) in loaded.items():
        extra[name] = extra_memory(lambda embed=embed, name=name: vectors.update({name: embed(sequences)}), device)
    calls = {
        name: lambda embed=embed: clock(lambda: embed(sequences), device) for name, (_, embed, _, _) in loaded.items()
    }
    kinds = {way.dtype for way, _, _, _ in loaded.values()}
    seconds = interleaved(calls | {f"peak {kind}": partial(peak, device, kind) for kind in kinds}, repeats)
    measured = {kind: seconds.pop(f"peak {kind}") for kind in kinds}
    flops = useful(directory, [len(s) for s in sequences])
    records, base = [], vectors[next(iter(loaded))]
    for name, (way, _, load, first) in loaded.items():
        took = Seconds(seconds[name], extra[name])
        record = Record(
            model="", depth="", way=name, dtype=way.dtype, proteins=len(sequences), residues=residues, load=load,
            first_use=first, rate=residues / took.middle, spread=took.spread, padding=way.padding(sequences),
            share_of_peak=share_of(flops, seconds[name], measured[way.dtype]), extra_bytes=took.extra_bytes,
            difference=_difference(vectors[name], base),
        )  # fmt: skip
        records.append(asdict(record))
    return records, {kind: median(found) for kind, found in measured.items()}


def _difference(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """Largest distance of two vectors of one protein, relative to the length of the second."""
    return max(float(np.linalg.norm(mine[s] - v) / np.linalg.norm(v)) for s, v in theirs.items())


def buckets(
    loaded: Loaded, pool: list[str], directory: Path, device: str, peaks: dict[str, float]
) -> list[dict[str, Any]]:
    """Rate and share of peak by length, for each way."""
    found = []
    for low, high in BUCKETS:
        inside = sorted(s for s in pool if low <= len(s) <= high)
        if not inside:
            continue
        chosen = random.Random(1).sample(inside, min(len(inside), max(2, 4096 // high)))
        flops = useful(directory, [len(s) for s in chosen])
        for name, (way, embed, _, _) in loaded.items():
            call = partial(embed, chosen)
            seconds = min(clock(call, device) for _ in range(2))
            share = flops / seconds / peaks[way.dtype]
            rate = sum(map(len, chosen)) / seconds
            found.append({"low": low, "high": high, "way": name, "rate": rate, "share_of_peak": share})
    return found


def pipelines(directory: Path, sequences: list[str], scratch: Path, device: str) -> list[dict[str, Any]]:
    """The whole pipeline with one actor and with all, each beside as many encoders alone just before and just after."""
    from protea_ray.acceptance.whole_pipeline import (  # Ray and Lance, which a borrowed machine may lack
        encoders,
        pipeline,
    )

    # longer than the comparison, as the last commit counts once; a protein that comes again would be stored once
    many = [s[cut:] for cut in range(PIPELINE_TIMES) for s in sequences if len(s) > PIPELINE_TIMES]
    residues, few = sum(map(len, many)), many[: len(many) // 8]
    found = []
    for actors in sorted({1, torch.cuda.device_count() if device == "cuda" else usable_cores()}):
        before = encoders(directory, few, actors, device)
        done = pipeline(directory, many, scratch, actors, device)
        alone = (before + encoders(directory, few, actors, device)) / 2
        rate = residues / done.steady
        found.append({"actors": actors, "residues": residues, "rate": rate, "encoders": alone,
                      "of_the_encoders": rate / alone, **asdict(done)})  # fmt: skip
    return found


if __name__ == "__main__":
    typer.run(main)
