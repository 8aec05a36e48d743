"""A store that does not answer is neither empty nor damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.store import retries
from protea_ray.store.location import open_location
from protea_ray.store.object_store_errors import (
    is_missing_table,
    is_outage,
    is_retryable,
    message,
    outage_as_store_error,
)
from protea_ray.store.tables import find_table, open_table
from protea_ray.store.verify import verify

# as Lance raises them: of a list, of a scan, of an object that is shorter than its footer says
REFUSED = ValueError(
    "LanceError(IO): Generic S3 error: Error performing list request: Error performing GET http://host/b in 380ms, "
    "after 3 retries, max_retries: 3, retry_timeout: 180s  - Server returned non-2xx status code: 503 Service "
    "Unavailable: <Error/>, /home/runner/work/lance/lance/rust/lance-io/src/object_store.rs:1:2"
)
BROKEN = pa.ArrowInvalid(f"External error: LanceError(IO): Generic N/A error: {REFUSED}")
SHORT = OSError(
    "LanceError(IO): Generic S3 error: Error performing GET http://host/b/t - Server returned non-2xx status code: 416"
)


def test_three_kinds_of_errors_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as none:
        lance.dataset(str(tmp_path / "none.lance"))

    assert is_missing_table(none.value) and not is_outage(none.value)
    assert is_outage(REFUSED) and not is_missing_table(REFUSED)
    assert is_outage(BROKEN)
    assert not is_outage(SHORT) and not is_missing_table(SHORT)
    assert is_retryable(REFUSED) and is_retryable(BROKEN)
    gone = ValueError(str(REFUSED).replace("503 Service Unavailable", "404 Not Found: NoSuchBucket"))
    assert is_outage(gone) and not is_retryable(gone) and not is_missing_table(gone)
    assert is_retryable(ValueError(str(REFUSED).replace("503 Service Unavailable", "429 Too Many Requests")))
    assert message(gone).endswith("; make the bucket, or correct its name or AWS_ENDPOINT_URL")
    vanished = OSError("LanceError(IO): Generic N/A error: Not found: s/proteins.lance/_versions/1.manifest")
    assert message(vanished).endswith("is still there, then run the same command again")
    assert not is_outage(TypeError(str(REFUSED)))


def refusing(times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The store refuses so many opens; returns a list that grows with each."""
    real, asked = lance.dataset, []
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0, 0.0, 0.0))

    def dataset(uri: str, **options: object) -> lance.LanceDataset:
        asked.append(uri)
        if len(asked) <= times:
            raise REFUSED
        return real(uri, **options)

    monkeypatch.setattr(lance, "dataset", dataset)
    return asked


