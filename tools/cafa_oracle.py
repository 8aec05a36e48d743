"""Set the product's Fmax and Smin beside CAFA's evaluator: `python -m tools.cafa_oracle [FOLDER]`.

cafaeval is GPL, so it is neither imported nor a dependency: PROTEA_RAY_CAFAEVAL names the Python of an environment of
its own in which `pip install cafaeval==1.3.0` was done, and it is run there as a program. FOLDER is its own example, as
in src/cafaeval/data/example of its repository: one .obo, ground_truth.tsv, predictions/; without one, examples are
generated. Exit code 1 where a number differs in the sixth decimal.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from protea_ray.evaluate.ontology import Parents, ancestor_matrix, consistent, information_accretion
from protea_ray.evaluate.thresholds import ThresholdCounts, fmax, smin

VARIABLE = "PROTEA_RAY_CAFAEVAL"
METRICS = ("fmax", "fmax_with_root", "fmax_weighted", "smin")
GENERATED = 4  # examples
AGREE = 5e-7
# the program writes three decimals whatever it computes; this runs it with all of them
_ALL_DIGITS = """
import pandas, runpy
write = pandas.DataFrame.to_csv
pandas.DataFrame.to_csv = lambda frame, *args, **given: write(frame, *args, **{**given, "float_format": "%.17g"})
runpy.run_module("cafaeval", run_name="__main__")
"""


@dataclass(frozen=True)
class Example:
    """Terms `names`, their graph, `truth` and `scores` (proteins, terms) and `bits` (terms,); no column is a root."""

    names: tuple[str, ...]
    parents: Parents
    truth: np.ndarray
    scores: np.ndarray
    bits: np.ndarray


def generated(seed: int) -> Example:
    """An example drawn from `seed`: 40 proteins, 25 terms with up to three parents each, scores on and off thresholds.

    Some proteins have no prediction, and some terms no protein. Scores are consistent, and truth is propagated.
    """
    draw = np.random.default_rng(seed)
    names = tuple(f"GO:{number:07d}" for number in range(1, 26))
    parents: dict[str, tuple[str, ...]] = {"GO:0000000": ()}
    for place, name in enumerate(names):
        known = list(parents)[: place // 2 + 1]
        above = draw.choice(len(known), size=min(len(known), int(draw.integers(1, 4))), replace=False)
        parents[name] = tuple(known[number] for number in sorted(above.tolist()))
    ancestors = ancestor_matrix(names, parents)
    truth = _propagated(draw.random((40, 25)) < 0.08, ancestors)
    truth[~truth.any(axis=1), 0] = True
    raw = np.where(draw.random(truth.shape) < 0.5, draw.integers(0, 101, truth.shape) / 100, draw.random(truth.shape))
    raw = np.clip(raw * np.where(truth, 0.9, 0.3), 0, 0.99) * (draw.random(truth.shape) < 0.4)
    raw[:3] = 0
    annotations = _propagated(draw.random((60, 25)) < 0.06, ancestors)
    return Example(
        names, parents, truth, consistent(raw, ancestors), information_accretion(annotations, names, parents)
    )


def _propagated(leaves: np.ndarray, ancestors: np.ndarray) -> np.ndarray:
    return consistent(leaves.astype(np.float32), ancestors) > 0


def read_folder(folder: Path) -> Iterator[tuple[str, Example, np.ndarray]]:
    """Yield name, example and (proteins,) scores given to the root itself, for each file of predictions."""
    graph = _read_obo(next(folder.glob("*.obo")))
    names = tuple(sorted(t for t in graph if graph[t]))
    (root,) = (t for t in graph if not graph[t])
    ancestors = ancestor_matrix(names, graph)
    leaves = [line.split()[:2] for line in (folder / "ground_truth.tsv").read_text().splitlines() if line]
    proteins = sorted({protein for protein, _ in leaves})
    truth = _propagated(_matrix([[p, t, "1"] for p, t in leaves], proteins, names) > 0, ancestors)
    bits = information_accretion(truth, names, graph)
    for path in sorted((folder / "predictions").glob("*.tsv")):
        rows = [line.split()[:3] for line in path.read_text().splitlines() if line]
        scores = consistent(_matrix(rows, proteins, names), ancestors)
        yield path.name, Example(names, graph, truth, scores, bits), _matrix(rows, proteins, (root,))[:, 0]


def _matrix(rows: Sequence[Sequence[str]], proteins: Sequence[str], names: Sequence[str]) -> np.ndarray:
    row, column = ({name: number for number, name in enumerate(known)} for known in (proteins, names))
    found = np.zeros((len(proteins), len(names)))
    for protein, term, score in rows:
        if protein in row and term in column:
            place = row[protein], column[term]
            found[place] = max(found[place], float(score))
    return found


def _read_obo(path: Path) -> dict[str, tuple[str, ...]]:
    graph: dict[str, tuple[str, ...]] = {}
    for stanza in path.read_text().split("[Term]")[1:]:
        lines = [line.split() for line in stanza.split("\n[")[0].splitlines() if line]
        name = next(words[1] for words in lines if words[0] == "id:")
        above = [words[1] for words in lines if words[0] == "is_a:"]
        above += [words[2] for words in lines if words[:2] == ["relationship:", "part_of"]]
        if ["is_obsolete:", "true"] not in lines:
            graph[name] = tuple(above)
    return graph


def product_figures(example: Example, root_scores: np.ndarray | None = None) -> dict[str, float]:
    """METRICS of the product's functions. `root_scores` (proteins,) are what the root itself was given."""
    one, shape = np.ones((1, len(example.truth))), example.truth.shape
    everybody = np.ones(len(example.truth), bool)  # in the evaluator a protein without a term but the root counts too
    plain = replace(ThresholdCounts.of_scores(example.truth, example.scores), counts=everybody)
    above = example.scores.max(axis=1) if root_scores is None else np.maximum(example.scores.max(axis=1), root_scores)
    rooted = plain + ThresholdCounts.of_scores(everybody[:, None], above[:, None])
    weighed = ThresholdCounts.of_scores(example.truth, example.scores, np.broadcast_to(example.bits, shape))
    weighed = replace(weighed, counts=everybody)
    found = (fmax(plain, one), fmax(rooted, one), fmax(weighed, one), smin(weighed, rooted, one))
    return {name: float(value[0]) for name, value in zip(METRICS, found, strict=True)}


