"""embed_dataset: FastESM's call, checked against transformers run on one protein at a time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import CheckpointError, ConfigError, EncoderError, InputError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.testing.random_checkpoint import build

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIVEQCC", "M", "FVNQHLCGSHLVEALYLVCGERGFFYTPKTXBUZO"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("esm2", tmp_path_factory.mktemp("tiny") / "esm2")


def states(directory: Path, sequence: str, layer: int = -1) -> np.ndarray:
    """Residue states of transformers' own module, (residues, width)."""
    import torch
    from transformers import EsmModel, EsmTokenizer

    model = EsmModel.from_pretrained(directory, add_pooling_layer=False, attn_implementation="eager").eval()
    ids = EsmTokenizer.from_pretrained(directory)(sequence, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids, output_hidden_states=True).hidden_states[layer][0, 1:-1].numpy()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_poolings_end_to_end_in_the_order_given(tiny: Path):
    found = embed_dataset(SEQUENCES, model=tiny, pooling_types=["std", "mean", "max"])
    assert list(found) == SEQUENCES
    for sequence, vector in found.items():
        expected = states(tiny, sequence)
        close(vector, np.concatenate([expected.std(axis=0), expected.mean(axis=0), expected.max(axis=0)]))


def test_one_row_for_each_residue(tiny: Path):
    found = embed_dataset(SEQUENCES, model=str(tiny), full_embeddings=True)
    for sequence, matrix in found.items():
        assert matrix.shape == (len(sequence), 32)
        close(matrix, states(tiny, sequence))


def test_any_field_of_a_recipe(tiny: Path):
    (vector,) = embed_dataset([SEQUENCES[0]], model=tiny, layers=[1], normalize=True).values()
    expected = states(tiny, SEQUENCES[0], layer=-2).mean(axis=0)
    close(vector, expected / np.linalg.norm(expected))


def test_keys_are_the_sequences_as_given(tiny: Path):
    given = ["gived", "GIVED", "G IV\nED*", "GIVED"]
    found = embed_dataset(given, model=tiny)
    assert list(found) == ["gived", "GIVED", "G IV\nED*"]
    for vector in found.values():
        close(vector, states(tiny, "GIVED").mean(axis=0))


def test_max_len_cuts_residues(tiny: Path):
    (matrix,) = embed_dataset([SEQUENCES[0]], model=tiny, max_len=5, full_embeddings=True).values()
    close(matrix, states(tiny, SEQUENCES[0][:5]))


def test_max_len_may_be_past_the_trained_length(tiny: Path):
    long = "MKTAYIAKQR" * 120
    (matrix,) = embed_dataset([long], model=tiny, max_len=2000, full_embeddings=True).values()
    close(matrix, states(tiny, long))


def test_without_max_len_nothing_is_cut(tiny: Path):
    (matrix,) = embed_dataset(["MKTAYIAKQR" * 120], model=tiny, full_embeddings=True).values()
    assert matrix.shape == (1200, 32)


def test_too_long_is_an_error_where_cutting_is_not_allowed(tiny: Path):
    with pytest.raises(EncoderError, match="too_long"):
        embed_dataset(SEQUENCES, model=tiny, max_len=10, truncate=False)


@pytest.mark.parametrize("dtype", ["float16", np.float16, np.dtype("float16"), "torch"])
def test_embed_dtype_in_any_spelling(tiny: Path, dtype: object):
    if dtype == "torch":
        import torch

        dtype = torch.float16
    (vector,) = embed_dataset(["GIVED"], model=tiny, embed_dtype=dtype).values()
    assert vector.dtype == np.float16


def test_batch_size_changes_no_number(tiny: Path):
    one, many = (embed_dataset(SEQUENCES, model=tiny, batch_size=n) for n in (1, 64))
    for sequence in SEQUENCES:
        close(one[sequence], many[sequence])


def test_the_untrained_model_says_so():
    with pytest.warns(UserWarning, match="no biology"):
        found = embed_dataset(["GIVED"], model=MODEL_NAME)
    close(found["GIVED"], states(open_checkpoint(MODEL_NAME).path, "GIVED").mean(axis=0))


def test_no_model_is_the_default():
    found = embed_dataset(["GIVED"])  # without a warning: it was trained
    close(found["GIVED"], states(open_checkpoint(DEFAULT_MODEL).path, "GIVED").mean(axis=0))


def test_nothing_in_nothing_out(tiny: Path):
    assert embed_dataset([], model=tiny) == {}
    assert embed_dataset(iter(["GIVED"]), model=tiny).keys() == {"GIVED"}


def test_a_mapping_gives_arrays_by_id(tiny: Path):
    given = {"P1": "MKTAYIAKQR", "P2": "gived", "same": "MKT AYIAKQR"}
    found = embed_dataset(given, model=tiny)
    assert list(found) == list(given)
    for id, letters in {"P1": "MKTAYIAKQR", "P2": "GIVED", "same": "MKTAYIAKQR"}.items():
        close(found[id], states(tiny, letters).mean(axis=0))
    assert embed_dataset({}, model=tiny) == {}
    with pytest.raises(InputError) as caught:
        embed_dataset({"P1": "MK-T", "P2": None, "P3": "MKT"}, model=tiny)  # type: ignore[dict-item]
    assert [p.split(":")[0] for p in caught.value.problems] == ["sequences['P1']", "sequences['P2']"]


