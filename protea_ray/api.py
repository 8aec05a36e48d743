"""`protea_ray.embed(...)`: the command line's `embed` for Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protea_ray.config.run import run_config
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed as run
from protea_ray.pipeline.progress import reporter


def embed(
    inputs: str | Path | Sequence[str | Path], store: str | Path, *, model: str | Path = MODEL_NAME, **fields: Any
) -> Summary:
    """Embed every protein of `inputs` (files, globs, directories, URLs) into `store`, exactly once.

    `fields` are those of EmbeddingConfig, plus `recipes=[...]` for several spaces from one pass and `run={...}` for
    how the run is carried out. Running it again resumes. Returns the accounting; raises ProteaRayError.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    config = run_config({"model": str(model), **fields})
    with reporter() as report:
        return run([str(i) for i in given], str(store), config, report)
