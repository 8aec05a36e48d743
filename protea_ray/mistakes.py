"""All mistakes of a request in one message: check after check is run, and what they raise is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from protea_ray.errors import ConfigError, InputError, StoreError

_T = TypeVar("_T")


class Mistakes:
    """Gathers the mistakes of one request, so that one message has all; `where` names what was asked for."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._errors: list[ConfigError | InputError | StoreError] = []

    def add(self, problems: Iterable[str]) -> None:
        """Keep mistakes in words."""
        self._errors += [ConfigError(problem, where=self._where) for problem in problems]

    def catch(self, read: Callable[[], _T]) -> _T | None:
        """Return what `read` returns, or None after an error, which is kept."""
        try:
            return read()
        except (ConfigError, InputError, StoreError) as error:
            self._errors.append(error)
            return None

    def tell(self) -> None:
        """Raise the only error as it is, several as one ConfigError that has each sentence once; nothing for none."""
        sentences = list(dict.fromkeys(sentence for error in self._errors for sentence in _sentences(error)))
        if self._errors and len(sentences) == len(_sentences(self._errors[0])):
            raise self._errors[0]
        if sentences:
            raise ConfigError(sentences, where=self._where)


def _sentences(error: ConfigError | InputError | StoreError) -> Sequence[str]:
    return (str(error),) if isinstance(error, StoreError) else error.problems
