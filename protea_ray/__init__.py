"""protea_ray: protein sequences to language-model embeddings at any scale, every protein accounted for.

Names are loaded when they are first used, so that `import protea_ray` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protea_ray.api import embed
    from protea_ray.config.recipe import EmbeddingConfig
    from protea_ray.encoder.in_memory import embed_dataset
    from protea_ray.query.reader import open_store

_HOME = {
    "EmbeddingConfig": "protea_ray.config.recipe",
    "embed": "protea_ray.api",
    "embed_dataset": "protea_ray.encoder.in_memory",
    "open_store": "protea_ray.query.reader",
}
__all__ = ["EmbeddingConfig", "embed", "embed_dataset", "open_store"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'protea_ray' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module(_HOME[name]), name)
