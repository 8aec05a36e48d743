"""Letters that a checkpoint was given tokens for, in every file that says so, against its own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import CheckpointError
from protea_ray.models.checkpoint import letter_notes, open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.families.alphabet import LETTERS
from protea_ray.testing.random_checkpoint import build

SPOKEN_AS_X = {"esm2": "J", "esmc": "J", "t5": "JUZOB", "prostt5": "JUZOB", "ankh": "JUZOB"}


def spelling(directory: Path) -> dict[str, int]:
    """Token of each letter A to Z."""
    family = recognise(read_config(directory), directory)
    table = family.alphabet(directory).table
    return {letter: int(table[ord(letter)]) for letter in LETTERS}


def tokenizer_of(family: str) -> Any:
    import transformers

    name = {"esm2": "EsmTokenizer", "esmc": "EsmcTokenizer"}.get(family, "T5Tokenizer")
    return getattr(transformers, name)


def grown(family: str, directory: Path, tokens: list[str], rows: int | None = None) -> Path:
    """A checkpoint whose tokenizer got `tokens`, and whose embedding got a row for each (or `rows` in all)."""
    import transformers

    build(family, directory)
    own = tokenizer_of(family).from_pretrained(directory)
    own.add_tokens(tokens)
    name = {"esm2": "EsmForMaskedLM", "esmc": "EsmcForMaskedLM"}.get(family, "T5EncoderModel")
    model = getattr(transformers, name).from_pretrained(directory)
    model.resize_token_embeddings(rows or max(len(own), model.config.vocab_size))
    own.save_pretrained(directory)
    model.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("family", SPOKEN_AS_X)
def test_published_vocabularies_are_spelt_as_published(family: str, tmp_path: Path) -> None:
    found = spelling(build(family, tmp_path))
    assert "".join(c for c in "JUZOB" if found[c] == found["X"]) == SPOKEN_AS_X[family]
    assert letter_notes(open_checkpoint(str(tmp_path))) == []


@pytest.mark.parametrize("family", ["esm2", "esmc", "t5", "prostt5"])
def test_a_letter_with_a_token_of_its_own_is_not_x(family: str, tmp_path: Path) -> None:
    added = ["J"] if family.startswith("esm") else ["J", "U"]
    directory = grown(family, tmp_path, added)
    own = tokenizer_of(family).from_pretrained(directory)
    found = spelling(directory)
    assert {c: found[c] for c in added} == {c: own.convert_tokens_to_ids(c) for c in added}
    rest = [c for c in SPOKEN_AS_X[family] if c not in added]
    assert all(found[c] == found["X"] for c in rest)
    (note,) = letter_notes(open_checkpoint(str(directory)))
    assert f"tokens of its own for {', '.join(added)}" in note


def test_the_vector_is_that_of_the_token(tmp_path: Path) -> None:
    import torch
    from transformers import EsmModel, EsmTokenizer

    directory = grown("esm2", tmp_path, ["J"])
    with pytest.warns(UserWarning, match="tokens of its own for J"):
        vectors = embed_dataset(["MKJTA", "MKXTA"], directory)
    own, model = EsmTokenizer.from_pretrained(directory), EsmModel.from_pretrained(directory).eval()
    for letters, vector in vectors.items():
        with torch.no_grad():
            state = model(**own(letters, return_tensors="pt")).last_hidden_state[0, 1:-1]
        np.testing.assert_allclose(vector, state.mean(0).numpy(), atol=1e-5)
    assert np.abs(vectors["MKJTA"] - vectors["MKXTA"]).max() > 1e-3


def line_of_vocab_txt(directory: Path) -> None:
    path = directory / "vocab.txt"
    path.write_text(path.read_text().replace("<null_1>", "J"))


def list_of_added_tokens(directory: Path) -> None:
    (directory / "added_tokens.json").write_text(json.dumps({"J": 31}))
    line_of_vocab_txt(directory)


def entry_of_ankh(directory: Path) -> None:
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text())
    entry = {"content": "O", "id": 143, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"].append({**entry, "special": False})
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("family", "edit", "letter", "token"),
    [("esm2", line_of_vocab_txt, "J", 31), ("esm2", list_of_added_tokens, "J", 31), ("ankh", entry_of_ankh, "O", 25)],
)
def test_files_that_were_written_by_hand(
    family: str, edit: Callable[[Path], None], letter: str, token: int, tmp_path: Path
) -> None:
    """The tokenizers library keeps the id of a letter that Ankh's vocabulary has already."""
    edit(build(family, tmp_path))
    assert spelling(tmp_path)[letter] == token


def test_a_token_without_a_row_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    directory = build("t5", tmp_path)
    own = tokenizer_of("t5").from_pretrained(directory)
    own.add_tokens(["J", "U"])
    own.save_pretrained(directory)
    with pytest.raises(CheckpointError, match=r"J \(128\), U \(129\), but the model embeds 128 tokens.*resize_token"):
        open_checkpoint(str(directory))


@pytest.mark.parametrize("tokens", [["s"], ["*", "-"], ["s", "t", "-"]])
def test_tokens_that_no_input_reaches_are_named(tokens: list[str], tmp_path: Path) -> None:
    directory = grown("t5", tmp_path, tokens)
    (note,) = letter_notes(open_checkpoint(str(directory)))
    assert all(token in note for token in tokens)
    assert "never used" in note
