"""The commands as Python functions: embed, reembed, train_model, evaluate_spaces, compare_variants and the others.

They do what the commands of the same names do and raise the same errors; progress goes to standard error, or into a
notebook's cell, unless `quiet`. Nothing heavy is imported before a function is called. `protea_ray/__init__.py` lists
every public name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from protea_ray._fields import RecipeFields, RunFields, TrainingFields, TrainingRunFields
from protea_ray.config.paths import as_texts

if TYPE_CHECKING:
    from protea_ray.comparison.comparison import Comparison
    from protea_ray.config.recipe import EmbeddingConfig
    from protea_ray.evaluate.evaluation import Evaluation
    from protea_ray.exchange.importing import Imported
    from protea_ray.pipeline.accounting import Summary
    from protea_ray.pipeline.reembed import Reembedded
    from protea_ray.query.export import Exported
    from protea_ray.query.reader import Store
    from protea_ray.query.view import Pin
    from protea_ray.reporting.write import WrittenReport
    from protea_ray.sequences.parts import Source
    from protea_ray.store.forget import Forgotten
    from protea_ray.train.train_here import TrainingSummary

CURRENT = "current"  # store.aliases.CURRENT, whose module imports lance


def embed(
    inputs: str | Path | Sequence[str | Path],
    store: str | Path,
    *,
    model: str | Path | EmbeddingConfig | None = None,
    recipes: Sequence[RecipeFields | EmbeddingConfig] | None = None,
    run: RunFields | None = None,
    quiet: bool = False,
    **recipe: Unpack[RecipeFields],
) -> Summary:
    """Embed every protein of `inputs` (files, globs, directories, URLs) into `store`, exactly once.

    `model` is a name that `protea-ray models` lists, a hub id or a directory; None is `small`, which ships with the
    package; an EmbeddingConfig is a whole recipe, over which keywords win. `recipe` takes the fields of
    EmbeddingConfig, `recipes` what differs in each of several spaces from one pass, `run` the fields of RunOptions. The
    same call again resumes. Returns the accounting of the run. Raises ConfigError, InputError, CheckpointError,
    StoreError (also LeaseHeldError while another driver writes) and AccountingError.
    """
    from protea_ray.config.paths import require_paths
    from protea_ray.config.recipe import EmbeddingConfig, given_fields
    from protea_ray.config.run import run_config
    from protea_ray.models.shipped import DEFAULT_MODEL

    base = given_fields(model) if isinstance(model, EmbeddingConfig) else {"model": str(model or DEFAULT_MODEL)}
    config = run_config({**base, **recipe, "recipes": recipes or [], "run": run or {}})
    require_paths(as_texts(inputs), str(store))

    from protea_ray.cluster.progress import reporter
    from protea_ray.pipeline.embed import embed as run_embed  # imports Ray: a mistake above is reported at once

    with reporter("quiet" if quiet else "normal") as report:
        return run_embed(as_texts(inputs), str(store), config, report)


def reembed(
    store: str | Path,
    *,
    model: str | Path | EmbeddingConfig,
    alias: str = CURRENT,
    since: int | None = None,
    allow_untrained: bool = False,
    gate: str | Path | None = None,
    run: RunFields | None = None,
    quiet: bool = False,
    **recipe: Unpack[RecipeFields],
) -> Reembedded:
    """Embed the proteins of `store` with another checkpoint, verify the new space, then move `alias` to it.

    `model` as in `embed`. A recipe field that is left out is that of the space the alias points to. `since`: only
    proteins that this version of proteins.lance did not hold. `allow_untrained`: move the alias from a trained space to
    that of a model that was never trained. `gate`: a YAML file of figures that the new space must reach
    (docs/evaluation.md); where it does not, the alias stays and `stays` of what is returned says why. The same call
    again resumes. Raises StoreError when the new space does not verify (the alias stays), and whatever `embed` raises.
    """
    from protea_ray.cluster.progress import reporter
    from protea_ray.config.gate_file import require_fields_and_gate
    from protea_ray.config.recipe import EmbeddingConfig, given_fields
    from protea_ray.pipeline.reembed import reembed as run_reembed

    base = given_fields(model) if isinstance(model, EmbeddingConfig) else {"model": str(model)}
    fields = {**base, **recipe, "run": run or {}}
    conditions = require_fields_and_gate(fields, str(gate) if gate is not None else None)
    with reporter("quiet" if quiet else "normal") as report:
        judge = None
        if conditions is not None:
            from protea_ray.evaluate.gate import open_gate

            judge = open_gate(conditions, str(gate), str(store), report)
        how = {"alias": alias, "since": since, "allow_untrained": allow_untrained, "gate": judge}
        return run_reembed(str(store), fields, report, **how)


def train_model(
    store: str | Path,
    out: str | Path,
    *,
    run: TrainingRunFields | None = None,
    attribution: str | None = None,
    quiet: bool = False,
    **recipe: Unpack[TrainingFields],
) -> TrainingSummary:
    """Train a masked language model on the proteins of `store` in the directory `out`; the same call again goes on.

    `recipe` takes the fields of TrainingConfig (docs/training.md), of which `shape` or `model` is needed; `run` those
    of TrainingOptions. `attribution` is the licence and source of the proteins, as text or as the path of a file, for
    the model card. Raises ConfigError, CheckpointError, StoreError, and TrainingError for a loss that is not a number.
    """
    from protea_ray.config.paths import require_training_paths
    from protea_ray.config.training import training_run

    require_training_paths(str(store), str(out))
    config, options = training_run({**recipe, "run": run or {}})

    from protea_ray.train.lines import training_lines  # imports torch: a mistake above is reported at once
    from protea_ray.train.store_run import train_on_store

    with training_lines("quiet" if quiet else "normal") as report:
        return train_on_store(str(store), str(out), config, options, report, attribution)


def evaluate_spaces(
    store: str | Path,
    tasks: str | Path | Sequence[str | Path],
    *,
    spaces: str | Path | Sequence[str | Path] = CURRENT,
    data: str | Path | None = None,
    controls: Sequence[str] | None = None,
    seeds: int = 5,
    lengths: Sequence[int] = (1022, 2046),
    out: str | Path | None = None,
    outcomes: str | Path | None = None,
    run: RunFields | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Train probes on vectors of `store`, on labelled tasks with controls; every result is kept in the store.

    `spaces` are names, `NAME:POOLING`, `NAME@VERSION`, `all`, or .h5 files of one vector for each protein; `tasks` are
    names (localization, go-mf, go-cc, go-bp, secondary-structure, whose files are in `data`) or paths, with `:KIND` if
    needed. `controls` None: all. `lengths` are the ends of the groups by length, in residues. `out` is a folder for
    tables, plots, JSON and Parquet. `outcomes` is a .tsv, .csv or .parquet file that gets what the linear probe made of
    each tested protein, as labels that colour a map. The same call again computes what is missing only. Raises
    ConfigError, InputError, StoreError, and EvaluationError for a probe whose process died.
    """
    from protea_ray.config.run import options_alone

    options = options_alone(run or {})
    from protea_ray.cluster.progress import reporter
    from protea_ray.evaluate.evaluation import CONTROLS, evaluate

    with reporter("quiet" if quiet else "normal") as report:
        return evaluate(
            str(store), as_texts(spaces), as_texts(tasks), report, data=None if data is None else Path(data),
            controls=CONTROLS if controls is None else controls, seeds=seeds, lengths=lengths,
            out=None if out is None else Path(out), outcomes=None if outcomes is None else Path(outcomes),
            options=options,
        )  # fmt: skip


