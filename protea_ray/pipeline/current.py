"""Where the alias `current` points when a run ends: never at random vectors while trained ones are complete.

The rule, under the lease of the run:

* A store's first space becomes `current`, trained or not.
* A trained space that is `current` stays; a person moves it, or `reembed` does once the new space is verified.
* An untrained one gives way to a trained space that is complete: each protein of the store in its alphabet has a vector
  there or was rejected. The spaces of this run come first, then the newest. An imported space counts as trained, since
  nobody imports random vectors, but `current` is never moved to one unasked: what it holds is another program's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from protea_ray.errors import ConfigError, UnknownSpaceError
from protea_ray.pipeline.missing import find_work
from protea_ray.store.aliases import CURRENT, Alias, list_aliases, move, resolve
from protea_ray.store.commit import Writer
from protea_ray.store.location import Location
from protea_ray.store.spaces import SpaceInfo, list_spaces, open_space


@dataclass(frozen=True)
class Current:
    """Where `current` points at the end of a run. `before`: the space at its beginning, None for none yet.

    `trained` is of `space`; `incomplete` says, in words, which trained spaces did not get the alias, and why.
    """

    space: str
    before: str | None
    trained: bool
    incomplete: tuple[str, ...] = ()


def name_only_space(location: Location, run: str, writer: Writer) -> None:
    """Write down where `current` points in a store with one space and no alias: a second space would leave it without
    a meaning."""
    if CURRENT not in list_aliases(location):
        with suppress(UnknownSpaceError):
            only, _ = resolve(location, CURRENT)
            move(location, CURRENT, only, run=run, writer=writer)


def settle_current(location: Location, spaces: Sequence[str], run: str, writer: Writer) -> Current:
    """Move `current` as the rule of this module says, at the end of a run that filled `spaces`.

    Raises CommitError, and StoreError for a table that cannot be read.
    """
    known = {info.name: info for info in list_spaces(location)}
    alias = list_aliases(location).get(CURRENT)
    before = alias.space if alias else None
    now = known.get(before) if before else None
    if now is not None and now.trained:
        return Current(now.name, before, True)
    incomplete: list[str] = []
    target = _first_complete(location, _candidates(known, spaces), incomplete)
    if target is None and now is None:
        target = known[spaces[0]]
    if target is None:
        assert now is not None  # the case of no target and no alias is the line above
        return Current(now.name, before, False, tuple(incomplete))
    move(location, CURRENT, target.name, run=run, writer=writer)
    return Current(target.name, before, target.trained, () if target.trained else tuple(incomplete))


def _candidates(known: dict[str, SpaceInfo], spaces: Sequence[str]) -> list[SpaceInfo]:
    """Trained spaces of this package: those of the run in its order, then the others, the newest first."""
    own = [info for info in known.values() if info.trained and not info.imported]
    others = sorted((info for info in own if info.name not in spaces), key=lambda info: info.created, reverse=True)
    return [*(known[name] for name in spaces if known[name] in own), *others]


def _first_complete(location: Location, candidates: Sequence[SpaceInfo], incomplete: list[str]) -> SpaceInfo | None:
    """The first candidate that lacks no protein; what the others lack goes to `incomplete`, in words."""
    for info in candidates:
        work = find_work(location, None, [info.name], retry_rejects=False, alphabet=info.config.get("alphabet"))
        if not work.proteins:
            return info
        incomplete.append(f"{info.name} lacks {work.proteins:,} of the store's proteins")
    return None


def where_current(location: Location, before: Alias | None) -> Current:
    """Where `current` points now, after a run that found it at `before`."""
    space, _ = resolve(location, CURRENT)
    return Current(space, before.space if before else None, open_space(location, space).trained)


def require_untrained_alias(location: Location, alias: str, model: str) -> None:
    """Raise ConfigError where `alias` points to a trained space: `model`, which was never trained, must not get it."""
    try:
        now = open_space(location, *resolve(location, alias))
    except UnknownSpaceError:
        return
    if now.trained:
        raise ConfigError(
            f"{model} was never trained: its vectors carry no biology, and {alias} points to {now.name}, whose model "
            "was. `protea-ray embed` fills a space and leaves the alias where it is; to move it all the same, add "
            "--allow-untrained (in Python allow_untrained=True)",
            where="reembed",
        )


def sentences(current: Current, spaces: Sequence[str], store: str) -> Iterator[str]:
    """In words, for the end of a run over `spaces`: where `current` points, whether it moved, and how to move it."""
    untrained = "" if current.trained else " (untrained)"
    if current.space != current.before:
        yield f"current -> {current.space}{untrained}" + (f", moved from {current.before}" if current.before else "")
        return
    yield f"current -> {current.space}{untrained}" + ("" if current.space in spaces else ", not moved")
    for sentence in current.incomplete:
        yield f"{sentence}: not moved there"
    if current.space not in spaces:
        yield f"`protea-ray alias {store} {CURRENT} {spaces[0]}` moves it"
