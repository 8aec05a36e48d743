"""Have other programs open what `protea-ray export` writes: `python -m tools.interop_check [STORE] [--only NAME]`.

Each program has an environment of its own under build/interop, into which pip installs the version named here; none is
a dependency. It opens an export of a store (examples/families.fasta, embedded now where no STORE is named) and does
what people use it for. What it read is compared to the store: how many proteins, and their vectors bit for bit.
Prints one line a program; exit code 1 where one differs or fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import matrix
from tools.interop.same_vectors import same_vectors

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "build" / "interop"
# a machine without a GPU need not load CUDA; pip finds this build where the Makefile's `setup` finds it
TORCH = "torch==2.13.0+cpu" if sys.platform == "linux" else "torch==2.13.0"
COMPARED = ("read", "vectors", "places", "families")
SIDES = ("train", "train", "train", "val", "test")  # of every five proteins, for biotrainer


@dataclass(frozen=True)
class Program:
    """A program, what pip installs for it, and the script in tools/interop that its Python runs."""

    name: str
    packages: tuple[str, ...]
    script: str
    before: tuple[str, ...] = ()  # installed first

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return ENVIRONMENTS / self.name / "bin" / "python"

    @property
    def installed(self) -> Path:
        """A file that is there when all packages of these versions are."""
        return ENVIRONMENTS / self.name / f".{'-'.join(self.packages)}"


PROGRAMS = (
    Program("protspace", ("protspace==4.8.2",), "protspace_draws.py"),
    # biotrainer's command imports requests, which it does not ask for
    Program("biotrainer", ("biotrainer==1.4.0", "requests"), "biotrainer_trains.py", (TORCH,)),
    Program("scanpy", ("scanpy==1.11.5",), "scanpy_draws.py"),
    Program("cellxgene", ("cellxgene==1.3.0",), "cellxgene_serves.py"),
)


def install(program: Program) -> None:
    """Make the environment of a program, unless it is there; raises CalledProcessError where pip fails."""
    if program.installed.exists():
        return
    print(f"{program.name}: installing {', '.join(program.packages)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", program.python.parents[1]], check=True)
    for packages in filter(None, (program.before, program.packages)):
        subprocess.run([program.python, "-m", "pip", "install", "--quiet", *packages], check=True)
    program.installed.touch()


def embedded(folder: Path) -> str:
    """A store of examples/families.fasta with two poolings."""
    command = [sys.executable, "-m", "protea_ray.cli.main", "embed", ROOT / "examples" / "families.fasta"]
    subprocess.run([*command, folder / "store", "--pooling", "mean,max"], check=True, stdout=subprocess.DEVNULL)
    return str(folder / "store")


def export_all(store: Store, folder: Path) -> dict[str, Any]:
    """Write every file that the scripts open; returns what each of them must find."""
    for name in ("vectors.protspace.h5", "vectors.h5", "vectors.h5ad"):
        store.export(folder / name)
    store.export(folder / "proteins.fasta")
    rows = store.to_arrow(columns=["id", "description", "mean"])
    ids = rows["id"].to_pylist()
    families = [text.partition("family=")[2].split(" ")[0] for text in rows["description"].to_pylist()]
    with (folder / "protspace.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("identifier", "family"), *zip(ids, families, strict=True)])
    label(folder / "proteins.fasta", folder / "labelled.fasta", dict(zip(ids, families, strict=True)))
    vectors = matrix(rows["mean"]).astype(np.float32)
    counts = {"read": len(ids), "places": len(ids), "families": len(set(families))}
    return {**counts, "vectors": same_vectors(ids, vectors)}


def label(fasta: Path, labelled: Path, families: dict[str, str]) -> None:
    """Put family and side into the headers of our own FASTA file, as biotrainer reads them; letters stay."""
    records = fasta.read_text().removeprefix(">").split("\n>")
    with labelled.open("w") as file:
        for number, record in enumerate(records):
            header, _, letters = record.partition("\n")
            id = header.split()[0]
            file.write(f">{id} TARGET={families[id]} SET={SIDES[number % len(SIDES)]}\n{letters.rstrip()}\n")


def opened_by(program: Program, folder: Path) -> dict[str, Any]:
    """Run a program's script in the folder; returns what it found. Raises CalledProcessError with what it said."""
    # its Python must see its own packages alone, and nothing of a person's settings or of this program
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [program.python, ROOT / "tools" / "interop" / program.script]
    env = {**kept, "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, program.script, done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What a program found otherwise, each in words."""
    return [f"{name} is {found[name]}, {expected[name]} expected" for name in COMPARED if found[name] != expected[name]]


def check(program: Program, folder: Path, expected: dict[str, Any]) -> bool:
    """Print the line of a program; returns whether it read what the store holds."""
    try:
        found = opened_by(program, folder)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.output).strip().splitlines()[-15:]
        print(f"{program.packages[0]}: FAILED\n  " + "\n  ".join(said), flush=True)
        return False
    wrong = differences(found, expected)
    verdict = f"DIFFERS: {'; '.join(wrong)}" if wrong else "equal"
    print(f"{program.packages[0]}: {found['read']} proteins read, {found['families']} families; {found['did']}; "
          f"vectors and counts {verdict}", flush=True)  # fmt: skip
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, export, open; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("store", nargs="?", help="with family= in descriptions [examples/families.fasta, embedded now]")
    parser.add_argument("--only", action="append", choices=[program.name for program in PROGRAMS], help="one program")
    asked = parser.parse_args(arguments)
    chosen = [program for program in PROGRAMS if asked.only is None or program.name in asked.only]
    for program in chosen:
        install(program)
    with tempfile.TemporaryDirectory(prefix="interop-") as made:
        folder = Path(made)
        expected = export_all(open_store(asked.store or embedded(folder)), folder)
        equal = [check(program, folder, expected) for program in chosen]
        return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