@dataclass(frozen=True)
class Files:
    """What cafaeval reads."""

    graph: Path
    predictions: Path
    truth: Path
    bits: Path


def cafa_figures(python: str, files: Files) -> dict[str, dict[str, float]]:
    """METRICS of cafaeval, which `python` runs on `files`, by the name of the file of predictions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for options, out in (([], "rooted"), (["-no_orphans"], "plain")):
            given = [str(path.absolute()) for path in (files.graph, files.predictions, files.truth)]
            given += ["-ia", str(files.bits.absolute()), "-out_dir", out, "-threads", "1", "-log_level", "error"]
            subprocess.run([python, "-c", _ALL_DIGITS, *given, *options], cwd=folder, check=True, timeout=300)
        rooted, plain = (_read_figures(folder / out) for out in ("rooted", "plain"))
    return {n: {"fmax": plain[n]["f"], "fmax_with_root": found["f"], "fmax_weighted": found["f_w"],
                "smin": found["s_w"]} for n, found in rooted.items()}  # fmt: skip


def _read_figures(folder: Path) -> dict[str, dict[str, float]]:
    with (folder / "evaluation_all.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found: dict[str, dict[str, float]] = {}
    for name in sorted({row["filename"] for row in rows}):
        mine = [row for row in rows if row["filename"] == name]
        best = {metric: max(float(row[metric]) for row in mine) for metric in ("f", "f_w")}
        found[name] = {**best, "s_w": min(float(row["s_w"]) for row in mine)}
    return found


def write_files(folder: Path, example: Example) -> Files:
    """Write an example as cafaeval reads it: graph.obo, truth.tsv, bits.tsv and predictions/one.tsv."""
    files = Files(folder / "graph.obo", folder / "predictions", folder / "truth.tsv", folder / "bits.tsv")
    stanzas = [f"[Term]\nid: {term}\nname: {term}\nnamespace: example\n" + "".join(f"is_a: {p}\n" for p in above)
               for term, above in example.parents.items()]  # fmt: skip
    files.graph.write_text("format-version: 1.2\n\n" + "\n".join(stanzas))
    files.truth.write_text("".join(f"T{row}\t{example.names[term]}\n" for row, term in np.argwhere(example.truth)))
    write_bits(files.bits, example)
    files.predictions.mkdir()
    scores = [f"T{row}\t{example.names[term]}\t{float(example.scores[row, term])!r}\n"
              for row, term in np.argwhere(example.scores > 0)]  # fmt: skip
    (files.predictions / "one.tsv").write_text("".join(scores))
    return files


def write_bits(path: Path, example: Example) -> None:
    """Write term and information accretion, a line each."""
    pairs = zip(example.names, example.bits.tolist(), strict=True)
    path.write_text("".join(f"{name}\t{value!r}\n" for name, value in pairs))


def compare_generated(python: str) -> bool:
    """Compare on drawn examples; whether all figures agree."""
    same: list[bool] = []
    for seed in range(GENERATED):
        with tempfile.TemporaryDirectory() as name:
            theirs = cafa_figures(python, write_files(Path(name), generated(seed)))["one.tsv"]
        same.append(compare(f"generated {seed}", product_figures(generated(seed)), theirs))
    return all(same)


def compare_folder(python: str, folder: Path) -> bool:
    """Compare on the evaluator's example, which it reads from its own files; whether all figures agree."""
    same: list[bool] = []
    with tempfile.TemporaryDirectory() as name:
        bits = Path(name) / "bits.tsv"
        write_bits(bits, next(example for _, example, _ in read_folder(folder)))
        files = Files(next(folder.glob("*.obo")), folder / "predictions", folder / "ground_truth.tsv", bits)
        theirs = cafa_figures(python, files)
    for name, example, root_scores in read_folder(folder):
        same.append(compare(name, product_figures(example, root_scores), theirs[name]))
    return all(same)


def compare(name: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Print both figures of each metric; whether they agree to six decimals."""
    agree = {metric: abs(ours[metric] - theirs[metric]) < AGREE for metric in METRICS}
    for metric, same in agree.items():
        print(f"{name:12} {metric:15} {ours[metric]:.8f} {theirs[metric]:.8f} {'equal' if same else 'DIFFERENT'}")
    return all(agree.values())


def main(arguments: Sequence[str]) -> int:
    """Compare on a folder, or on generated examples; returns the exit code."""
    python = os.environ.get(VARIABLE)
    if python is None:
        print(f"Set {VARIABLE} to a Python that has cafaeval 1.3.0.", file=sys.stderr)
        return 2
    if arguments and not any(Path(arguments[0]).glob("*.obo")):
        print(f"{arguments[0]} holds no .obo; name the folder that src/cafaeval/data/example is.", file=sys.stderr)
        return 2
    print("example      metric          product    cafaeval")
    agree = compare_folder(python, Path(arguments[0])) if arguments else compare_generated(python)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
