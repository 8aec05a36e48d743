"""protea_ray: protein sequences to language-model embeddings at any scale, every protein accounted for.

    embed, reembed              sequences into a store; another checkpoint over the proteins of a store
    open_store                  a Store: its proteins by id or SQL, nearest neighbours, training data, export, verify
    import_vectors, export      other programs' vectors into a store, and a store's out
    forget                      a source out of a store
    write_report                a page about a store for a browser: runs, rejects, a map of a space, drift, evaluations
    embed_dataset               a list of sequences to tensors in memory, no store (not normalised, unlike `embed`)
    train_model                 a language model on the proteins of a store
    compare_variants            which way to compute a model's vectors is exact enough, good and affordable
    evaluate_spaces             what the vectors of spaces are worth, on labelled tasks, beside controls

What is listed here is public; everything else may change. Names are loaded when they are first used, so that
`import protea_ray` costs nothing.

    >>> import protea_ray
    >>> recipe = protea_ray.EmbeddingConfig(model="lab/model", pooling=["max", "mean"], layers=[0, 1])
    >>> recipe.pooling, recipe.width(1280)
    (('mean', 'max'), 1280)
    >>> protea_ray.embed("proteins.fasta", "store", max_residues=0)
    Traceback (most recent call last):
    protea_ray.errors.ConfigError: configuration: max_residues: Input should be greater than 0 (got 0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protea_ray.api import (
        compare_variants,
        embed,
        evaluate_spaces,
        export,
        forget,
        import_vectors,
        reembed,
        train_model,
        write_report,
    )
    from protea_ray.comparison.comparison import Comparison
    from protea_ray.config.recipe import EmbeddingConfig
    from protea_ray.encoder.in_memory import embed_dataset
    from protea_ray.errors import (
        AccountingError,
        ApproximationError,
        CheckpointError,
        ClusterError,
        CommitError,
        ConfigError,
        EncoderError,
        EvaluationError,
        InputError,
        LeaseHeldError,
        LeaseLostError,
        ProteaRayError,
        StoreError,
        TrainingError,
        UnknownSpaceError,
    )
    from protea_ray.evaluate.evaluation import Evaluation
    from protea_ray.pipeline.accounting import Summary
    from protea_ray.query.reader import Store, open_store
    from protea_ray.query.view import Pin, missing
    from protea_ray.reporting.write import WrittenReport
    from protea_ray.train.train_here import TrainingSummary

    __version__: str

__all__ = [
    "AccountingError",
    "ApproximationError",
    "CheckpointError",
    "ClusterError",
    "CommitError",
    "Comparison",
    "ConfigError",
    "EmbeddingConfig",
    "EncoderError",
    "Evaluation",
    "EvaluationError",
    "InputError",
    "LeaseHeldError",
    "LeaseLostError",
    "Pin",
    "ProteaRayError",
    "Store",
    "StoreError",
    "Summary",
    "TrainingError",
    "TrainingSummary",
    "UnknownSpaceError",
    "WrittenReport",
    "__version__",
    "compare_variants",
    "embed",
    "embed_dataset",
    "evaluate_spaces",
    "export",
    "forget",
    "import_vectors",
    "missing",
    "open_store",
    "reembed",
    "train_model",
    "write_report",
]
_HOMES = {
    "Comparison": "comparison.comparison",
    "EmbeddingConfig": "config.recipe",
    "Evaluation": "evaluate.evaluation",
    "Pin": "query.view",
    "Store": "query.reader",
    "Summary": "pipeline.accounting",
    "WrittenReport": "reporting.write",
    "TrainingSummary": "train.train_here",
    "compare_variants": "api",
    "embed": "api",
    "embed_dataset": "encoder.in_memory",
    "evaluate_spaces": "api",
    "export": "api",
    "forget": "api",
    "import_vectors": "api",
    "missing": "query.view",
    "open_store": "query.reader",
    "reembed": "api",
    "train_model": "api",
    "write_report": "api",
}  # every other name is an error


if not TYPE_CHECKING:  # to a type checker a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            libraries = import_module("protea_ray.config.libraries")
            return libraries.versions(("protea-ray",))["protea-ray"]
        if name not in __all__:
            raise AttributeError(f"module 'protea_ray' has no attribute {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"protea_ray.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
