"""The split of a store's proteins, made once for a version and kept in the store's directory.

It is a Parquet file beside the tables, `clusters-<version>-<8 hex of its digest>.parquet`, with the columns key,
cluster and is_validation: no shipped table changes, and readers of Lance do not see it. The digest covers the keys in
order, the share, the seed and the rule, so another filter or seed makes another file. It goes through Lance's own
object store, and so takes the credentials that the tables take.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.errors import StoreError
from protea_ray.sequences.records import KEY
from protea_ray.sequences.words import SHARED_WORDS, WORD, WORD_IN_AT_MOST
from protea_ray.train.clusters import choose_validation, clusters_of
from protea_ray.train.proteins import Proteins

SCHEMA = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("cluster", pa.int64(), nullable=False),
        pa.field("is_validation", pa.bool_(), nullable=False),
    ]
)
_RULE = b"protea.split"  # metadata: what the digest is of
_log = logging.getLogger("protea_ray")


def split_stored(proteins: Proteins, share: float, seed: int) -> Proteins:
    """Clusters and validation of a store's proteins: read where they were made before, else made by Ray and kept.

    Raises StoreError for a file that is not this split, InputError when nothing would be left to validate with. A
    store that cannot be written gets a warning, and the split is made again the next time.
    """
    stored = _StoredSplit(proteins, share, seed)
    table = stored.read()
    if table is not None:
        return proteins.with_split(table["cluster"].to_numpy(), table["is_validation"].to_numpy())
    from protea_ray.train.cluster_job import relatives_by_ray

    cluster = clusters_of(len(proteins), relatives_by_ray(proteins))
    made = proteins.with_split(cluster, choose_validation(cluster, share, seed))
    stored.write(made)
    return made


@dataclass(frozen=True)
class _StoredSplit:
    """One split's file. `proteins` are of a store: their pin has a uri and a version."""

    proteins: Proteins
    share: float
    seed: int

    @property
    def rule(self) -> bytes:
        """Everything the split follows from, as JSON."""
        rule = {"keys": self.proteins.digest, "share": self.share, "seed": self.seed, "word": WORD,
                "shared_words": SHARED_WORDS, "word_in_at_most": WORD_IN_AT_MOST}  # fmt: skip
        return json.dumps(rule, sort_keys=True).encode()

    @property
    def name(self) -> str:
        """The file's name in the store."""
        return f"clusters-{self.proteins.pin['version']}-{hashlib.sha256(self.rule).hexdigest()[:8]}.parquet"

    def read(self) -> pa.Table | None:
        """The file's rows, None where there is no such file; raises StoreError when it is not this split."""
        from lance.file import LanceFileSession

        from protea_ray.store.object_store_errors import outage_as_store_error

        uri = self.proteins.pin["uri"]
        with tempfile.TemporaryDirectory() as scratch, outage_as_store_error():
            session, local = LanceFileSession(uri), Path(scratch) / self.name
            if not session.contains(self.name):
                return None
            session.download_file(self.name, str(local))
            try:
                table = pq.read_table(local)
            except pa.ArrowInvalid as error:
                raise self._wrong(str(error)) from error
        if (table.schema.metadata or {}).get(_RULE) != self.rule or not table.schema.equals(SCHEMA):
            raise self._wrong("it was made by another rule")
        if not table["key"].combine_chunks().equals(self.proteins.keys):
            raise self._wrong("it is of other proteins")
        return table

    def _wrong(self, reason: str) -> StoreError:
        path = f"{self.proteins.pin['uri']}/{self.name}"
        return StoreError(f"{path} is not the split of these proteins: {reason}. Remove it; it is made again")

    def write(self, made: Proteins) -> None:
        """Put the file into the store in one piece; warns where that is not possible."""
        from lance.file import LanceFileSession

        columns = [made.keys, pa.array(made.cluster), pa.array(made.split)]
        table = pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata({_RULE: self.rule}))
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(scratch) / self.name
            pq.write_table(table, local, compression="zstd")
            try:
                LanceFileSession(made.pin["uri"]).upload_file(str(local), self.name)
            except (OSError, RuntimeError, ValueError) as error:
                _log.warning("the split of %s is not kept there (%s): it is made again the next time",
                             made.pin["uri"], str(error)[:200])  # fmt: skip
