"""Removing rows: marks in a deletion file, in one version, that pinned readers of earlier versions never see."""

from __future__ import annotations

import time

from protea_ray.errors import CommitError
from protea_ray.store.commit import Guard
from protea_ray.store.object_store_errors import plain
from protea_ray.store.tables import PAUSES, open_table


def remove_rows(uri: str, filter: str, *, guard: Guard) -> int:
    """Remove the rows that match `filter`; returns how many. No matching row, no new version.

    The table is read before `guard` is asked and the delete is never moved to a later version, so that a driver
    that was replaced in between can only mark rows that were there before its successor came.
    Repeating it after an error is harmless. Raises CommitError.
    """
    problem: Exception | None = None
    found = 0
    for pause in PAUSES:
        time.sleep(pause)
        try:
            table = open_table(uri)
            left = table.count_rows(filter)
            found = max(found, left)
            if not left:
                return found
            guard()
            table.delete(filter, conflict_retries=0)
            return found
        except OSError as error:
            problem = error
    raise CommitError(f"{uri} did not take a removal of rows: {plain(problem) if problem else ''}") from problem