def compare_variants(
    model: str | Path | None,
    proteins: str | Path,
    out: str | Path,
    *,
    variants: Sequence[str] | None = None,
    blocks: Sequence[str] = ("fidelity", "loss", "cost"),
    seed: int = 0,
    proteins_per_bin: int = 50,
    longest: int | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Comparison:
    """Compare the ways to compute the vectors of `model`: nearness to exact attention, masked loss, time and memory.

    `proteins` is a sequence file or a store, of which some of each length are drawn. `variants` are written as on the
    command line (docs/variants.md); None: what the model can do. Everything is written below the folder `out`, and the
    same call again goes on there. Computes in this process, costs in one of their own. Raises ConfigError,
    CheckpointError, InputError, and EvaluationError where such a process dies.
    """
    from protea_ray.cluster.progress import reporter
    from protea_ray.comparison.comparison import ComparisonOptions, compare

    texts = None if variants is None else tuple(variants)
    options = ComparisonOptions(texts, tuple(blocks), seed, proteins_per_bin, longest, device)
    with reporter("quiet" if quiet else "normal") as report:
        return compare(None if model is None else str(model), str(proteins), Path(out), report, options)


def export(
    store: Store | str | Path,
    out: str | Path,
    *,
    space: str | Pin = CURRENT,
    ids: Sequence[str] | None = None,
    where: str | None = None,
    pooling: str | None = None,
    float32: bool = False,
    version: int | None = None,
) -> Exported:
    """Write vectors of `store` to the local file `out`, whose ending decides the format (docs/files.md).

    `store` may be a URI or an open Store; the other arguments are those of `Store.export`.
    """
    from protea_ray.query.reader import Store, open_store

    opened = store if isinstance(store, Store) else open_store(store)
    return opened.export(out, space=space, ids=ids, where=where, pooling=pooling, float32=float32, version=version)


def import_vectors(
    vectors: str | Path,
    store: str | Path,
    *,
    model: str,
    pooling: str = "mean",
    layer: int | None = None,
    store_dtype: str = "float16",
    fasta: str | Path | Sequence[str | Path] = (),
    dataset: str | None = None,
    quiet: bool = False,
) -> Imported:
    """Store vectors that another program computed in a space of their own, matched to proteins by id or letters.

    `vectors` is FastESM's SQLite or .pth file, fair-esm's folder of .pt files, or an .h5 file of biotrainer,
    bio_embeddings, ProtTrans, UniProt or FANTASIA. `model` says what computed them and is part of the space's name.
    `pooling` names vectors whose file does not say how they were pooled, `layer` and `dataset` choose one of several,
    `fasta` are proteins to add to the store first. Takes the lease. Raises InputError when nothing is stored, and
    ConfigError, LeaseHeldError and StoreError.
    """
    from protea_ray.cluster.progress import reporter
    from protea_ray.config.run import RunOptions
    from protea_ray.exchange.formats import open_source
    from protea_ray.exchange.imported_space import ImportOptions
    from protea_ray.exchange.importing import import_vectors as take
    from protea_ray.query.reader import open_store
    from protea_ray.store.commit import Writer
    from protea_ray.store.lease import Lease
    from protea_ray.store.location import open_location
    from protea_ray.store.runs import new_run_id

    options = ImportOptions(model, pooling, layer, store_dtype, dataset)
    with reporter("quiet" if quiet else "normal") as report:
        report.phase(f"importing {vectors}")
        source, location, run = open_source(vectors, dataset), open_location(store), new_run_id()
        from protea_ray.pipeline.current import name_only_space  # these import Ray, which a mistake need not wait for
        from protea_ray.pipeline.ingest import ingest

        proteins = _sources(as_texts(fasta), location.uri)
        if not proteins:
            open_store(location.uri)  # a store that is not there has nothing to match, and the lease must not make it
        with Lease.acquire(location) as lease:
            writer = Writer(lease)
            if proteins:
                ingest(proteins, location, RunOptions(), run, writer, report=report)
            name_only_space(location, run, writer)
            return take(source, location, options, run, writer, report)


def forget(store: str | Path, source: str | Path, *, all_versions: bool = False, dry_run: bool = False) -> Forgotten:
    """Remove a source from `store`: its records, and vectors and rejects of proteins that no other source holds.

    `source` is its label (`<path>#<digest>`), its path or URI, or the first digits of its digest; `all_versions`
    allows it to stand for several. The same call again finishes one that was stopped. Returns what was removed, by
    table. Raises StoreError when there is no such source or there are several, and LeaseHeldError.
    """
    from protea_ray.query.reader import open_store
    from protea_ray.store.forget import forget as remove

    return remove(open_store(store).location, str(source), all_versions=all_versions, dry_run=dry_run)


def write_report(
    store: str | Path,
    out: str | Path = "report.html",
    *,
    space: str | None = None,
    against: str | None = None,
    figures: str | Path | None = None,
    labels: str | Path | None = None,
    label_columns: Sequence[str] | None = None,
    colour: str | None = None,
    method: str = "pca",
    pooling: str | None = None,
    limit: int = 100_000,
    seed: int = 0,
) -> WrittenReport:
    """Write a page about `store` that opens without a network: runs, rejects, lengths, a map, evaluations.

    `space` (None: `current`) is mapped by `method`, `against` a second one to compare it with, `labels` a file of
    values by id that colour the map, `colour` the column that does so first, `figures` a folder for PNG and SVG. Of
    more than `limit` proteins a sample is drawn by `seed`. Raises ConfigError with every mistake, UnknownSpaceError,
    InputError for labels, and StoreError.
    """
    from protea_ray.query.reader import open_store
    from protea_ray.reporting.gather import ReportOptions
    from protea_ray.reporting.write import write_report as write

    columns = None if label_columns is None else tuple(label_columns)
    labels_path, figures_path = (None if given is None else Path(given) for given in (labels, figures))
    options = ReportOptions(space, against, pooling, method, labels_path, columns, colour, limit, seed)
    return write(open_store(store).location, Path(out), options, figures_path)


def _sources(inputs: Sequence[str], store: str) -> list[Source]:
    """The sources behind `inputs`, with Ray joined to read them; nothing is started for none."""
    from protea_ray.cluster.connect import connect
    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.pool import require_reach
    from protea_ray.sequences.inputs import expand

    if not inputs:
        return []
    sources = expand(inputs, store=store)
    connect(RunOptions())
    require_reach(sources)
    return sources