def test_a_table_that_exists_is_never_taken_for_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError as the one of a missing table: its rows would be computed and stored again."""
    uri = str(tmp_path / "t.lance")
    lance.write_dataset(pa.table({"a": [1]}), uri)
    asked = refusing(3, monkeypatch)

    assert find_table(uri) is not None  # at the fourth attempt
    assert len(asked) == 4

    refusing(99, monkeypatch)
    with pytest.raises(StoreError, match=r"cannot be read.*503"):
        find_table(uri)
    with pytest.raises(StoreError, match=r"cannot be read.*503"):
        open_table(uri)


def test_a_missing_table_is_not_asked_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refusing(0, monkeypatch)

    assert find_table(str(tmp_path / "none.lance")) is None
    with pytest.raises(StoreError, match="does not exist"):
        open_table(str(tmp_path / "none.lance"))
    assert len(asked) == 2


def test_lances_own_error_becomes_ours_and_others_pass() -> None:
    with pytest.raises(StoreError, match=r"does not answer: .*503") as caught, outage_as_store_error():
        raise BROKEN
    assert "/home/runner" not in str(caught.value)
    with (
        pytest.raises(StoreError, match=r"cannot be read or written: .*416.*protea-ray verify"),
        outage_as_store_error(),
    ):
        raise SHORT


OUTAGES = [  # which of them another attempt may end
    (OSError("LanceError(IO): Generic MicrosoftAzure error: Error performing GET http://a in 2ms - HTTP error"), True),
    (ValueError("LanceError(IO): Generic GCS error: GCP credential error: Unable to open service account file"), True),
    (OSError("LanceError(IO): Generic RateLimited error: RateLimited (temporary) at read, context: { uri: .. }"), True),
    (OSError("LanceError(IO): Generic PermissionDenied error: PermissionDenied (permanent) at stat"), False),
    (OSError("LanceError(IO): The operation lacked the necessary privileges to complete for path b/t: 403"), False),
    (OSError("LanceError(IO): The operation lacked valid authentication credentials for path b/t: 401"), False),
    (OSError("LanceError(IO): Generic LocalFileSystem error: Unable to open file /s/t: .. (os error 13)"), False),
    (OSError("LanceError(IO): Generic LocalFileSystem error: Too many open files (os error 24)"), True),
    (pa.ArrowInvalid("External error: LanceError(IO): Stale file handle (os error 116)"), True),
]
DAMAGE = [
    pa.ArrowInvalid("External error: LanceError(IO): Generic N/A error: Not found: /s/t.lance/data/1, /rustc/4/a"),
    OSError("LanceError(IO): Object at location s/t.lance/_versions/1.manifest not found: No such file (os error 2)"),
    pa.ArrowInvalid("External error: LanceError(IO): Generic memory error: Invalid range 0..91 for object of size 10"),
    pa.ArrowInvalid("External error: Invalid user input: file does not appear to be a Lance file (invalid magic: [7])"),
    ValueError('LanceError(IO): does not have sufficient data, len: 4, bytes: b"junk"'),
    OSError("LanceError(IO): Request precondition failure for path s/t: Error performing PUT"),
    OSError("NotFound (permanent) at stat, context: { service: oss, path: t.lance }"),
]


@pytest.mark.parametrize(("error", "again"), OUTAGES)
def test_an_outage_has_many_forms(error: Exception, again: bool) -> None:
    assert is_outage(error) and is_retryable(error) is again
    with pytest.raises(StoreError, match="does not answer") as caught, outage_as_store_error():
        raise error
    assert "/rustc" not in str(caught.value)


@pytest.mark.parametrize("error", DAMAGE)
def test_what_is_gone_or_damaged_is_one_clean_error_and_no_outage(error: Exception) -> None:
    assert not is_outage(error)
    with pytest.raises(StoreError, match=r"cannot be read or written: .*verify") as caught, outage_as_store_error():
        raise error
    assert "/rustc" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Invalid user input: Schema error: No field named nope. Valid fields are a, b"),
        OSError(2, "No such file or directory", "/in/x.fasta"),
        RuntimeError("no such device"),
    ],
)
def test_other_mistakes_keep_their_own_error(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, outage_as_store_error():
        raise error
    assert caught.value is error


def test_a_table_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    """As Lance itself says it here: of a scan, of rows, of a count."""
    uri = tmp_path / "t.lance"
    table = lance.write_dataset(pa.table({"a": list(range(1000))}), str(uri))
    shutil.rmtree(uri)
    advice = "is still there, then run the same command again"
    for read in (table.to_table, lambda: table.take([1, 5]), lambda: table.count_rows("a > 3")):
        with pytest.raises(StoreError, match=advice), outage_as_store_error():
            read()


def test_verify_finds_no_damage_in_a_store_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair would take good rows out."""
    lance.write_dataset(pa.table({"key": [b"k"], "sequence": ["M"]}), str(tmp_path / "proteins.lance"))

    def refuse(*_: object, **__: object) -> None:
        raise BROKEN

    monkeypatch.setattr(lance.LanceDataset, "to_batches", refuse)
    with pytest.raises(StoreError, match="does not answer"):
        verify(open_location(tmp_path))
