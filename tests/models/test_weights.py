"""Every kind of weights that must not be used is refused, each in its own words, and sound ones are named."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from protea_ray.errors import CheckpointError
from protea_ray.models.weights import check_weights, verify_digests
from tests.models.conftest import tensors, write


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(directory: Path, *words: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_weights(directory)
    message = str(caught.value)
    assert str(directory) in message
    for word in words:
        assert word in message
    return message


def shards(directory: Path, parts: int = 2) -> Path:
    """The same weights in several files under an index."""
    held = load_file(write(directory) / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(held)
    placed = {name: f"model-{i % parts + 1:05d}-of-{parts:05d}.safetensors" for i, name in enumerate(names)}
    for shard in set(placed.values()):
        save_file({n: held[n] for n in names if placed[n] == shard}, directory / shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return directory


def test_digest_of_a_single_file_is_its_sha256(checkpoint: Path):
    file = checkpoint / "model.safetensors"
    assert check_weights(checkpoint) == {"model.safetensors": sha256(file)}


def test_digests_of_shards_are_their_sha256(tmp_path: Path):
    directory = shards(tmp_path / "sharded", parts=3)
    expected = {path.name: sha256(path) for path in directory.glob("*.safetensors")}
    assert len(expected) == 3
    assert check_weights(directory) == expected


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "<i1", "<u1", "?"])
def test_tensors_of_every_plain_dtype_may_be_there(tmp_path: Path, dtype: str):
    """Weights, and the buffers beside them: positions, masks, counts."""
    save_file({"a": np.ones((3, 5), dtype), "b": np.ones(2, "<f4")}, tmp_path / "model.safetensors")
    assert check_weights(tmp_path) == {"model.safetensors": sha256(tmp_path / "model.safetensors")}


def test_a_file_larger_than_a_chunk_is_hashed_whole(tmp_path: Path):
    held = {"a": np.ones((1 << 20) + 3, "<f4"), "b": np.ones(5, "<f2"), "c": np.arange(3, dtype="<i8")}
    save_file(held, tmp_path / "model.safetensors")
    assert check_weights(tmp_path) == {"model.safetensors": sha256(tmp_path / "model.safetensors")}


def test_files_that_are_not_loaded_do_not_count(checkpoint: Path):
    before = check_weights(checkpoint)
    save_file({"x": np.full(3, np.nan, "<f4")}, checkpoint / "other.safetensors")
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert check_weights(checkpoint) == before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "esmc.pth", "last.ckpt"])
def test_pickles_only(checkpoint: Path, name: str):
    (checkpoint / "model.safetensors").rename(checkpoint / name)
    refused(checkpoint, "pickle", name, "save_pretrained")


def test_no_weights_at_all(checkpoint: Path):
    (checkpoint / "model.safetensors").unlink()
    assert "pickle" not in refused(checkpoint, "no weights")


def test_weights_under_another_name(checkpoint: Path):
    (checkpoint / "model.safetensors").rename(checkpoint / "weights.safetensors")
    refused(checkpoint, "weights.safetensors", "rename")


@pytest.mark.parametrize("lost", [1, 4, 1000])
def test_truncated(checkpoint: Path, lost: int):
    file = checkpoint / "model.safetensors"
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.truncate(size - lost)
    refused(checkpoint, "truncated", str(size), str(size - lost))


def test_bytes_after_the_last_tensor(checkpoint: Path):
    with (checkpoint / "model.safetensors").open("ab") as handle:
        handle.write(b"tail")
    refused(checkpoint, "4 bytes follow")


GARBAGE = {
    "empty": b"",
    "short": b"abc",
    "pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "no JSON": struct.pack("<Q", 8) + b"not json" + bytes(64),
    "no mapping": struct.pack("<Q", 2) + b"[]" + bytes(64),
    "no offsets": struct.pack("<Q", 23) + b'{"a":{"dtype":"F32"}}  ' + bytes(64),
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_not_a_safetensors_file(checkpoint: Path, content: bytes):
    (checkpoint / "model.safetensors").write_bytes(content)
    refused(checkpoint, "not a safetensors file")


def header_only(directory: Path, entries: dict) -> Path:
    text = json.dumps(entries).encode()
    body = struct.pack("<Q", len(text)) + text + bytes(64)
    (directory / "model.safetensors").write_bytes(body)
    return directory


@pytest.mark.parametrize("offsets", [[0, 60], [4, 68], [64, 0], [-64, 0]])
def test_offsets_that_do_not_fit_the_shape(tmp_path: Path, offsets: list[int]):
    entries = {"a": {"dtype": "F32", "shape": [4, 4], "data_offsets": offsets}}
    refused(header_only(tmp_path, entries), "do not fit its shape")


def test_quantised_dtypes_are_named(tmp_path: Path):
    entries = {"a": {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]}}
    refused(header_only(tmp_path, entries), "F8_E4M3", "unquantised")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<f8"])
def test_a_value_that_is_not_finite(tmp_path: Path, value: float, dtype: str):
    held = {name: tensor.astype(dtype) for name, tensor in tensors().items()}
    held["encoder.layer.1.output.dense.weight"][-1, -1] = value
    refused(write(tmp_path / "bad", held), "encoder.layer.1.output.dense.weight", "NaN")


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0, 0x7F81])
def test_a_bfloat16_value_that_is_not_finite(tmp_path: Path, bits: int):
    values = np.array([0x3F80, 0x7F7F, 0xFF7F, 0x0001], "<u2")  # one, both extremes, the smallest
    entries = {"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}
    text = json.dumps(entries).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())
    assert check_weights(tmp_path) == {file.name: sha256(file)}
    values[2] = bits
    file.write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())
    with pytest.raises(CheckpointError, match="tensor a holds NaN"):
        check_weights(tmp_path)


def test_a_shard_that_is_missing(tmp_path: Path):
    directory = shards(tmp_path / "sharded")
    (directory / "model-00002-of-00002.safetensors").unlink()
    refused(directory, "1 of 2 shards", "model-00002-of-00002.safetensors")


def test_shards_of_two_versions(tmp_path: Path):
    directory = shards(tmp_path / "sharded")
    (directory / "model-00002-of-00002.safetensors").unlink()
    save_file({"x": np.ones(2, "<f4")}, directory / "model-00002-of-00002.safetensors")
    refused(directory, "are not in their shards")


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "model.bin"])
def test_an_index_that_points_elsewhere(tmp_path: Path, shard: str):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    refused(tmp_path, "not a safetensors file beside it")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none(tmp_path: Path, text: str):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    refused(tmp_path, "is not an index")


def test_one_flipped_bit(checkpoint: Path):
    recorded = check_weights(checkpoint) | {"config": "0" * 64, "vocabulary": "0" * 64}
    verify_digests(checkpoint, recorded)
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    check_weights(checkpoint)  # nothing else can see it
    with pytest.raises(CheckpointError, match="not those that were recorded") as caught:
        verify_digests(checkpoint, recorded)
    assert recorded["model.safetensors"][:16] in str(caught.value)
    assert sha256(file)[:16] in str(caught.value)


def test_a_file_more_or_fewer_than_recorded(checkpoint: Path):
    recorded = check_weights(checkpoint)
    with pytest.raises(CheckpointError, match=r"extra\.safetensors: recorded abc, found nothing"):
        verify_digests(checkpoint, recorded | {"extra.safetensors": "abc"})
    with pytest.raises(CheckpointError, match="recorded nothing"):
        verify_digests(checkpoint, {})
