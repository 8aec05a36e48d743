"""What upkeep would do to a table, foretold without doing it: fragments, versions, files and bytes.

Lance explains which files a clean-up would remove now. But upkeep itself makes versions before it cleans up: merging
fragments makes two (one reserves their numbers), and taking a lease that was not released in order fences every table,
which makes one. The latest version of now is an earlier one then, and goes as well where it is old enough; with it go
the files that it alone names. Only the size of the versions in between is estimated, as that of the latest one.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lance
from lance.optimize import Compaction, CompactionOptions

from protea_ray.store.location import EVALUATIONS_TABLE
from protea_ray.store.tables import ALL_VERSIONS, open_table

_TRANSACTION_BYTES = 45  # of a reservation or a fence


@dataclass(frozen=True)
class Removed:
    """What a clean-up removes: versions, data files, and bytes of all kinds of files."""

    versions: int
    files: int
    bytes: int


@dataclass(frozen=True)
class _Merge:
    """Fragments that would be merged, and how many fragments there are afterwards."""

    fragments: tuple[lance.LanceFragment, ...]
    after: int


def foretell(
    table: lance.LanceDataset, name: str, gone: Sequence[int], rows: int, *, named: set[int], latest_goes: bool,
    fenced: bool,
) -> tuple[int, Removed]:  # fmt: skip
    """Fragments after a merge into fragments of `rows` rows, and what the clean-up after it removes.

    `gone`: versions that may go now. `named`: those that a tag or an alias keeps. `latest_goes`: whether the latest
    one may, once there is a later one. `fenced`: whether taking the lease makes a version.
    """
    merge = _plan_merge(table, rows)
    now = explain(table, name, gone)
    made = (1 if fenced else 0) + (2 if merge.fragments else 0)
    if not made or not latest_goes:
        return merge.after, now
    kept = named - {table.version}
    data, others = _freed(table, merge, kept)
    sizes = _sizes(table)
    latest = _own_files(table, sizes)
    between = (made - 1) * (sum(size for name, size in latest if name.startswith("_versions")) + _TRANSACTION_BYTES)
    size = sum(sizes.get(name, 0) for name in (*data, *others)) + sum(size for _, size in latest) + between
    return merge.after, Removed(now.versions + made, now.files + len(data), now.bytes + size)


def explain(table: lance.LanceDataset, name: str, gone: Sequence[int] = ()) -> Removed:
    """What removing the versions `gone` of the table `name`, and files that no version names, would free now."""
    stats = table.explain_cleanup_old_versions(**removal(name, gone)).stats
    return Removed(stats.old_versions, stats.data_files_removed, stats.bytes_removed)


def removal(name: str, gone: Sequence[int]) -> dict[str, Any]:
    """Arguments of Lance's clean-up that remove the versions `gone` and the files that no version names.

    Evaluations are written without the lease, so a young file there may be of a commit that is under way: Lance removes
    it only when it is a week old.
    """
    which: dict[str, Any] = {"versions": list(gone)} if gone else {"retain_versions": ALL_VERSIONS}
    return {**which, "delete_unverified": name != EVALUATIONS_TABLE, "error_if_tagged_old_versions": False}


def _plan_merge(table: lance.LanceDataset, rows: int) -> _Merge:
    """The fragments that Lance would merge, a task a group; a group makes as many fragments as its rows need."""
    tasks = Compaction.plan(table, CompactionOptions(target_rows_per_fragment=rows)).tasks
    merged = {fragment.id for task in tasks for fragment in task.fragments}
    there = table.get_fragments()
    after = len(there) - len(merged) + sum(-(-sum(f.num_rows for f in task.fragments) // rows) for task in tasks)
    return _Merge(tuple(f for f in there if f.fragment_id in merged), after)


def _freed(table: lance.LanceDataset, merge: _Merge, kept: set[int]) -> tuple[set[str], set[str]]:
    """Data files, and other files, of merged fragments and their indices, that no kept version names."""
    held: set[str] = set()
    for version in kept:
        of_version = open_table(table.uri, version)
        held |= {name for f in of_version.get_fragments() for name in (*_data(f), *_deletions(f))}
        held |= set(_index_files(of_version))
    data = {name for f in merge.fragments for name in _data(f)} - held
    others = {name for f in merge.fragments for name in _deletions(f)}
    if merge.fragments:  # merging moves rows, so an index is written anew
        others |= set(_index_files(table))
    return data, others - held


def _data(fragment: lance.LanceFragment) -> list[str]:
    return [f"data/{file.path}" for file in fragment.metadata.files]


def _deletions(fragment: lance.LanceFragment) -> list[str]:
    return [path] if (path := fragment.deletion_file()) else []


def _index_files(table: lance.LanceDataset) -> list[str]:
    """All files of the indices of a version."""
    folders = {f"_indices/{segment.uuid}/" for index in table.describe_indices() for segment in index.segments}
    return [name for name in _sizes(table) if name.startswith(tuple(folders))] if folders else []


def _sizes(table: lance.LanceDataset) -> dict[str, int]:
    """Size of every file under a table, by its path within it."""
    sizes: dict[str, int] = {}
    for batch in table.all_files():
        sizes |= dict(zip(batch.column("path").to_pylist(), batch.column("size_bytes").to_pylist(), strict=True))
    return sizes


def _own_files(table: lance.LanceDataset, sizes: dict[str, int]) -> list[tuple[str, int]]:
    """The manifest and the transaction of the latest version, which go with it, with their sizes."""
    made = table.read_transaction(table.version)
    own = {f"_versions/{table.version}.manifest", f"_versions/{2**64 - 1 - table.version}.manifest"}  # both namings
    if made is not None:
        own.add(f"_transactions/{made.read_version}-{made.uuid}.txn")
    return [(name, size) for name, size in sizes.items() if name in own]
