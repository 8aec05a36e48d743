"""Wait for new checkpoints in a directory that a training run writes into, or on a branch of the hub.

A checkpoint in a directory is taken when two looks in a row see the same files. The digests of its weights tell
its space, whatever the folder is called, and whether there is anything to embed. A space that the alias has pointed to
before is not taken again: the person who moved the alias back meant it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from protea_ray.cluster.progress import Reporter
from protea_ray.errors import CommitError, ConfigError, LeaseHeldError, LeaseLostError, ProteaRayError
from protea_ray.models.adapters import MARKER
from protea_ray.pipeline.embed import MakeSpec
from protea_ray.pipeline.failures import interruptible
from protea_ray.pipeline.gate_figures import Gate
from protea_ray.pipeline.reembed import Reembedded, Reembedding, carry_out, prepare
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.store.aliases import CURRENT, history

_HOLD_A_MODEL = ("config.json", MARKER)  # of a whole model, and of an adapter kept beside its base
TRY_AGAIN = (LeaseHeldError, LeaseLostError, CommitError)  # errors of the moment: the same files are tried again


@dataclass(frozen=True)
class Seen:
    """A checkpoint at one look. `stamp` changes when any of its files does.

    `final`: True for a hub commit; a directory may still be written to.
    """

    model: str
    revision: str | None
    stamp: str
    final: bool


@dataclass(frozen=True)
class Taken:
    """What became of one new checkpoint: a re-embedding, or the error that stopped it."""

    seen: Seen
    outcome: Reembedded | None
    error: ProteaRayError | None


def watch(
    store: str,
    source: str,
    fields: Mapping[str, Any],
    report: Reporter,
    *,
    alias: str = CURRENT,
    since: int | None = None,
    interval: float = 60.0,
    rounds: int | None = None,
    allow_untrained: bool = False,
    gate: Gate | None = None,
    make_spec: MakeSpec = EncoderSpec,
) -> Iterator[Taken]:
    """Look at `source` every `interval` seconds, `rounds` times (None: until stopped), and re-embed new checkpoints.

    An error of one checkpoint does not end the watch. `make_spec`: see `embed`; `allow_untrained` and `gate`: see
    `reembed`. Raises ConfigError when `fields` name a model themselves, KeyboardInterrupt on SIGTERM.
    """
    if fields.get("model") or fields.get("revision"):
        raise ConfigError("the checkpoint comes from what is watched; leave out --model and --revision", where="watch")
    look = looker(source)
    checkpoints = NewCheckpoints()
    report.note(timed(f"watching {source} every {interval:g} s (Ctrl-C stops)"))
    with interruptible():
        for number in count() if rounds is None else range(rounds):
            report.phase(None)
            if number:
                time.sleep(interval)
            seen = checkpoints.new(_look(look, report))
            if seen is None:
                continue
            taken = _take(store, seen, fields, report, alias, since, make_spec, allow_untrained, gate)
            if taken is None or not isinstance(taken.error, TRY_AGAIN):
                checkpoints.done.add(seen.stamp)
            if taken is not None:
                report.phase(None)  # the caller prints what became of it
                yield taken


class NewCheckpoints:
    """Decides when a checkpoint is taken: a hub commit at once, a directory when two looks in a row see the same files.

    Each is taken once: `done` holds the stamps of those that were.
    """

    def __init__(self) -> None:
        self.done: set[str] = set()
        self._before: Seen | None = None

    def new(self, seen: Seen | None) -> Seen | None:
        """`seen` if it is to be taken now, else None."""
        same, self._before = seen is not None and (seen.final or seen == self._before), seen
        return seen if seen is not None and same and seen.stamp not in self.done else None


def _take(
    store: str, seen: Seen, fields: Mapping[str, Any], report: Reporter, alias: str, since: int | None,
    make_spec: MakeSpec, allow_untrained: bool, gate: Gate | None,
) -> Taken | None:  # fmt: skip
    """Re-embed with one checkpoint; None when the alias has pointed to its space before."""
    named = {"model": seen.model, **({"revision": seen.revision} if seen.revision else {})}
    try:
        planned = prepare(store, {**fields, **named}, report, alias, make_spec, allow_untrained=allow_untrained)
        if _was_aliased(planned):
            return None
        report.note(timed(f"new checkpoint: {seen.model}{f' at {seen.revision}' if seen.revision else ''}"))
        return Taken(seen, carry_out(planned, report, since, gate), None)
    except ProteaRayError as error:
        report.warn(timed(f"{seen.model} is not taken: {error}"))
        return Taken(seen, None, error)


def timed(text: str) -> str:
    """The text after the time of day: a watch runs for days."""
    return f"{datetime.now():%H:%M:%S} {text}"


def _was_aliased(planned: Reembedding) -> bool:
    moves = history(planned.setting.location)
    return any((m.alias, m.space) == (planned.alias, planned.space) for m in moves)


def _look(look: Callable[[], Seen | None], report: Reporter) -> Seen | None:
    """The checkpoint that is there now; None while the place cannot be read, which is noted and tried again."""
    try:
        return look()
    except OSError as error:
        report.warn(timed(f"cannot look for a checkpoint: {type(error).__name__}: {error}"))
        return None


def looker(source: str) -> Callable[[], Seen | None]:
    """The function that looks at `source`.

    `source` is a directory (which need not exist yet), a hub id `owner/name`, or `owner/name@branch`.
    """
    path = Path(source).expanduser()
    if path.is_dir() or source.startswith((".", "/", "~")) or source.count("/") != 1:
        return lambda: newest_in(path)
    return lambda: head_of(source)


def newest_in(directory: Path) -> Seen | None:
    """The checkpoint of `directory`, or of the folder in it, whose files changed last; None while there is none."""
    places = [directory, *directory.iterdir()] if directory.is_dir() else []
    found = [(_files(place), place) for place in places if any((place / name).is_file() for name in _HOLD_A_MODEL)]
    if not found:
        return None
    files, place = max(found, key=lambda item: (max(changed for _, _, changed in item[0]), str(item[1])))
    return Seen(str(place), None, repr(files), final=False)


def _files(place: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of the last change (ns) of every file, by name."""
    stats = [(file.name, file.stat()) for file in sorted(place.iterdir()) if file.is_file()]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def head_of(source: str) -> Seen | None:
    """The commit that a branch of a hub id stands at."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    name, _, branch = source.partition("@")
    try:
        commit = HfApi().model_info(name, revision=branch or None).sha
    except HFValidationError as error:
        raise ConfigError(f"{name!r} is neither a directory nor a hub id (owner/name)", where="watch") from error
    except Exception as error:  # the hub's client has its transport's errors, which share no base of this project
        raise OSError(f"the hub does not show {source} ({type(error).__name__})") from error
    return Seen(name, commit, f"{name}@{commit}", final=True) if commit else None
