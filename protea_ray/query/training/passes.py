"""Which epoch a pass through torch's DataLoader is, agreed on by worker processes that know nothing of each other.

torch gives every pass to new copies of the data set, one in each worker, and tells the process that made the loader
nothing. So all copies of a data set share one small file. A worker appends the pass that it belongs to, which torch's
base seed names, and reads the file: the order in which passes first appear is their order, the same for every reader.
Appending is atomic, so there is no lock; forked and spawned workers do the same.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protea_ray.errors import ConfigError


class PassLog:
    """The passes of one data set since its epoch was last set; removed with the data set that made it."""

    def __init__(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="protea-ray-epochs-")
        os.close(handle)
        weakref.finalize(self, _remove, self._path, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path = state["_path"]

    def restart(self, epoch: int) -> None:
        """Let the next pass be this epoch."""
        self._append(f"= {epoch}")

    def take(self, seen: str, epoch: int | None = None) -> int:
        """The epoch of the pass named `seen`: that of the workers that came before, else the next or the one given."""
        self._append(f"+ {seen}" if epoch is None else f"+ {seen} {epoch}")
        epochs, following = self._replay()
        return epochs.get(seen, following)

    def following(self) -> int:
        """The epoch of a pass that begins now."""
        return self._replay()[1]

    def is_first(self, remark: str) -> bool:
        """Whether nobody has made this remark before; it is made now."""
        self._append(f"! {os.getpid()} {remark}")
        said = [line.split(" ", 2) for line in self._lines() if line.startswith("!")]
        return next(pid for _, pid, text in said if text == remark) == str(os.getpid())

    def _replay(self) -> tuple[dict[str, int], int]:
        """Epochs by pass since the last restart, and the epoch that comes next."""
        epochs, following = dict[str, int](), 0
        for kind, *words in (line.split() for line in self._lines()):
            if kind == "=":
                epochs, following = {}, int(words[0])
            elif kind == "+" and words[0] not in epochs:
                epochs[words[0]] = int(words[1]) if len(words) > 1 else following
                following = epochs[words[0]] + 1
        return epochs, following

    def _lines(self) -> Iterator[str]:
        yield from Path(self._path).read_text(encoding="utf-8").splitlines()

    def _append(self, line: str) -> None:
        """Add one line in one write. Raises ConfigError where the file is gone: the passes so far are then unknown."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self._path}, in which this data set counts its epochs, was removed, or this is another machine; "
                "make the data set anew there and call set_epoch",
                where="epoch",
            ) from error
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)


def _remove(path: str, made_by: int) -> None:
    """Remove the file, in the process that made it: a forked copy of the data set goes earlier."""
    if os.getpid() == made_by:
        Path(path).unlink(missing_ok=True)
