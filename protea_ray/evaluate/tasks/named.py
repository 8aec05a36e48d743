"""From what was asked for, a name or a path, to a task: the named tasks with their folders, and a user's own files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from protea_ray.config.paths import nearest_beside
from protea_ray.errors import ConfigError, did_you_mean
from protea_ray.evaluate.task import CLASSIFICATION, RESIDUE, Task
from protea_ray.evaluate.tasks.encoded import encoded, require_learnable
from protea_ray.evaluate.tasks.folds import make_split
from protea_ray.evaluate.tasks.gene_ontology import TermGraph
from protea_ray.evaluate.tasks.joined import Without, join_store
from protea_ray.evaluate.tasks.kinds import GO, KINDS
from protea_ray.evaluate.tasks.labelled import TaskLabels
from protea_ray.evaluate.tasks.labelled_file import chosen, labelled_file
from protea_ray.query.view import View

_DOUBLE_LABEL = "Cytoplasm-Nucleus"
_LOCALIZATION, _STRUCTURE, _GO_FOLDERS = "task_localization", "task_secondary_structure", ("task_go_long", "task_go")


def read_task(wanted: str, data: Path | None, view: View, without: Without | None = None) -> Task:
    """A task by name or path, joined to the proteins of a store at the view's pin.

    `wanted` is one of `known_tasks()`, whose files are below the folder `data`, or PATH or PATH:KIND. `without` says of
    keys which of them lack a vector; those proteins are left out. The task follows from labels and letters alone: not
    from the order of rows, the format of the file, or what else the store holds. Raises ConfigError for what is asked
    for, InputError for what is in the files, or is not in the store.
    """
    return join_task(read_labelled(wanted, data), view, without)


def known_tasks() -> dict[str, str]:
    """A sentence on each named task, by name."""
    return {name: sentence for name, (sentence, _) in _NAMED.items()}


def read_labelled(wanted: str, data: Path | None) -> TaskLabels:
    """The labels of a task without a store, so that mistakes are seen before anything else; raises as `read_task`."""
    if wanted in _NAMED:
        if data is None:
            raise ConfigError(f"{wanted} needs the folder with its files: --data FOLDER", where="task")
        return replace(_NAMED[wanted][1](data), name=wanted)
    return labelled_file(*_path_and_kind(wanted))


def join_task(labelled: TaskLabels, view: View, without: Without | None = None) -> Task:
    """The task of some labels in a store; raises InputError as `read_task` does."""
    joined = join_store(labelled, view, without)
    targets, names = encoded(labelled.kind, joined.values)
    split = make_split(joined.sequences, joined.splits, labelled.source)
    parents = TermGraph(labelled.parents, {}).of(names) if labelled.parents else {}
    task = Task(
        labelled.name, labelled.kind, joined.ids, joined.keys, joined.sequences, targets, names,
        split.fold, split.group, split.related, split.text, split.validation, parents,
    )  # fmt: skip
    unseen = require_learnable(task, labelled.source)
    return replace(task, notes=(*labelled.notes, *joined.notes, *unseen, _of_split(task)))


def _of_split(task: Task) -> str:
    """How many proteins train and are tested, and how many of these have relatives in training."""
    related, tested = int(task.related.sum()), len(task.tested)
    if task.split != "given":
        return f"The split is made: {task.split} (proteins that share five six-letter words are in one fold)"
    return (f"The split is the file's: {len(task) - tested:,} proteins train, {tested:,} are tested, {related:,} of "
            "which share five or more six-letter words with a training protein")  # fmt: skip


def _path_and_kind(wanted: str) -> tuple[Path, str]:
    """The file and the kind that PATH or PATH:KIND names; raises ConfigError where there is no such file or kind."""
    head, colon, kind = wanted.rpartition(":")
    path = Path(wanted).expanduser()
    if path.is_file():
        return path, ""
    own = Path(head).expanduser()
    if colon and own.is_file():
        if kind in KINDS:
            return own, kind
        near = did_you_mean(kind, KINDS)
        raise ConfigError(f"{wanted}: {kind!r} is no kind of task; known: {', '.join(KINDS)}{near}", where="task")
    if path.is_dir():
        raise ConfigError(f"{wanted} is a folder; name a file of labels in it, or a named task ({', '.join(_NAMED)}) "
                          f"with --data {wanted}", where="task")  # fmt: skip
    near = did_you_mean(wanted, _NAMED) or nearest_beside(own if kind in KINDS else path, Path.is_file)
    raise ConfigError(f"{wanted}: no file and no named task ({', '.join(_NAMED)}){near}", where="task")


def _localization(data: Path) -> TaskLabels:
    folder = _folder(data, (_LOCALIZATION,), ("labels.tsv",))
    found = labelled_file(folder / "labels.tsv", CLASSIFICATION, ("id", "label"))
    single = [value != _DOUBLE_LABEL for value in found.values]
    note = f"{single.count(False):,} proteins with the double label {_DOUBLE_LABEL} are left out"
    return replace(chosen(found, single), notes=(*found.notes, note), fasta=_fasta_in(folder))


def _go(aspect: str) -> Callable[[Path], TaskLabels]:
    def labelled(data: Path) -> TaskLabels:
        folder = _folder(data, _GO_FOLDERS, (f"{aspect}_go.tsv",))
        found = labelled_file(folder / f"{aspect}_go.tsv", GO, ("accession", "GO"))
        of_tale = (folder / "tale_go.fasta").exists()
        unchecked = ["Evidence codes of these annotations, which are TALE's, were not checked"] if of_tale else []
        fasta = _fasta_in(folder) or _fasta_in(folder.parent / _LOCALIZATION)
        return replace(found, notes=(*found.notes, *unchecked), fasta=fasta)

    return labelled


def _secondary_structure(data: Path) -> TaskLabels:
    names = ("sampled.fasta.gz", "sampled.fasta")
    folder = _folder(data, (_STRUCTURE,), names)
    return labelled_file(next(folder / name for name in names if (folder / name).exists()), RESIDUE)


_NAMED: dict[str, tuple[str, Callable[[Path], TaskLabels]]] = {
    "localization": ("DeepLoc 1.0: which of ten compartments a protein is in", _localization),
    "go-mf": ("Gene Ontology, molecular function: all terms of a protein", _go("mf")),
    "go-cc": ("Gene Ontology, cellular component: all terms of a protein", _go("cc")),
    "go-bp": ("Gene Ontology, biological process: all terms of a protein", _go("bp")),
    "secondary-structure": ("FLIP: helix, strand or coil of every residue", _secondary_structure),
}


def _folder(data: Path, names: tuple[str, ...], files: tuple[str, ...]) -> Path:
    """The folder that holds one of the files: `data` itself or one below it; raises ConfigError where none does."""
    places = [data, *(data / name for name in names)]
    for place in places:
        if any((place / file).exists() for file in files):
            return place
    raise ConfigError(f"{data}: {' or '.join(files)} is neither there nor in {' or '.join(names)} below it; --data "
                      "names that folder or the one above it", where="task")  # fmt: skip


def _fasta_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(str(path) for path in folder.glob("*.fasta")))
