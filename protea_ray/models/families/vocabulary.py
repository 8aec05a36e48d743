"""The vocabulary that a checkpoint's own files hold, read without transformers.

Recognition needs it on the driver, where importing transformers would cost three seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from protea_ray.errors import CheckpointError

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
FILES = ("vocab.txt", "tokenizer.json", "spiece.model")


def read_vocabulary(directory: Path) -> dict[str, int]:
    """Token to id from vocab.txt, tokenizer.json or spiece.model, with the tokens added later.

    Those are in added_tokens.json, or in tokenizer_config.json as newer releases write it. Empty if no file
    exists; raises CheckpointError when one is there but is not what its name says.
    """
    readers = dict(zip(FILES, (_lines, _tokenizer_json, _spiece), strict=True))
    vocabulary: dict[str, int] = {}
    for name, read in readers.items():
        if (directory / name).is_file() and not vocabulary:
            vocabulary = _guarded(read, directory / name)
    for name, read in (("added_tokens.json", _json), ("tokenizer_config.json", _added)):
        if (directory / name).is_file():
            vocabulary |= _guarded(read, directory / name)
    return vocabulary


def added_tokens(directory: Path) -> set[str]:
    """The tokens that were added to a vocabulary after it was made, special ones included."""
    added: set[str] = set()
    readers = (("added_tokens.json", _json), ("tokenizer_config.json", _added), ("tokenizer.json", _added_later))
    for name, read in readers:
        if (directory / name).is_file():
            added |= set(_guarded(read, directory / name))
    return added


def letter_ids(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Id of each letter with a token, also one that sentencepiece marks as the beginning of a word."""
    ids = {token.removeprefix("▁"): number for token, number in vocabulary.items()}
    letters = {c: number for c, number in ids.items() if len(c) == 1 and c.isascii() and c.isalpha()}
    return letters | {c: vocabulary[c] for c in letters if c in vocabulary}


def by_id(vocabulary: Mapping[str, int], size: int) -> tuple[str, ...]:
    """The tokens in the order of their ids, `size` of them; empty text where no token has the id."""
    names = {number: token for token, number in vocabulary.items()}
    return tuple(names.get(number, "") for number in range(size))


def lacking(vocabulary: Mapping[str, int], tokens: Iterable[str]) -> str:
    """The `tokens` without an entry in the vocabulary, joined by spaces."""
    return " ".join(token for token in tokens if token not in vocabulary)


def _guarded(read: Any, path: Path) -> dict[str, int]:
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a readable vocabulary ({error}); download it again") from error


def _lines(path: Path) -> dict[str, int]:
    return {line.strip(): i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines())}


def _json(path: Path) -> dict[str, int]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _added(path: Path) -> dict[str, int]:
    tokens = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
    return {token["content"]: int(number) for number, token in tokens.items()}


def _tokenizer_json(path: Path) -> dict[str, int]:
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["model"]["vocab"]
    known = {entry[0]: i for i, entry in enumerate(entries)} if isinstance(entries, list) else dict(entries)
    return known | _added_later(path)


def _added_later(path: Path) -> dict[str, int]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {token["content"]: token["id"] for token in content.get("added_tokens", ())}


def _spiece(path: Path) -> dict[str, int]:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(path))
    return {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
