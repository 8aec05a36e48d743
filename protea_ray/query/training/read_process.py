"""Reading in a process of its own, for a DataLoader's forked worker: Lance's threads do not survive a fork.

A forked worker that reads through Lance may crash: a user saw 3 of 12 epochs do so, 84 later epochs did not. What
is forked and then replaced by a new program is safe, so the worker starts one and gets its rows through a pipe. The
start costs about a second in each worker, and as often as torch starts workers. Spawned workers need none of this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any

from protea_ray.errors import ProteaRayError, StoreError

if TYPE_CHECKING:
    from protea_ray.query.training.examples import Examples, Reader

_process = {"forked": False}


def _note_fork() -> None:
    _process["forked"] = True


os.register_at_fork(after_in_child=_note_fork)


def is_forked() -> bool:
    """Whether this process was forked from one that had this module, and so Lance, loaded."""
    return _process["forked"]


class ReadProcess:
    """A new Python process that reads examples with a copy of `reader`; it ends when this process ends."""

    def __init__(self, reader: Reader) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._program = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=paths)
        theirs.close()
        self._pipe.send(reader)

    def load(self, examples: Examples) -> Any:
        """What `Reader.load` returns or raises; raises StoreError when the process has ended."""
        try:
            self._pipe.send(examples)
            read, error = self._pipe.recv()
        except (EOFError, OSError) as ended:
            raise StoreError(
                f"the process that reads for this worker ended with code {self._program.wait()}"
            ) from ended
        if error is not None:
            raise error
        return read


def serve(pipe: Connection) -> None:
    """Answer requests until the other side is gone."""
    try:
        reader: Reader = pipe.recv()
        while True:
            pipe.send(_answer(reader, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the worker has ended, or Ctrl-C ends both


def _answer(reader: Reader, examples: Examples) -> tuple[Any, ProteaRayError | None]:
    try:
        return reader.load(examples), None
    except ProteaRayError as error:
        return None, error


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
