"""Every error this package raises on purpose.

    ProteaRayError
    ├── ConfigError        an option, field or combination that cannot work   (also a ValueError; exit code 2)
    ├── InputError         a source file that is not what it says             (exit code 1)
    ├── CheckpointError    weights or tokenizer that must not be used         (exit code 1)
    ├── StoreError         a table that is missing, foreign or damaged        (exit code 1)
    │   ├── LeaseHeldError     another driver is writing this store
    │   ├── LeaseLostError     this driver was replaced while it ran
    │   ├── CommitError        the store did not take a commit
    │   └── UnknownSpaceError  no such space or alias                     (exit code 2: an option names it)
    ├── ClusterError       Ray cannot be started here                         (exit code 1)
    ├── EncoderError       the forward pass cannot do what was asked           (exit code 1)
    ├── TrainingError      a training run that cannot go on                    (exit code 1)
    ├── EvaluationError    an evaluation that cannot go on                     (exit code 1)
    └── AccountingError    in != stored + duplicate + rejected + already present (exit code 1)

A message says what is wrong, where, and what to do next. Where several things are wrong the message
lists all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class ProteaRayError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class ConfigError(ProteaRayError, ValueError):
    """One or more options that cannot work, all named in one message."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str], *, where: str = "configuration") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(numbered(f"{where}: {len(self.problems)} problem(s)", self.problems))


class InputError(ProteaRayError):
    """One or more source files that are not what they say, all named in one message."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(numbered(f"input: {len(self.problems)} problem(s)", self.problems))


class CheckpointError(ProteaRayError):
    """Weights, configuration or vocabulary that must not be used, and why."""


class StoreError(ProteaRayError):
    """A table that is missing, foreign or damaged."""


class LeaseHeldError(StoreError):
    """Another driver holds the store; the message names host, process and age."""


class LeaseLostError(StoreError):
    """This driver's heartbeat expired and another driver took the store over."""


class CommitError(StoreError):
    """The store did not take a commit, and looking it up showed that it is not there."""


class UnknownSpaceError(StoreError):
    """No vector space or alias of that name; the message lists those that exist."""

    exit_code = 2


class ClusterError(ProteaRayError):
    """Ray cannot be started on this machine."""


class EncoderError(ProteaRayError):
    """The forward pass cannot do what was asked of it on this device."""


class ApproximationError(EncoderError):
    """An approximate attention is too far from the exact one in some windows of a pack, by number in `windows`."""

    def __init__(self, windows: Mapping[int, str]) -> None:
        self.windows = dict(windows)
        super().__init__("; ".join(f"window {number}: {why}" for number, why in windows.items()))


class TrainingError(ProteaRayError):
    """A training run cannot go on: its loss is not a number, or a worker was lost too often."""


class EvaluationError(ProteaRayError):
    """An evaluation cannot go on: the process of a cell died too often."""


class AccountingError(ProteaRayError):
    """The numbers of a run do not add up; nothing is reported as finished."""


def numbered(title: str, problems: Sequence[str]) -> str:
    """One problem on one line after the title, several as a list."""
    if len(problems) == 1:
        return f"{title.split(':')[0]}: {problems[0]}"
    return "\n".join([title, *(f"  {i}. {p}" for i, p in enumerate(problems, 1))])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest to a misspelt one, to append to a message; empty where none is near.

    Of dotted names (run.actors) the last part counts.

    >>> did_you_mean("unit_second", ["model", "run.unit_seconds"])
    '; did you mean run.unit_seconds?'
    >>> did_you_mean("zebra", ["model"])
    ''
    """
    from difflib import get_close_matches  # only a mistake pays for the import

    by_word = {name.rpartition(".")[2].lower(): name for name in known}
    found = get_close_matches(word.rpartition(".")[2].lower(), by_word, n=1, cutoff=0.6)
    return f"; did you mean {by_word[found[0]]}?" if found else ""
