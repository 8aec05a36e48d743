"""Blocks of residues: stored matrices at a pin, controls, and what cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.errors import ConfigError, StoreError
from protea_ray.evaluate import letters, residue_reading
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.residue_reading import Block, blocks, matrices_of
from protea_ray.evaluate.task import Task
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.evaluate.chains import chain_task, control, states, subject
from tests.store import build


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return build.store(tmp_path_factory.mktemp("chains") / "s", range(60), per_unit=7, with_residues=True)


def read(task: Task, given: Input, location: Location, chains: Iterable[int]) -> list[Block]:
    matrices, width = matrices_of(task, given, location.uri)
    with ThreadPoolExecutor(1) as ahead:
        return list(blocks(task, np.array(list(chains)), matrices, width, ahead))


def same(left: list[Block], right: list[Block]) -> bool:
    assert len(left) == len(right)
    return all(
        (a.chains == b.chains).all() and (np.concatenate(a.rows) == np.concatenate(b.rows)).all()
        for a, b in zip(left, right, strict=True)
    )


def test_blocks_hold_the_resolved_residues_of_each_chain_in_the_order_asked_for(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residue_reading, "BLOCK_BYTES", 200 * build.WIDTH * 4)
    task, asked = chain_task(), np.random.default_rng(0).permutation(60)
    found = read(task, subject(location), location, asked)
    assert len(found) > 5
    assert np.concatenate([b.chains for b in found]).tolist() == asked.tolist()
    assert max(sum(map(len, b.rows)) for b in found) <= 200 + 59
    rows = [row for b in found for row in b.rows]
    for chain, row in zip(asked.tolist(), rows, strict=True):
        number = int(task.ids[chain][1:])
        assert (row == build.residues(number)[states(number) >= 0]).all()
    wanted = [states(int(task.ids[c][1:])) for c in asked]
    assert np.concatenate([b.states for b in found]).tolist() == [s for own in wanted for s in own if s >= 0]


def test_blocks_are_the_same_whatever_the_order_of_the_stores_rows(location: Location, tmp_path: Path) -> None:
    turned = build.store(tmp_path / "s", range(59, -1, -1), per_unit=60, with_residues=True)
    task, asked = chain_task(), [5, 2, 40, 11]
    assert same(read(task, subject(location), location, asked), read(task, subject(turned), turned, asked))


def test_what_is_read_is_of_the_pin(tmp_path: Path) -> None:
    grown = build.store(tmp_path / "s", range(30), with_residues=True)
    before = subject(grown)
    build.ingest(grown, build.proteins(range(30, 40), "b.fasta#1"), "b.fasta#1", "d2")
    build.fill(grown, before.space, range(30, 40), "r2.0", build.schema(build.WIDTH), with_residues=True)
    with pytest.raises(StoreError, match=r"10 of 40 chains of chains \(P000"):
        matrices_of(chain_task(range(40)), before, grown.uri)
    assert len(read(chain_task(range(40)), subject(grown), grown, range(40))) == 1


def test_a_space_without_residues_says_how_to_get_them(tmp_path: Path) -> None:
    pooled = build.store(tmp_path / "s", range(10))
    with pytest.raises(ConfigError, match="--pooling mean,none"):
        matrices_of(chain_task(range(10)), subject(pooled), pooled.uri)


def test_chunks_and_files_of_vectors_are_refused(location: Location, tmp_path: Path) -> None:
    chunked = build.store(tmp_path / "s", range(10), with_residues=True)
    config = {**build.info().config, "chunk_size": 20}
    ensure_space(chunked, build.info("esm2-00000002", config=config), build.schema(build.WIDTH))
    with pytest.raises(ConfigError, match="esm2-00000002 stores chunks"):
        matrices_of(chain_task(range(10)), subject(chunked, "esm2-00000002"), chunked.uri)
    file = Input("v.h5", 8, space="/data/v.h5", source="ab")
    with pytest.raises(ConfigError, match=r"/data/v.h5 holds vectors of whole proteins"):
        matrices_of(chain_task(), file, location.uri)


def test_a_chain_whose_row_is_of_fewer_residues_is_named(location: Location) -> None:
    task = chain_task()
    longer = replace(task, sequences=(task.sequences[0] + "A", *task.sequences[1:]))
    with pytest.raises(StoreError, match=f"1 of 60 chains of chains \\({task.ids[0]}"):
        matrices_of(longer, subject(location), location.uri)


def test_a_matrix_of_too_few_bytes_is_named(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lance.LanceDataset.read_blobs
    cut = lambda *given, **named: [(at, raw[:-4]) for at, raw in whole(*given, **named)]  # noqa: E731
    monkeypatch.setattr(lance.LanceDataset, "read_blobs", cut)
    task = chain_task()
    matrices, _ = matrices_of(task, subject(location), location.uri)
    wanted = len(task.sequences[4]) * build.WIDTH * 4
    with pytest.raises(StoreError, match=rf"{task.ids[4]} has {wanted - 4:,} bytes, {wanted:,} are wanted"):
        matrices(np.array([4]))


def test_letters_and_windows_against_loops() -> None:
    sequence = build.sequence(3) + "X"
    one, window = letters.letter_rows(sequence), letters.window_rows(sequence)
    assert one.shape == (len(sequence), 40)
    assert window.shape == (len(sequence), 300)
    for at, letter in enumerate(sequence):
        assert one[at, :20].tolist() == [float(letter == a) for a in letters.AMINO_ACIDS]
        assert one[at, 20:].tolist() == pytest.approx([sequence.count(a) / len(sequence) for a in letters.AMINO_ACIDS])
        for slot, place in enumerate(range(at - 7, at + 8)):
            there = sequence[place] if 0 <= place < len(sequence) else ""
            wanted = [float(there == a) for a in letters.AMINO_ACIDS]
            assert window[at, 20 * slot : 20 * slot + 20].tolist() == wanted


def test_random_rows_follow_from_the_key_alone(location: Location) -> None:
    task = chain_task()
    whole = read(task, control("random", 33), location, range(60))
    alone = read(chain_task(range(20, 30)), control("random", 33), location, range(10))
    at = [task.keys.index(key) for key in chain_task(range(20, 30)).keys]
    assert all((whole[0].rows[i] == row).all() for i, row in zip(at, alone[0].rows, strict=True))
    values = np.concatenate(whole[0].rows)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert len(np.unique(values.round(5))) > 0.9 * values.size


def test_each_control_has_its_own_width(location: Location) -> None:
    widths = [
        matrices_of(chain_task(), control(name, 33), location.uri)[1] for name in ("random", "composition", "window")
    ]
    assert widths == [33, 40, 300]
