"""Rows 10 and 11: bytes that change on disk, in a space and in the weights."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from protea_ray.errors import CheckpointError
from protea_ray.models.weights import check_weights, verify_digests
from protea_ray.store.location import open_location
from protea_ray.store.repair import repair
from protea_ray.store.verify import verify
from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head

FLIPS, CUTS = 12, 3


@pytest.mark.chaos
@pytest.mark.row(10)
def test_damage_in_a_space_is_named_and_mended(head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Each file is damaged in one place: a bit flipped anywhere in it, or its end cut off."""
    store, chosen = tmp_path / "store", random.Random(10)
    shutil.copytree(reference, store)
    files = data_files(stores.space(store))
    damaged = chosen.sample(sorted(files), FLIPS + CUTS)
    with ledger.row(10, f"{FLIPS} data files with a flipped bit, {CUTS} cut short") as row:
        lasting = {name for name in damaged[:FLIPS] if flip(store, reference, name, chosen)} | set(damaged[FLIPS:])
        for name in damaged[FLIPS:]:
            path = stores.space(store) / "data" / name
            path.write_bytes(path.read_bytes()[: -chosen.randrange(1, path.stat().st_size)])
        location = open_location(store)
        report = verify(location)
        fragments = {f.fragment for f in report.damage}
        units = {f.unit for f in report.damage}
        for name in lasting:
            unit, fragment = files[name]
            assert unit in units or fragment in fragments, f"{name}: {report.findings}"
        assert not repair(location).left
        assert lance.dataset(str(stores.space(store))).count_rows() < len(stores.vectors(reference))
        summary = head.embed(store)
        row.times, row.expected, row.redone = len(damaged), len(stores.vectors(reference)), summary["stored"]
        row.found = runs.assert_same(store, reference)
        assert verify(location).ok
        harmless = len(damaged) - len(lasting)
        row.notes.append(f"{harmless} flips hit bytes that hold no data")


def data_files(table: Path) -> dict[str, tuple[str, int]]:
    """Unit and fragment of every data file."""
    found = {}
    for fragment in lance.dataset(str(table)).get_fragments():
        unit = fragment.to_table(columns=["unit"])["unit"][0].as_py()
        found[Path(fragment.data_files()[0].path).name] = (unit, fragment.fragment_id)
    return found


def flip(store: Path, reference: Path, name: str, chosen: random.Random) -> bool:
    """Flip one bit; whether anything that is read changes by it, found by reading with lance alone."""
    path = stores.space(store) / "data" / name
    raw = bytearray(path.read_bytes())
    raw[chosen.randrange(len(raw))] ^= 1 << chosen.randrange(8)
    path.write_bytes(raw)
    same = [f for f in lance.dataset(str(stores.space(reference))).get_fragments() if holds(f, name)]
    ours = [f for f in lance.dataset(str(stores.space(store))).get_fragments() if holds(f, name)]
    try:
        return not ours[0].to_table().equals(same[0].to_table())
    except BaseException as error:  # Lance panics on some damage, and a panic is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return True


def holds(fragment: lance.LanceFragment, name: str) -> bool:
    return Path(fragment.data_files()[0].path).name == name


def truncated(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def nan(model: Path) -> None:
    change(model, lambda matrix: np.full_like(matrix, np.nan))


def infinite(model: Path) -> None:
    change(model, lambda matrix: np.where(np.arange(matrix.size).reshape(matrix.shape) == 7, np.inf, matrix))


def wrong_shape(model: Path) -> None:
    """The configuration of a larger model: transformers would fill the rest with random numbers."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))


def wrong_architecture(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def change(model: Path, by: Callable[[np.ndarray], np.ndarray]) -> None:
    tensors = load_file(model / "model.safetensors")
    name = next(n for n in tensors if n.endswith("query.weight"))
    save_file({**tensors, name: by(tensors[name]).astype(np.float32)}, model / "model.safetensors")


SAID = {
    truncated: "truncated|garbled|shorter|cut",
    nan: "NaN or inf",
    infinite: "NaN or inf",
    wrong_shape: "layer",
    wrong_architecture: "model_type 'bert'",
    pickled: "pickle",
}


@pytest.mark.chaos
@pytest.mark.chaos_short
@pytest.mark.row(11)
@pytest.mark.parametrize("damage", SAID, ids=lambda damage: damage.__name__)
def test_damaged_weights_are_refused_before_anything_starts(
    damage: Callable[[Path], None], bench: Bench, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the driver alone: without a cluster to start, so no actor can have loaded them."""
    from protea_ray.cluster.progress import LineReporter
    from protea_ray.config.run import run_config
    from protea_ray.pipeline import embed as embedding
    from protea_ray.pipeline.embed import embed

    model, store = tmp_path / "model", tmp_path / "store"
    shutil.copytree(bench.model, model)
    damage(model)
    started: list[object] = []
    monkeypatch.setattr(embedding, "connect", started.append)
    with ledger.row(11, f"weights: {damage.__name__.replace('_', ' ')}") as row:
        with pytest.raises(CheckpointError, match=SAID[damage]):
            embed([str(bench.proteins)], str(store), run_config({"model": str(model)}), LineReporter())
        row.times = 1
    assert not started
    assert not store.exists()


@pytest.mark.chaos
@pytest.mark.chaos_short
@pytest.mark.row(11)
def test_one_flipped_bit_is_not_the_recorded_digest(bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """Anywhere in the tensors. It makes no NaN, so nothing but the digest can tell."""
    recorded = check_weights(bench.model)
    chosen = random.Random(0)
    with ledger.row(11, "one flipped bit against the recorded digest") as row:
        for number in range(20):
            model = tmp_path / str(number)
            shutil.copytree(bench.model, model)
            change(model, lambda matrix: bit_flipped(matrix, chosen))
            with pytest.raises(CheckpointError, match="not those that were recorded"):
                verify_digests(model, recorded)
            row.times += 1


def bit_flipped(matrix: np.ndarray, chosen: random.Random) -> np.ndarray:
    """One bit of one mantissa."""
    bits = matrix.astype(np.float32).view(np.uint32).copy()
    bits.flat[chosen.randrange(bits.size)] ^= 1 << chosen.randrange(23)
    return bits.view(np.float32)
