"""`python -m jobs.compare_models MODEL... --data FOLDER --out FOLDER`: what frozen models are worth.

MODEL is a built-in name, a directory or a hub id; NAME=MODEL gives it a name of its own in the table. The first one is
the subject; the others and the amino-acid composition are its controls:

    python -m jobs.compare_models small untrained-esm2-8m --data ../shared/data --out signal

Tasks: localization (DeepLoc), go-mf, go-cc, go-bp (DeepLoc's proteins, experimental and curated evidence),
secondary-structure (per residue), and the nearest neighbours of synthetic families. All inputs go through the same
probes. Vectors are kept in OUT/vectors: the same command goes on where it was stopped, and --vectors-only makes them
alone, which needs neither Ray nor Lance. Writes signal.json and signal.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from jobs.program import run_program
from protea_ray.config.identity import short_name
from protea_ray.errors import ConfigError
from protea_ray.evaluate.composition import composition
from protea_ray.evaluate.frozen import protein_vectors, read_proteins, residue_vectors
from protea_ray.evaluate.secondary_structure import Chains, letter_features, read_chains, window_features

PROTEIN_TASKS, RESIDUE_TASK = ("localization", "go-mf", "go-cc", "go-bp"), "secondary-structure"
TASKS = (*PROTEIN_TASKS, RESIDUE_TASK)
LAYERS = (0, 1)  # the last, which the verdict is on, and the one before it
FAMILIES = Path(__file__).resolve().parents[1] / "examples" / "families.fasta"
_LOCALIZATION, _GENE_ONTOLOGY, _STRUCTURE = "task_localization", "task_go_long", "task_secondary_structure"


@dataclass(frozen=True)
class Inputs:
    """Makes what goes into the probes: (n, width) by "NAME@layer", and the controls that need no model."""

    models: dict[str, str]
    folder: Path
    device: str

    def of_proteins(self, letters: list[str]) -> dict[str, np.ndarray]:
        """Mean vectors of every model and layer, and the composition."""
        made = {"composition": composition(letters)}
        for name, model in self.models.items():
            vectors = protein_vectors(model, letters, LAYERS, self.folder, self.device)
            made |= {f"{name}@{layer}": values for layer, values in vectors.items()}
        return made

    def of_residues(self, chains: Chains) -> dict[str, np.ndarray]:
        """States of every model and layer; letter and composition of the protein; letters of 15 residues."""
        made = {"composition": letter_features(chains.sequences), "window": window_features(chains.sequences)}
        for name, model in self.models.items():
            states = residue_vectors(model, chains.sequences, LAYERS, self.folder, self.device)
            made |= {f"{name}@{layer}": values for layer, values in states.items()}
        return made


def main(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="the subject, then models to compare with")],
    data: Annotated[Path, typer.Option(help="folder of task_localization, task_go_long, task_secondary_structure")],
    out: Annotated[Path, typer.Option(help="folder of the report and of the vectors")],
    tasks: Annotated[str, typer.Option(help="with commas; none: families alone")] = ",".join(TASKS),
    seeds: Annotated[int, typer.Option(min=1, help="trainings of each task")] = 5,
    chains: Annotated[int, typer.Option(min=1, help="training chains of secondary-structure")] = 300,
    families: Annotated[Path, typer.Option(help="FASTA whose descriptions name families")] = FAMILIES,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    vectors_only: Annotated[bool, typer.Option("--vectors-only", help="embed, and train no probe")] = False,
) -> None:
    """Embed, train, report."""
    named, chosen = _named(models), [name for name in tasks.split(",") if name != "none"]
    if unknown := [name for name in chosen if name not in TASKS]:
        raise ConfigError(f"--tasks: {', '.join(unknown)} is not one of {', '.join(TASKS)} or none", where="compare")
    made = Inputs(named, out / "vectors", device)
    related = read_proteins([families])
    of_families = made.of_proteins([letters for letters, _ in related.values()])
    on_proteins = bool(set(chosen) & set(PROTEIN_TASKS))
    proteins = read_proteins(_fasta_files(data / _LOCALIZATION)) if on_proteins else {}
    of_proteins = made.of_proteins([letters for letters, _ in proteins.values()]) if on_proteins else {}
    structure = read_chains(data / _STRUCTURE, chains) if RESIDUE_TASK in chosen else None
    of_residues = made.of_residues(structure) if structure else {}
    if vectors_only:
        return
    from protea_ray.evaluate import comparison, questions  # scikit-learn, and Lance through the probes

    subject, *others = (f"{name}@{LAYERS[0]}" for name in named)
    report: dict[str, Any] = {"models": named, "seeds": seeds, "layers": list(LAYERS), "tasks": {}}
    for name in chosen:
        if name == RESIDUE_TASK and structure is not None:
            asked, inputs = questions.of_chains(structure), of_residues
        else:
            folder = data / (_LOCALIZATION if name == "localization" else _GENE_ONTOLOGY)
            letters = {id: letters for id, (letters, _) in proteins.items()}
            asked, inputs = questions.of_task(name, folder, letters), of_proteins
        found = comparison.compare(asked, inputs, seeds)
        found["verdict"] = comparison.verdict(found["probes"], found["metric"], subject, ["composition", *others])
        report["tasks"][name] = found
        print(f"{name}: {found['train']:,} train, {found['test']:,} test, {found['verdict']}", flush=True)
    report["families"] = comparison.family_shares(of_families, [text for _, text in related.values()])
    print(*_write(report, out), sep="\n")


def _write(report: dict[str, Any], out: Path) -> list[str]:
    """Write signal.json and signal.md; returns the lines of the latter."""
    from protea_ray.evaluate.comparison import table_lines

    lines = list(table_lines(report["tasks"], report["families"]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "signal.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "signal.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _named(models: Sequence[str]) -> dict[str, str]:
    """Model by the name it has in the table; raises ConfigError for two of one name."""
    named: dict[str, str] = {}
    for given in models:
        name, equals, model = given.partition("=")
        name, model = (name, model) if equals else (short_name(given), given)
        if name in named or not name.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"{given}: give each model a name of its own, of letters and digits: NAME=MODEL",
                              where="compare")  # fmt: skip
        named[name] = model
    return named


def _fasta_files(folder: Path) -> list[Path]:
    """The FASTA files of a task's folder; raises ConfigError where there is none."""
    found = sorted(folder.glob("*.fasta"))
    if not found:
        raise ConfigError(f"{folder} holds no .fasta file; --data names the folder above it", where="compare")
    return found


def run(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    run_program(main, arguments)


if __name__ == "__main__":
    run()
