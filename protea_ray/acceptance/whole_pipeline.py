"""Speed of the whole: the pipeline with its store written, beside as many encoders that do nothing else.

The encoders run at the same time, each in a process of its own, as the actors do: cores of one machine share its
memory and its clock, so that two encoders are a little less than twice one.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier

import torch

from protea_ray.acceptance.measure import clock
from protea_ray.acceptance.ways import LONGEST, ours
from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.embed import embed

_together: Barrier


def encoders(directory: Path, sequences: Sequence[str], count: int, device: str) -> float:
    """Residues/s of `count` encoders together, each of which embeds all `sequences`."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_join, initargs=(context.Barrier(count),)) as pool:
        return sum(pool.map(partial(_alone, directory, sequences, device), range(count)))


def _join(barrier: Barrier) -> None:
    global _together
    _together = barrier


def _alone(directory: Path, sequences: Sequence[str], device: str, number: int) -> float:
    """One encoder's residues/s; the barrier keeps a process from taking two turns."""
    if device == "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
    torch.set_num_threads(1)
    run = ours(directory, device, None)()  # in the dtype of the pipeline, which the family chooses
    run(sequences[:8])
    _together.wait()
    return sum(map(len, sequences)) / clock(lambda: run(sequences), device)


@dataclass(frozen=True)
class PipelineRun:
    """One whole run into a new store; seconds. `steady` is from the first forward pass to the last commit."""

    steady: float
    startup: float
    load: float
    first_use: float | None  # None: the calibration was remembered
    store: str


def pipeline(directory: Path, sequences: Sequence[str], scratch: Path, actors: int, device: str) -> PipelineRun:
    """Embed `sequences` from a FASTA into a store, with that many actors of one thread or one GPU each."""
    fasta = scratch / "proteins.fasta"
    fasta.write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(sequences)))
    run = {"actors": actors, "device": device}
    config = run_config({"model": str(directory), "max_residues": LONGEST, "run": run})
    store = tempfile.mkdtemp(dir=scratch)
    done = embed([str(fasta)], store, config, LineReporter(), started=time.time())
    return PipelineRun(done.embed_seconds, done.startup_seconds, done.load_seconds, done.first_forward_seconds, store)
