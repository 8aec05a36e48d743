"""Reading a store from Python: `protea_ray.open_store(uri)`.

A `Store` holds a URI and nothing else: every call resolves the space and its version anew, so that a reader of
`current` sees one whole version each time. To read the same rows again later, take a `Pin` and give it in place of
the space's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.config.paths import as_texts, is_file
from protea_ray.errors import StoreError
from protea_ray.query import by_id, lookup
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.similar import Queries, SearchOptions, similar_to_new, similar_to_stored
from protea_ray.query.store_pictures import StorePictures
from protea_ray.query.stored_protein import matrix_of
from protea_ray.query.view import DESCRIBES, Pin, View, distinct, matching
from protea_ray.store.aliases import CURRENT, Alias, resolve
from protea_ray.store.location import PROTEINS_TABLE, Location, open_location
from protea_ray.store.object_store_errors import outage_as_store_error
from protea_ray.store.rows import LOGITS, RESIDUES
from protea_ray.store.tables import open_table

if TYPE_CHECKING:
    import ray.data
    import torch

    from protea_ray.query.drift import Drift
    from protea_ray.query.export import Exported
    from protea_ray.query.status import StoreStatus
    from protea_ray.query.training.label_table import LabelSource
    from protea_ray.query.training.labels import Labels
    from protea_ray.query.training.torch_dataset import TorchDataset
    from protea_ray.store.findings import Report


def open_store(uri: str | Path) -> Store:
    """Open a store for reading; raises StoreError when there is none."""
    location = open_location(uri)
    if is_file(str(uri)):
        raise StoreError(f"{uri} is a file, but a store is a directory or an s3:// or gs:// URI")
    if not location.tables():
        raise StoreError(f"there is no store at {location.uri}; `protea-ray embed INPUT {location.uri}` makes one")
    return Store(location)


class Store(StorePictures):
    """Queries over one store.

    `space` is a space's name, an alias, or a Pin; `current` is the alias of that name, or the only space there is.
    Every table that comes back carries in its metadata the pin at which it was read.
    """

    def __init__(self, location: Location) -> None:
        self.location = location

    def __repr__(self) -> str:
        """What the store holds now, in one line; the URI alone when it cannot be read."""
        try:
            with outage_as_store_error():
                return f"Store({by_id.described(self.location)})"
        except StoreError:
            return f"Store({self.uri!r})"

    def _repr_html_(self) -> str:
        """The status as tables, read now; the URI alone when the store cannot be read."""
        try:
            return self.status()._repr_html_()
        except StoreError:
            return escape(f"Store({self.uri!r})")

    def __bool__(self) -> bool:
        return True  # `if store:` asks whether there is one, and not for its length

    @outage_as_store_error()
    def __len__(self) -> int:
        """Protein records, as `status` counts them."""
        return by_id.count_records(self.location)

    def __iter__(self) -> Iterator[str]:
        """The id of every protein record, in row order; an id that has two sequences comes twice."""
        with outage_as_store_error():
            yield from by_id.record_ids(self.location)

    @outage_as_store_error()
    def __contains__(self, id: object) -> bool:
        """Whether a protein has this id or accession."""
        return by_id.has_id(self, id)

    @outage_as_store_error()
    def __getitem__(self, id: str) -> dict[str, Any]:
        """The protein `id` in the space `current`: a dict of id, key, length, description and NumPy vectors (D,).

        `id` may be an accession. In a chunked space vectors are (chunks, D). Raises StoreError for an id that is
        unknown or has no vector. Many proteins: `get` reads them in one pass.
        """
        return by_id.protein(self, id)

    @property
    def uri(self) -> str:
        """Normalised URI."""
        return self.location.uri

    @outage_as_store_error()
    def status(self) -> StoreStatus:
        """Tables, spaces, aliases, rejects by reason, last run."""
        from protea_ray.query.status import status

        return status(self.location)

    def verify(self, space: str | None = None) -> Report:
        """Read everything and say what is missing, doubled, damaged or left over; `ok` of the report is the verdict.

        `space` (a name or an alias) checks one space alone. Raises UnknownSpaceError.
        """
        from protea_ray.store.verify import verify

        return verify(self.location, None if space is None else resolve(self.location, space)[0])

    def drift(self, a: str, b: str, *, sample: int = 2_000, seed: int = 0, pooling: str | None = None) -> Drift:
        """How far two spaces (names or aliases) are apart: cosine and shared neighbours, by length.

        Raises ConfigError for a pooling that they do not share, UnknownSpaceError, and StoreError for less than three
        shared proteins.
        """
        from protea_ray.query.drift import drift

        return drift(self.location, a, b, sample=sample, seed=seed, pooling=pooling)

    @outage_as_store_error()
    def point(self, alias: str, space: str, *, version: int | None = None) -> Alias:
        """Move `alias` to a space, or to what another alias points to, atomically; `version` pins one [the latest].

        Needs no lease, so that readers can be moved back while a long run is writing. Raises UnknownSpaceError, and
        StoreError for an alias that is the name of a table.
        """
        from protea_ray.store.pointing import point

        return point(self.location, alias, space, version)

    @outage_as_store_error()
    def pin(self, space: str | Pin = CURRENT, version: int | None = None, *, keep: str | None = None) -> Pin:
        """What the other methods would read now; give it to them later to read the same.

        `keep` is the name of an alias that is made for the pin: without one, `upkeep` removes the versions in time.
        That writes one row to the store. Raises StoreError for an alias that points elsewhere, CommitError where the
        store may not be written.
        """
        pin = self.view(space, version).pin
        if keep is not None:
            from protea_ray.store.pins import keep_pin  # not for those who only read

            keep_pin(self.location, keep, (pin.space, pin.version, pin.proteins))
        return pin

    @outage_as_store_error()
    def view(self, space: str | Pin = CURRENT, version: int | None = None) -> View:
        """The tables themselves at one pin; raises UnknownSpaceError that lists what exists."""
        return View.open(self.location, space, version)

    @outage_as_store_error()
    def get(
        self,
        ids: Sequence[str] | str = (),
        *,
        keys: Sequence[bytes] = (),
        space: str | Pin = CURRENT,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        all_sequences: bool = False,
    ) -> pa.Table:
        """Proteins by id, then by key, with their vectors, in the order asked for.

        Columns are id, key, length, description and every pooled vector (plus chunk_start and chunk_end in a chunked
        space), or those named. An id is looked up as it stands, then by its accession. Of an id that has several
        sequences the newest with a vector is given, or with `all_sequences` every one; both are logged. What is
        unknown or has no vector in this space is left out and named by `missing(table)`. Raises StoreError for an
        accession that several stored ids share.
        """
        view = self.view(space, version)
        asked = [ids] if isinstance(ids, str) else list(ids)
        own, vectors = view.split_columns(columns)
        found = lookup.find_ids(view, asked)
        records = lookup.records_of(view, found, own)
        chosen = distinct(records if all_sequences else lookup.newest(view, records)).select(own)
        rows, _ = lookup.ordered(chosen, "id", [found.stored[id] for id in asked if id in found.stored])
        by_key, absent = lookup.ordered(distinct(view.records_by("key", list(keys), own)), "key", list(keys))
        records = pa.concat_tables([rows, by_key])
        joined, without = view.with_vectors(records, vectors)
        nameless = [key.hex() for key in absent if isinstance(key, bytes)]
        bare = records["id"].take(pa.array(without)).to_pylist()
        lookup.say(f"{id!r} is not in the store{why}" for id in found.unknown if (why := found.why_unknown(id)))
        return view.stamped(joined, [*found.unknown, *nameless], bare)

    @outage_as_store_error()
    def nearest(
        self,
        id: str,
        k: int = 10,
        *,
        space: str | Pin = CURRENT,
        pooling: str | None = None,
        where: str | None = None,
        version: int | None = None,
        approximate: bool = False,
    ) -> pa.Table:
        """The `k` proteins most similar to `id` by cosine: rank, id, similarity, length, description, n_ids, key.

        Exact, whether the space has a vector index or not, unless `approximate` allows the index (without `where`):
        then a neighbour may be missing, and every similarity is still that of the vectors. The query's own sequence
        is left out, and a protein counts once, by its best chunk. `where` is SQL
        over protein columns. `id` may be an accession; of several sequences under it the newest is the query, and an
        earlier one among the neighbours is logged. Raises StoreError for an id that is unknown or has no vector.
        """
        wanted = SearchOptions(k, pooling, where, approximate)
        return similar_to_stored(self.view(space, version), id, wanted)

    @outage_as_store_error()
    def search(
        self,
        queries: Queries | None = None,
        k: int = 10,
        *,
        fasta: str | Path | Sequence[str | Path] = (),
        space: str | Pin = CURRENT,
        pooling: str | None = None,
        where: str | None = None,
        version: int | None = None,
        approximate: bool = False,
        model: str | None = None,
        device: str = "auto",
    ) -> pa.Table:
        """The `k` proteins most similar to each query: query, then the columns of `nearest`.

        `queries` are letters, a list of them, {name: letters}, a vector (D,) or vectors (n, D); `fasta` are files with
        sequences, of any kind that `embed` reads. Sequences without a name are called query1, query2, ... New ones are
        embedded in this process by the space's own recipe and checkpoint, and nothing is written: the neighbours are
        those that `nearest` would give had the file been embedded into the store, and a query that is stored finds
        itself. `model` says where the checkpoint is now, if it was moved; `device` is auto, cpu or cuda. A record
        that is no protein is left out, logged, and named by `missing(table)["rejected"]`. Raises ConfigError,
        InputError when no query is left, StoreError for a space whose vectors were imported, and CheckpointError for
        another checkpoint than the one that was recorded.
        """
        wanted = SearchOptions(k, pooling, where, approximate)
        return similar_to_new(self.view(space, version), queries, as_texts(fasta), wanted, model, device)

    @outage_as_store_error()
    def to_arrow(
        self,
        *,
        columns: Sequence[str] | None = None,
        space: str | Pin = CURRENT,
        where: str | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Every protein that matches `where` (SQL over protein columns) with its vectors, in the proteins' order.

        An id that has several sequences comes once for each of them. In memory as a whole: 2.6 kB a protein for 1,280
        float16 values.
        """
        view = self.view(space, version)
        own, vectors = view.split_columns(columns)
        joined, without = view.with_vectors(records := distinct(view.records(where, own)), vectors)
        return view.stamped(joined, no_vector=records["id"].take(pa.array(without)).to_pylist())

    @outage_as_store_error()
    def where(self, sql: str | None = None, *, columns: Sequence[str] = DESCRIBES) -> pa.Table:
        """Protein records that match a SQL filter over their columns, without vectors, in row order."""
        return matching(open_table(self.location.table(PROTEINS_TABLE)), sql, columns)

    @outage_as_store_error()
    def residues(
        self, id: str, *, chunk: int = 0, space: str | Pin = CURRENT, version: int | None = None
    ) -> ResidueMatrix:
        """The residue-level matrix of a protein (or of its chunk number `chunk`), read by the crop.

        Of an id with several sequences it is that of the newest. Raises StoreError for an id without one, and for a
        space that keeps no residues.
        """
        return matrix_of(self.view(space, version), RESIDUES, "--pooling none", id, chunk)

    @outage_as_store_error()
    def logits(
        self, id: str, *, chunk: int = 0, space: str | Pin = CURRENT, version: int | None = None
    ) -> ResidueMatrix:
        """The language model's logits of a protein (or of its chunk), (residues, tokens), read by the crop.

        Column i is the checkpoint's token i, named by `.tokens[i]` (empty where the vocabulary has none). Raises
        StoreError as `residues`.
        """
        return matrix_of(self.view(space, version), LOGITS, "--outputs embeddings,logits", id, chunk)

    @outage_as_store_error()
    def dataset(
        self,
        space: str | Pin = CURRENT,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        version: int | None = None,
        labels: LabelSource | Labels | None = None,
        labels_where: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (),
    ) -> ray.data.Dataset:
        """A Ray Data data set: proteins and vectors joined by key, read in parallel by the fragment.

        `where` is SQL over protein columns; `columns` None reads id and every pooled vector. `labels` (a path of
        Parquet, CSV or TSV, an Arrow, pandas or polars table, or a dictionary, with a column `id`) keeps the labelled
        proteins only and adds their label columns. `labels_where` chooses rows of the labels, as in
        `{"split": "train"}`; columns in `classes` become numbers, the same for every such choice.
        """
        from protea_ray.query.training.labels import wanted_labels
        from protea_ray.query.training.ray_dataset import ray_dataset

        known = wanted_labels(labels, where=labels_where, classes=classes)
        return ray_dataset(self.view(space, version), columns, where, known)

    @outage_as_store_error()
    def torch(
        self,
        space: str | Pin = CURRENT,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        version: int | None = None,
        labels: LabelSource | Labels | None = None,
        labels_where: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (),
        residue_labels: Sequence[str] = (),
        dtype: str | torch.dtype | None = None,
        batch_size: int | None = None,
        token_budget: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> TorchDataset:
        """A PyTorch iterable data set of whole batches, the same at every reading of the same pin and seed.

        `columns`, `where`, `labels`, `labels_where` and `classes` as in `dataset`; the column `residues` gives padded
        matrices, in batches of similar length of at most `token_budget` residues. `residue_labels` are label columns
        with one letter or number for each residue, padded like the matrices with -100 (nan). `dtype` is that of
        floating numbers in the batches, "float32" for most layers; None leaves them as they are stored. Raises
        ConfigError that lists what cannot work.
        """
        from protea_ray.query.training.labels import wanted_labels
        from protea_ray.query.training.torch_dataset import torch_dataset

        known = wanted_labels(labels, where=labels_where, classes=classes, per_residue=residue_labels)
        return torch_dataset(
            self.view(space, version), columns, where, known, dtype, batch_size=batch_size, token_budget=token_budget,
            shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, drop_last=drop_last,
        )  # fmt: skip

    @outage_as_store_error()
    def export(
        self,
        path: str | Path,
        *,
        space: str | Pin = CURRENT,
        ids: Sequence[str] | None = None,
        where: str | None = None,
        pooling: str | None = None,
        float32: bool = False,
        version: int | None = None,
        labels: LabelSource | None = None,
    ) -> Exported:
        """Write proteins and vectors to a local file for other programs; its ending decides the format.

        See `protea_ray.query.export.export`, which lists the endings and says what each holds and what is raised.
        """
        from protea_ray.query.export import export  # not for readers who never export

        return export(
            self, path, space=space, ids=ids, where=where, pooling=pooling, float32=float32, version=version,
            labels=labels,
        )  # fmt: skip

    @outage_as_store_error()
    def rejects(self, *, space: str | None = None, reason: str | None = None) -> pa.Table:
        """What was rejected and is not stored: file, line, id, reason, detail, stage, space, and more columns.

        `space` leaves what has no vector there, `reason` one kind. Raises ConfigError for a reason that is none.
        """
        from protea_ray.query.rejected import rejects

        return rejects(self.location, space, reason)
