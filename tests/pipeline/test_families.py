"""Every family through the whole pipeline: actors, packs, fragments, tables, against transformers alone.

Eight recipes share one run; the proteins have 1 to 1,500 residues and every letter. The reference sees one protein
at a time and stitches windows that are written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.embed import embed
from protea_ray.query.reader import open_store
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.encoder.conftest import ALL_LETTERS, proteins
from tests.encoder.reference import Reference, aggregate, pool, unit

pytestmark = pytest.mark.usefixtures("cluster")

TOLERANCE = 1e-5
LENGTHS = (1, 2, 3, 17, 129, 200, 201, 350, 511, 1022, 1500)
CHUNKS = {"chunk_size": 200, "chunk_overlap": 50}
RECIPES: list[dict[str, Any]] = [
    {"pooling": ["mean", "max", "mean_max", "std"]},
    {"layers": [0, 1, 2], "pooling": ["mean", "none"]},
    {"layers": [0, 1, 2], "layer_agg": "concat", "pooling": ["mean", "std"], "normalize": False},
    {"layers": [1, 3], "layer_agg": "last", "pooling": ["max", "none"], "normalize_residues": True},
    {"layers": [0, 3], "layer_agg": "concat", "pooling": ["mean_max", "none"], "normalize_residues": True},
    {**CHUNKS, "pooling": ["mean", "max", "none"]},
    {**CHUNKS, "chunk_mode": "posthoc", "layers": [0, 1], "pooling": ["mean", "std", "none"], "normalize": False},
]
CLS: dict[str, Any] = {"layers": [0, 2], "pooling": ["cls"]}
# what a family is run with, and the windows of the proteins that are longer: balanced, sharing at least 256 residues
LIMITS: dict[str, dict[str, Any]] = {"prostt5": {"max_residues": 600}}
WINDOWS = {
    ("esm2", 1500): [(0, 878), (622, 1500)],
    ("prostt5", 1022): [(0, 512), (255, 767), (510, 1022)],
    ("prostt5", 1500): [(0, 567), (311, 878), (622, 1189), (933, 1500)],
}


class Expected:
    """What a protein must give, from plain transformers."""

    def __init__(self, family: str, directory: Path, letters: str) -> None:
        self.plain = Reference(family, directory)
        self.letters = letters
        self.windows = WINDOWS.get((family, len(letters)), [(0, len(letters))])
        self.states = self.plain.stitched(letters, self.windows)

    def rows(self, recipe: dict[str, Any], span: tuple[int, int]) -> np.ndarray:
        """The residue matrix of one stored row."""
        start, end = span
        alone = "chunk_size" in recipe and recipe.get("chunk_mode") != "posthoc"
        states = self.plain.residues(self.letters[start:end]) if alone else self.states[:, start:end]
        rows = aggregate(states, recipe.get("layers", [0]), recipe.get("layer_agg", "mean"))
        return unit(rows) if recipe.get("normalize_residues") else rows

    def vector(self, recipe: dict[str, Any], span: tuple[int, int], pooling: str) -> np.ndarray:
        """One pooled vector of one stored row."""
        if pooling == "cls":
            first = self.plain.states(self.letters[slice(*self.windows[0])]).numpy()[:, :1]
            vector = aggregate(first, recipe["layers"], "mean")[0]
        else:
            vector = pool(self.rows(recipe, span), pooling)
        return unit(vector) if recipe.get("normalize", True) else vector

    def facts(self, recipe: dict[str, Any]) -> tuple[list[tuple[int, int]], int, int, bool]:
        """Spans, residues seen, windows, truncated."""
        length, seen = len(self.letters), self.windows[0][1]
        if recipe["pooling"] == ["cls"]:
            return [self.windows[0]], seen, 1, seen < length
        if "chunk_size" not in recipe:
            return [(0, length)], length, len(self.windows), False
        spans = [(start, min(start + 200, length)) for start in range(0, length, 150)]
        posthoc = recipe.get("chunk_mode") == "posthoc"
        return spans, length, len(self.windows) if posthoc else len(spans), False


def recipes_of(family: str) -> list[dict[str, Any]]:
    return [*RECIPES, CLS] if family in ("esm2", "esmc") else RECIPES


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    letters = [*proteins(*LENGTHS), ALL_LETTERS]
    path.write_text("".join(f">P{len(s)}\n{s}\n" for s in letters))
    return path


@pytest.fixture(scope="module")
def made(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, list[str]]]:
    """Checkpoint, store and spaces of one family's run."""

    def run(family: str) -> tuple[Path, Path, list[str]]:
        root = tmp_path_factory.mktemp(family)
        model = build(family, root / "model")
        fields = {"model": str(model), "store_dtype": "float32", "recipes": recipes_of(family)}
        options = {"unit_seconds": 0.02, "token_budget": 700, "actors": 2 if family == "esm2" else 1}
        config = run_config({**fields, **LIMITS.get(family, {}), "run": options})
        summary = embed([str(fasta)], str(root / "store"), config, LineReporter())
        assert [(c.stored, c.rejected) for c in summary.spaces] == [(len(LENGTHS) + 1, 0)] * len(recipes_of(family))
        return model, root / "store", [c.space for c in summary.spaces]

    return run


def stored(store: Path, space: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by id, in the order of the protein, read with lance alone; residue matrices are left where they are."""
    rows = lance.dataset(str(store / f"{space}.lance"))
    names = [name for name in rows.schema.names if name != "residues"]
    keys = lance.dataset(str(store / "proteins.lance")).to_table(columns=["id", "key"]).to_pylist()
    ids = {row["key"]: row["id"] for row in keys}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_table(columns=names).sort_by("chunk_start").to_pylist():
        found.setdefault(ids[row["key"]], []).append(row)
    return found


def errors(store: Path, space: str, recipe: dict[str, Any], wanted: dict[str, Expected]) -> Iterator[float]:
    """Largest error of every vector and matrix of a space; asserts the facts beside them."""
    found = stored(store, space)
    assert found.keys() == wanted.keys()
    for id, expected in wanted.items():
        spans, seen, windows, truncated = expected.facts(recipe)
        facts = (len(expected.letters), seen, windows, truncated)
        assert [(r["chunk_start"], r["chunk_end"]) for r in found[id]] == spans
        for number, (span, row) in enumerate(zip(spans, found[id], strict=True)):
            assert (row["n_residues"], row["n_residues_seen"], row["n_windows"], row["truncated"]) == facts
            for pooling in recipe["pooling"]:
                if pooling == "none":
                    value, right = residues(store, space, id, number), expected.rows(recipe, span)
                else:
                    value, right = np.array(row[pooling], np.float32), expected.vector(recipe, span, pooling)
                assert value.shape == right.shape
                yield float(np.abs(value - right).max())


def residues(store: Path, space: str, id: str, chunk: int) -> np.ndarray:
    return open_store(store).residues(id, chunk=chunk, space=space)[:]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_of_one_run_equals_plain_transformers(
    family: str, fasta: Path, made: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    model, store, spaces = made(family)
    records = fasta.read_text().split()
    wanted = {h[1:]: Expected(family, model, s) for h, s in zip(records[::2], records[1::2], strict=True)}
    largest = 0.0
    for space, recipe in zip(spaces, recipes_of(family), strict=True):
        worst = max(errors(store, space, recipe, wanted))
        assert worst < TOLERANCE, recipe
        largest = max(largest, worst)
    record_property(f"largest error of {family}", largest)