def test_what_does_not_hold_one_sequence_after_the_other(tmp_path: Path, tiny: Path):
    import pyarrow as pa

    (tmp_path / "a.fasta").write_text(">a\nMKT\n")
    with (tmp_path / "a.fasta").open() as file:
        cases = {"one str": "MKTAYI", "one bytes": b"MKTAYI", "a file (PosixPath)": tmp_path / "a.fasta",
                 "a file (TextIOWrapper)": file, "a table (Table)": pa.table({"sequence": ["MKT"]}),
                 "int": 3, "NoneType": None}  # fmt: skip
        for name, given in cases.items():
            with pytest.raises(ConfigError, match=re.escape(f"sequences: is {name}")):
                embed_dataset(given, model=tiny)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="is tuple, not a string of residues; for pairs of id and sequence give a dict"
    ):
        embed_dataset([("a", "MKT")], model=tiny)  # type: ignore[list-item]
    with pytest.raises(InputError, match="is bytes"):
        embed_dataset([b"MKT"], model=tiny)  # type: ignore[list-item]
    found = embed_dataset((s for s in ("MKT", "GIVED")), model=tiny)
    assert list(found) == ["MKT", "GIVED"]


@pytest.fixture(scope="module")
def prostt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("prostt5", tmp_path_factory.mktemp("tiny") / "prostt5")


def test_structure_letters_are_not_the_residues_of_the_same_letters(prostt5: Path):
    from transformers import T5EncoderModel, T5Tokenizer

    letters = "DVQVADPVVVVV"
    (structure,) = embed_dataset([letters], model=prostt5, alphabet="3di").values()
    (lower,) = embed_dataset([letters.lower()], model=prostt5, alphabet="3di").values()
    (residues,) = embed_dataset([letters.lower()], model=prostt5, alphabet="aa").values()
    own, model = T5Tokenizer.from_pretrained(prostt5), T5EncoderModel.from_pretrained(prostt5).eval()
    for found, text in (
        (structure, "<fold2AA> d v q v a d p v v v v v"),
        (residues, "<AA2fold> D V Q V A D P V V V V V"),
    ):
        state = model(own(text, return_tensors="pt")["input_ids"]).last_hidden_state[0, 1:-1].detach().numpy()
        close(found, state.mean(axis=0))
    assert np.array_equal(structure, lower)


@pytest.mark.parametrize("given", [["dvqvad", "ppvvl"], ["DPPVLVVQVVVLLVVLVVVVPD"], {"a": "dvqvad"}])
def test_letters_that_may_be_either_are_asked_about(given: object, prostt5: Path, tiny: Path):
    with pytest.raises(ConfigError, match="alphabet='3di'"):
        embed_dataset(given, model=prostt5)  # type: ignore[arg-type]
    assert len(embed_dataset(["MKTAYIAKQRQISFVK", "gived"], model=prostt5)) == 2
    assert len(embed_dataset(given, model=tiny)) == len(given)  # type: ignore[arg-type]


def test_structure_letters_for_a_model_without_them(tiny: Path):
    with pytest.raises(ConfigError, match="no tokens for 3di"):
        embed_dataset(["dvq"], model=tiny, alphabet="3di")
    with pytest.raises(InputError, match="not one of the 20 of 3Di"):
        embed_dataset(["dvb"], model=tiny, alphabet="3di")


MISUSES = {
    "tokenizer": object(), "num_workers": 4, "sql": True, "sql_db_path": "x.db", "save": True, "save_path": "x.pth",
    "pooling": ["mean"], "store_dtype": "float16", "max_residues": 5, "on_long": "window", "chunk_size": 10,
    "pooling_types": ["parti"], "max_len": 0, "batch_size": -1, "embed_dtype": "bfloat16", "device": "tpu",
    "colour": 1, "layers": [-1],
}  # fmt: skip


@pytest.mark.parametrize("poolings", [None, [], "mean", ["mean", 3]])
def test_poolings_that_are_no_list_of_names(poolings: object):
    with pytest.raises(ConfigError, match="pooling_types"):
        embed_dataset(["GIVED"], pooling_types=poolings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MISUSES)
def test_arguments_that_cannot_work(name: str):
    with pytest.raises(ConfigError) as caught:
        embed_dataset(["GIVED"], **{name: MISUSES[name]})
    (problem,) = caught.value.problems
    assert name in problem


def test_all_of_them_come_at_once():
    with pytest.raises(ConfigError) as caught:
        embed_dataset("GIVED", **MISUSES)
    assert len(caught.value.problems) == len(MISUSES) + 1


def test_sequences_that_are_none_come_at_once(tiny: Path):
    with pytest.raises(InputError) as caught:
        embed_dataset(["GIVED", "", "GI-VED", None, 3], model=tiny)  # type: ignore[list-item]
    assert [problem.split(":")[0] for problem in caught.value.problems] == [f"sequences[{i}]" for i in (1, 2, 3, 4)]


def test_a_model_without_cls(tmp_path: Path):
    with pytest.raises(ConfigError, match="no CLS"):
        embed_dataset(["GIVED"], model=build("t5", tmp_path / "t5"), pooling_types=["cls"])


def test_a_model_that_is_not_there(tmp_path: Path):
    with pytest.raises(CheckpointError):
        embed_dataset(["GIVED"], model=tmp_path / "none")


def test_no_cluster_is_started():
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); "
        "from protea_ray.encoder.in_memory import embed_dataset; "
        "assert 'torch' not in sys.modules; embed_dataset(['GIVED']); "
        "print([m for m in ('ray', 'lance') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_approximation_warns_and_names_the_proteins_that_it_does_not_carry(tiny: Path):
    with pytest.warns(UserWarning, match="attention favor:64,0 approximates what .* was trained with, exact"):
        embed_dataset(SEQUENCES, model=tiny, attention="favor:64,0")
    with pytest.warns(UserWarning, match="nystrom:1 approx"), pytest.raises(EncoderError, match="approximation_error"):
        embed_dataset(SEQUENCES, model=tiny, attention="nystrom:1")
