"""Peak memory of a process of its own, read from the kernel's high-water mark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protea_ray.testing.random_checkpoint import build

COMMON = """
import json, sys, gc, torch
from pathlib import Path
import numpy as np
torch.set_num_threads(1)
from tests.encoder.conftest import load, proteins

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

def peak(work):
    gc.collect()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    work()
    return memory("VmHWM") - before

directory = Path(sys.argv[1])
"""

# blocks of 64 KiB and more go back to the kernel at once, so that the mark shows what is held
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536"}

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


def measure(script: str, directory: Path, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script, str(directory)],
        capture_output=True, text=True, env=os.environ | environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_longest_protein_in_windows(tmp_path, record_property):
    """Titin's length, 34,350 residues, through the shape of ESM-2 8M: the whole process stays under 2 GB."""
    directory = build("esm2", tmp_path, layers=6, hidden=320, heads=20)
    script = """
run = load(directory, {"pooling": ("mean", "max")}, {"chunk_size": 512, "chunk_mode": "posthoc"})
results = list(run.embed(proteins(34_350)))
assert sorted(r.n_windows for r in results) == [45, 45] and not any(r.truncated for r in results)
assert run.stats.windows == 45
print(json.dumps({"process": memory("VmHWM")}))
"""
    figures = measure(script, directory)
    record_property("bytes", figures["process"])
    print(f"34,350 residues, ESM-2 8M shape: {figures['process'] / 1e6:,.0f} MB at the peak")
    assert figures["process"] < 2e9


@pytest.mark.slow
def test_only_the_requested_layer_is_held(tmp_path, record_property):
    """layers (0,) of 30 layers: at most two layers' states above the layer loop alone; all states beside it."""
    directory = build("esm2", tmp_path, layers=30, hidden=64, heads=4)
    script = """
from transformers import EsmModel
sequences = proteins(*[100] * 150)
run = load(directory, {}, token_budget=20_000)
every = load(directory, *({"layers": (i,)} for i in range(31)), token_budget=20_000)
naive = EsmModel.from_pretrained(directory, add_pooling_layer=False).eval()
windows = [run.alphabet.window(run.alphabet.residues(s)) for s in sequences]
batch = torch.from_numpy(np.stack(windows))

def loop():
    with torch.inference_mode():
        pack = run.core.pack(windows)
        for _ in run.core.states(pack, frozenset({30})):
            pass

def plain(**options):
    with torch.inference_mode():
        naive(input_ids=batch, **options)

list(run.embed(sequences[:8])), list(every.embed(sequences[:8])), naive(input_ids=batch[:8])
print(json.dumps({
    "state": batch.numel() * 64 * 4, "loop": peak(loop), "last": peak(lambda: list(run.embed(sequences))),
    "every": peak(lambda: list(every.embed(sequences))), "plain": peak(plain),
    "naive": peak(lambda: plain(output_hidden_states=True)),
}))
"""
    figures = measure(script, directory, **RETURNING)
    state = figures.pop("state")
    held = {name: round(bytes_ / state, 1) for name, bytes_ in figures.items()}
    record_property("states", held)
    print(f"peak in layers' states of {state / 1e6:.1f} MB: {held}")
    assert held["last"] - held["loop"] <= 2
    assert held["naive"] - held["plain"] > 25  # what holding all of them costs


def test_the_relative_bias_is_never_written_out(tmp_path, record_property):
    """Ankh, 12 heads, 3,000 residues: the L x L bias alone would be 432 MB a layer."""
    directory = build("ankh", tmp_path, layers=2, hidden=96, heads=12)
    script = """
run = load(directory, {})
list(run.embed(proteins(50)))
print(json.dumps({"ours": peak(lambda: list(run.embed(proteins(3000))))}))
"""
    figures = measure(script, directory, **RETURNING)
    record_property("bytes", figures["ours"])
    print(f"3,000 residues through Ankh with 12 heads: {figures['ours'] / 1e6:.0f} MB above the weights")
    assert figures["ours"] < 60e6
