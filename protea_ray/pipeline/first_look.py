"""What a mistake can be seen from within half a second, before Ray is even imported.

A run looks at all of it again, with the store and on its device; this is for a person who waits for a message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from protea_ray.config.known_models import without_twin
from protea_ray.config.run import RunConfig
from protea_ray.models.checkpoint import in_full, local_directory
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.nucleotides import require_no_nucleotides
from protea_ray.sequences.parts import Columns
from protea_ray.sequences.spool import STANDARD_INPUT

_FILES = 16  # that were named one by one; each is opened for its first 64 KiB


def look_at_inputs(inputs: Sequence[str], config: RunConfig) -> None:
    """Open the first local files that were named, and find the checkpoint.

    Raises InputError for files that hold no sequences, ConfigError for DNA and RNA, CheckpointError for a checkpoint
    that is not here and is no hub id.
    """
    recipe = config.recipes[0]
    columns = Columns(config.run.id_column, config.run.sequence_column, alphabet=recipe.alphabet or "aa")
    files = list(islice((given for given in inputs if _is_plain(given)), _FILES))
    with _without_notes():
        sources = expand(files, columns) if files else []
        if recipe.alphabet is None:
            require_no_nucleotides(sources, columns)
    look_for_checkpoint(recipe.model, recipe.revision)


def look_for_checkpoint(model: str, revision: str | None = None) -> None:
    """Raise CheckpointError for a checkpoint that is not here; one of a hub is for the run, which says it waits."""
    local_directory(without_twin(in_full(model)), revision)


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep what is only noted of an input for the run itself, which says it again."""
    log = logging.getLogger("protea_ray")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _is_plain(given: str) -> bool:
    return given not in STANDARD_INPUT and "://" not in given and "::" not in given and Path(given).is_file()
