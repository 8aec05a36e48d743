"""What `protea-ray alias` does: list, move, pin and delete aliases, and say how to go back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from protea_ray.cli.terminal import say
from protea_ray.errors import ConfigError
from protea_ray.query.random_vectors import tell_untrained
from protea_ray.store import aliases
from protea_ray.store.aliases import Alias
from protea_ray.store.commit import Writer
from protea_ray.store.location import Location
from protea_ray.store.pointing import point
from protea_ray.store.runs import new_run_id
from protea_ray.store.spaces import open_space


def change(
    location: Location, name: str, space: str | None, version: int | None, asked: Mapping[str, bool], dry_run: bool
) -> str:
    """Move or delete an alias, unless it is a dry run; returns the line that says from where to where.

    Raises ConfigError for options that contradict each other, and whatever `move` and `delete` raise.
    """
    before = aliases.list_aliases(location).get(name)
    if asked["delete"]:
        _refuse_beside_delete(name, space, asked)
        return _deleted(location, name, dry_run)
    if space is None:
        raise ConfigError(f"name the space that {name} should point to{_points_to(before)}", where="alias")
    if asked["pin"] and asked["version"]:
        raise ConfigError("--pin takes the versions of now and --version an older one; give one of them", where="alias")
    return _moved(location, name, space, version, asked["pin"], before, dry_run)


def _refuse_beside_delete(name: str, space: str | None, asked: Mapping[str, bool]) -> None:
    """Raise ConfigError for what has no meaning beside --delete."""
    if space is not None or asked["version"] or asked["pin"]:
        raise ConfigError(f"--delete ends the alias {name} and takes no space, --version or --pin", where="alias")


def _points_to(before: Alias | None) -> str:
    return "" if before is None else f"; it points to {before.target}. --delete ends it, --history shows its moves"


def _moved(
    location: Location, name: str, space: str, version: int | None, pin: bool, before: Alias | None, dry_run: bool
) -> str:
    moved = point(location, name, space, version, pin=pin, dry_run=dry_run)
    tell_untrained(location, open_space(location, moved.space, moved.version))
    if dry_run:
        return f"{name}: {_from(before)} -> {moved.target}; dry run, nothing was changed"
    return f"{name}: {_from(before)} -> {moved.target}; back: {_back(location, name, before)}"


def _deleted(location: Location, name: str, dry_run: bool) -> str:
    before = aliases.list_aliases(location).get(name)
    if dry_run and before is not None and name != aliases.CURRENT:
        return f"{name}: would be deleted; it points to {before.target}"
    ended = aliases.delete(location, name, run=new_run_id(), writer=Writer.unleased())
    return f"{name}: {ended.target} -> deleted; back: {_back(location, name, ended)}"


def _from(before: Alias | None) -> str:
    return "new" if before is None else before.target


def _back(location: Location, name: str, before: Alias | None) -> str:
    """The command that undoes a move."""
    words = ["protea-ray", "alias", location.uri, name]
    if before is None:
        return shlex.join([*words, "--delete"])
    pinned = [] if before.version is None else ["--version", str(before.version)]
    return shlex.join([*words, before.space, *pinned])


def show(location: Location, asked: Mapping[str, bool], *, silent: bool) -> dict[str, dict[str, Any]]:
    """Where every alias points now, by name, printed unless `silent`; raises ConfigError for options of one alias."""
    found = aliases.list_aliases(location)
    if silent:
        return {name: _pointed(alias) for name, alias in found.items()}
    wrong = [f"--{option}" for option, given in asked.items() if given]
    if wrong:
        raise ConfigError(f"name the alias that {' and '.join(wrong)} is for", where="alias")
    for name, alias in sorted(found.items()):
        say(f"{name}: {alias.target}, moved {alias.moved_at:%Y-%m-%d %H:%M} UTC by {alias.run}")
        if alias.version is not None and alias.proteins is None:
            again = shlex.join(["protea-ray", "alias", location.uri, name, name])
            say(f"{name} pins no proteins, so its data sets change as the store grows; `{again}` pins them")
    if not found:
        say("no aliases")
    return {name: _pointed(alias) for name, alias in found.items()}


def _pointed(alias: Alias) -> dict[str, Any]:
    return {"space": alias.space, "version": alias.version, "proteins": alias.proteins}


def show_history(location: Location, name: str | None, space: str | None, asked: Mapping[str, bool]) -> list[Alias]:
    """Print every move, of one alias or of all, oldest first; raises ConfigError for a name that never was one."""
    if space is not None or any(given for option, given in asked.items() if option != "history"):
        raise ConfigError("--history only shows, and takes no space, --version, --pin or --delete", where="alias")
    moves = aliases.history(location)
    chosen = [move for move in moves if name in (None, move.alias)]
    if name is not None and not chosen:
        known = ", ".join(sorted({move.alias for move in moves})) or "none"
        raise ConfigError(f"there was never an alias {name!r}; aliases: {known}", where="alias")
    for move in chosen:
        end = "deleted" if move.deleted else move.target
        say(f"{move.moved_at:%Y-%m-%d %H:%M} UTC  {move.alias} -> {end}  by {move.run}")
    if not chosen:
        say("no alias was ever moved")
    return chosen


def listed(move: Alias) -> dict[str, Any]:
    """One move as JSON; `space` is null where the alias was deleted."""
    at = move.moved_at.isoformat()
    return {"alias": move.alias, **_pointed(move), "space": move.space or None, "moved_at": at, "run": move.run}
