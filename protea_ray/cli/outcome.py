"""Run the program and say how it ended: every mistake in the words "error: ...", and an exit code.

0 finished, 1 failed, 2 usage or configuration, 3 too many rejects, 4 and 5 `verify` of a store that is unfinished or
being written, 6 a gate that a new space did not pass, 130 stopped by Ctrl-C, 141 when nobody reads what is printed any
more (as `| head -1`). What is no mistake of a person or of the machine is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from typer.exceptions import Abort, TyperException

from protea_ray.cli.click_errors import MissingParameter, NoArgsIsHelpError, NoSuchOption, UsageError
from protea_ray.errors import ProteaRayError, did_you_mean
from protea_ray.store.object_store_errors import outage_as_store_error

PROGRAM = "protea-ray"
FAILED, USAGE, GATE_FAILED, INTERRUPTED, UNREAD = 1, 2, 6, 130, 141  # the last is what a shell reports for SIGPIPE
_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def carry_out(command: Any, arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run a command with the arguments of this process, or with `arguments`; returns the exit code.

    `command` is what `typer.main.get_command` gives, `program` the words that start it.
    """
    try:
        with outage_as_store_error():
            code = command.main(arguments, prog_name=program, standalone_mode=False)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by whoever started this process
                stream.flush()
        return code if isinstance(code, int) else 0
    except NoArgsIsHelpError as shown:
        print(shown.format_message(), file=sys.stderr)
        return USAGE
    except (ProteaRayError, TyperException) as error:
        return _told(in_words(error), error.exit_code)
    except Abort:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return UNREAD
    except SystemExit as left:
        if not isinstance(left.__context__, BrokenPipeError):  # which typer turns into exit code 1
            raise
        _discard_output()
        return UNREAD
    except OSError as error:
        if error.filename is None and error.errno not in _OF_THE_MACHINE:
            raise
        if error.filename is None:
            _discard_output()
        return _told(in_words(error), FAILED)


def in_words(error: Exception) -> str:
    """An error as one sentence or list, without the word error before it."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror or error}"
    if isinstance(error, UsageError):
        where = error.ctx.command_path if error.ctx is not None else PROGRAM
        return f"{_usage_in_words(error)} (`{where} --help` says what there is)"
    return str(error)


def _usage_in_words(error: UsageError) -> str:
    if isinstance(error, NoSuchOption):
        known = [word for parameter in error.ctx.command.params for word in parameter.opts] if error.ctx else []
        return f"there is no option {error.option_name}{did_you_mean(error.option_name, known)}"
    if isinstance(error, MissingParameter) and error.param is not None:
        shown = error.param.opts[0] if error.param.param_type_name == "option" else error.param.get_error_hint()
        return f"{shown.strip(chr(39))} is missing"
    said = error.format_message().rstrip(".")
    return said[:1].lower() + said[1:]


def _told(sentence: str, code: int) -> int:
    if sys.stderr is None:  # closed by whoever started this process; print would take standard output instead
        return code
    try:
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    except OSError:  # nobody reads that either; the exit code stays
        _discard_output()
    return code


def _discard_output() -> None:
    """Point what cannot be written to nowhere: the interpreter would try once more at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
            (sys.stdout, sys.stderr)[descriptor - 1].flush()
        except (OSError, ValueError, AttributeError):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def forgiving_output() -> None:
    """Let a stream that lacks a letter of ours (ASCII, Latin-1) show another one instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a test or a notebook may have put something else there
            stream.reconfigure(errors="backslashreplace")
