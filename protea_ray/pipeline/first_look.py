"""What a mistake can be seen from within half a second, before Ray is even imported.

A run looks at all of it again, with the store and on its device; this is for a person who waits for a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from protea_ray.config.run import RunConfig
from protea_ray.models.checkpoint import locate
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.nucleotides import require_no_nucleotides
from protea_ray.sequences.parts import Columns

_FILES = 16  # that were named one by one; each is opened for its first 64 KiB


def look_at_inputs(inputs: Sequence[str], config: RunConfig) -> None:
    """Open the first local files that were named, and find the checkpoint.

    Raises InputError for files that hold no sequences, ConfigError for DNA and RNA, CheckpointError for a checkpoint
    that is not there.
    """
    recipe = config.recipes[0]
    columns = Columns(config.run.id_column, config.run.sequence_column, alphabet=recipe.alphabet or "aa")
    files = list(islice((given for given in inputs if _is_plain(given)), _FILES))
    sources = expand(files, columns) if files else []
    if recipe.alphabet is None:
        require_no_nucleotides(sources, columns)
    locate(recipe.model, recipe.revision)


def _is_plain(given: str) -> bool:
    return "://" not in given and "::" not in given and Path(given).is_file()
