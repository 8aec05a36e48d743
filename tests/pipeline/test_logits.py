"""Per-residue logits through the whole pipeline, against the masked-LM models of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EsmcForMaskedLM, EsmForMaskedLM

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import ConfigError, StoreError
from protea_ray.models.checkpoint import logit_tokens, open_checkpoint
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.query.reader import Store, open_store
from protea_ray.store.location import open_location
from protea_ray.store.verify import verify
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests import commands
from tests.encoder.conftest import proteins
from tests.encoder.reference import Reference

MODELS: dict[str, Any] = {"esm2": EsmForMaskedLM, "esmc": EsmcForMaskedLM}
TOLERANCE = 1e-5  # of the largest logit, which is about 10
BOTH = ["embeddings", "logits"]
CUT = {"max_residues": 100, "window_overlap": 30, "store_dtype": "float32"}
LENGTHS = (1, 40, 250)
WINDOWS = {1: [(0, 1)], 40: [(0, 40)], 250: [(0, 85), (55, 140), (110, 195), (165, 250)]}
RECIPES: list[dict[str, Any]] = [
    {"outputs": BOTH, "layers": [1], "pooling": ["mean", "none"]},
    {"outputs": BOTH, "chunk_size": 80, "chunk_overlap": 20, "chunk_mode": "posthoc"},
    {},
]


class Lm(Reference):
    """The reference whose only state is the logits."""

    def __init__(self, family: str, directory: Path) -> None:
        super().__init__(family, directory)
        self.lm = MODELS[family].from_pretrained(directory).eval()

    def states(self, letters: str) -> torch.Tensor:
        with torch.inference_mode():
            return self.lm(torch.tensor([self.ids(letters)])).logits


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    path.write_text("".join(f">P{len(s)}\n{s}\n" for s in proteins(*LENGTHS)))
    return path


Made = tuple[Path, Store, list[str]]


@pytest.fixture(scope="module", params=["esm2", pytest.param("esmc", marks=pytest.mark.slow)])
def made(request: pytest.FixtureRequest, cluster: None, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Checkpoint, store and spaces of one run."""
    root = tmp_path_factory.mktemp(request.param)
    fields = {"model": str(build(request.param, root / request.param)), **CUT, "recipes": RECIPES}
    config = run_config({**fields, "run": {"actors": 1}})
    summary = embed([str(fasta)], str(root / "s"), config, LineReporter())
    return root / request.param, open_store(root / "s"), [c.space for c in summary.spaces]


def test_logits_are_stitched_as_residues_are(made: Made, record_property: Callable[[str, object], None]) -> None:
    model, store, spaces = made
    reference = Lm(model.name, model)
    largest = 0.0
    for letters in proteins(*LENGTHS):
        (expected,) = reference.stitched(letters, WINDOWS[len(letters)])
        found = store.logits(f"P{len(letters)}", space=spaces[0])
        assert found.shape == expected.shape
        largest = max(largest, float(np.abs(found[:] - expected).max() / np.abs(expected).max()))
    record_property(f"largest error of {model.name}", largest)
    assert largest < TOLERANCE


def test_logits_keep_to_the_spans_of_chunks(made: Made) -> None:
    _, store, spaces = made
    whole = store.logits("P250", space=spaces[0])[:]
    for number, (start, end) in enumerate([(0, 80), (60, 140), (120, 200), (180, 250), (240, 250)]):
        chunk = store.logits("P250", chunk=number, space=spaces[1])
        assert (chunk.start, chunk.shape) == (start, (end - start, whole.shape[1]))
        assert np.array_equal(chunk[5:9], whole[start + 5 : start + 9])


def test_a_reader_knows_what_the_columns_are(made: Made) -> None:
    model, store, spaces = made
    tokens = store.logits("P40", space=spaces[0]).tokens
    assert tokens is not None
    assert len(tokens) == {"esm2": 33, "esmc": 64}[model.name]
    assert [tokens[i] for i in Reference(model.name, model).ids("MKX")] == ["<cls>", "M", "K", "X", "<eos>"]
    assert set(tokens[33:]) <= {""}


def test_embeddings_do_not_change_and_logits_name_another_space(made: Made) -> None:
    _, store, spaces = made
    assert len(set(spaces)) == 3
    alone = store.get("P250", space=spaces[2])["mean"].to_pylist()
    assert alone != store.get("P250", space=spaces[0])["mean"].to_pylist()  # another layer
    assert store.view(spaces[2]).info.identity["config"].get("outputs") is None
    with pytest.raises(StoreError, match=r"keeps no logits; embed with --outputs embeddings,logits"):
        store.logits("P250", space=spaces[2])
    with pytest.raises(ConfigError, match=r"\.logits\(id\)"):
        store.to_arrow(columns=["logits"], space=spaces[0])


def test_status_counts_them(made: Made) -> None:
    _, store, spaces = made
    found = {s.name: s.tokens for s in store.status().spaces}
    assert [found[space] is None for space in spaces] == [False, False, True]


def test_a_flipped_bit_in_logits_is_found(made: Made) -> None:
    _, store, spaces = made
    location = open_location(store.uri)
    assert not [f for f in verify(location, spaces[0]).findings if f.table == spaces[0]]
    raw = store.logits("P250", space=spaces[0])[:].tobytes()
    files = [p for p in (Path(store.uri) / f"{spaces[0]}.lance").rglob("*") if p.is_file() and raw in p.read_bytes()]
    (file,) = files
    content = bytearray(file.read_bytes())
    content[content.index(raw) + 1000] ^= 1
    file.write_bytes(content)

    assert [(f.kind, f.count) for f in verify(location, spaces[0]).damage] == [("checksum", 1)]


@pytest.mark.usefixtures("cluster")
def test_a_dry_run_counts_their_bytes(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    sizes = []
    for outputs in (BOTH, BOTH[:1]):
        config = run_config({"model": str(esm2), **CUT, "outputs": outputs, "chunk_size": 80, "chunk_overlap": 20})
        (space,) = dry_run([str(fasta)], str(tmp_path / "s"), config, LineReporter()).spaces
        sizes.append(space.bytes)
    stored = 1 + 40 + 80 + 80 + 80 + 70 + 10  # residues of all spans

    assert sizes[0] - sizes[1] == stored * 33 * 4


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_are_known_from_headers_alone(family: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(build(family, tmp_path)))
    assert checkpoint.facts.has_lm_head == (family in MODELS)
    tokens = logit_tokens(checkpoint)
    assert len(tokens) == checkpoint.shape.vocabulary


def test_a_checkpoint_without_a_head_is_refused_before_anything_is_written(
    cluster: None, fasta: Path, tmp_path: Path
) -> None:
    model = build("t5", tmp_path / "t5")
    done = commands.call("embed", fasta, tmp_path / "s", "--model", model, "--outputs", "embeddings,logits")
    alone = commands.call("embed", fasta, tmp_path / "s", "--model", model, "--outputs", "logits")

    assert (done.returncode, alone.returncode) == (2, 2)
    assert "no language-model head" in done.stderr
    assert "use embeddings or embeddings,logits" in alone.stderr
    assert not (tmp_path / "s").exists()
