"""Outages (an object store that did not answer), told apart from missing and from damaged tables.

To Lance they are alike: a table that S3 refuses to list for a moment is a ValueError, as is one that does not exist,
and a scan that loses its connection fails as a scan of a damaged file does. Code that took an outage for a missing
table would embed everything once more; code that took it for damage would remove good rows in a repair.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from protea_ray.errors import StoreError

# What object_store (S3, GCS, Azure, HTTP) and opendal (by its kinds of errors) say when a request and its own retries
# failed, or was not allowed; 416 is the answer for a truncated object. Numbers are those of the operating system for a
# file system that is not allowed, out of handles, over quota, or gone from the network.
_OUTAGE = re.compile(
    r"Generic (S3|GCS|MicrosoftAzure|HTTP|Unexpected|RateLimited|PermissionDenied|ConfigInvalid) error: "
    r"(?!.*status code: 416)"
    r"|The operation lacked (the necessary privileges|valid authentication credentials)"
    r"|\(os error (13|23|24|107|110|111|112|113|116|122)\)",
    re.DOTALL,
)
# forbidden, or no such bucket; 408 and 429 ask for another attempt
_FINAL = re.compile(
    r"status code: 4(?!08|29)\d\d|The operation lacked|\(os error (13|122)\)|Generic (PermissionD|ConfigI)"
)
# every text of a failed read or write; a wrong filter or column (`Invalid user input`) is none
_FAILED = re.compile(
    r"LanceError\(IO\)|Generic [A-Za-z/]+ error: |Object at location |Not found: |Request precondition failure for path"
    r"|does not appear to be a Lance file|\((permanent|temporary|persistent)\) at "
)
_ADVICE = {
    "No space left on device": "free some space first",
    "NoSuchBucket": "make the bucket, or correct its name or AWS_ENDPOINT_URL",
    # a request for an object that was listed a moment before: S3's answer to it no longer names the bucket
    "error: Not found: ": "look whether the bucket or folder is still there, then run the same command again",
}
_MISSING = re.compile(r"^Dataset at path .* was not found", re.DOTALL)


def is_outage(error: BaseException) -> bool:
    """Whether an object store did not answer, or answered that it would not: what it holds is then unknown."""
    return isinstance(error, OSError | ValueError | RuntimeError | StoreError) and bool(_OUTAGE.search(str(error)))


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed: it is an outage, and not one that lasts, such as a missing bucket."""
    return is_outage(error) and not _FINAL.search(str(error))


def is_panic(error: BaseException) -> bool:
    """Whether Lance's own code gave up in the middle, which some damaged files make it do; it is no Exception."""
    return type(error).__name__ == "PanicException"


def raise_unless_damage(error: BaseException) -> None:
    """Raise `error` again if it is an interrupt, a lack of memory or an outage; all else is damage."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError) or is_outage(error):
        raise error


def is_missing_table(error: BaseException) -> bool:
    """Whether the store answered that there is no such table or version."""
    return bool(_MISSING.match(str(error)))


def is_store_failure(error: BaseException) -> bool:
    """Whether Lance could not read or write: an outage, a file that is gone or damaged. A wrong query is none."""
    return (
        is_outage(error)
        or is_panic(error)
        or (isinstance(error, OSError | ValueError | RuntimeError) and bool(_FAILED.search(str(error))))
    )


def store_failure(error: BaseException) -> StoreError:
    """Make the StoreError to raise for an outage, and for a table that cannot be read or written."""
    if is_outage(error):
        return StoreError(
            f"the store does not answer: {message(error)[:500]}. When it does, run the same command again."
        )
    return StoreError(
        f"the store cannot be read or written: {message(error)[:500]}. `protea-ray verify` says what is damaged."
    )


@contextmanager
def outage_as_store_error() -> Generator[None]:
    """Turn Lance's own errors of a store into StoreError; all other errors are raised unchanged."""
    try:
        yield
    except BaseException as error:
        if not is_store_failure(error):
            raise
        raise store_failure(error) from error


def message(error: BaseException) -> str:
    """Lance's message without the source lines of its build, followed by what to do, where that is known."""
    said = re.split(r",? ?/(home/runner|root/\.cargo|rustc)/", str(error))[0].strip().rstrip(",:")
    return "; ".join([said, *(advice for sign, advice in _ADVICE.items() if sign in said)])
