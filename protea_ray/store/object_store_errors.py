"""Errors of a store that does not answer, told apart from those of one that is empty or damaged.

To Lance they are alike: a table that S3 refuses to list for a moment is a ValueError, as is one that does not exist,
and a scan that loses its connection fails as a scan of a damaged file does. Who took the one for the other would
count an existing table as empty and embed everything once more, or remove good rows in a repair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from protea_ray.errors import StoreError

# object_store's text for a request that its own retries did not save; 416 is what a truncated object answers
_UNANSWERED = re.compile(r"Generic (S3|GCS|MicrosoftAzure) error: (?!.*status code: 416)", re.DOTALL)
_FINAL = re.compile(r"status code: 4(?!08|29)\d\d")  # forbidden, or no such bucket; 408 and 429 ask to come back
_ADVICE = {
    "No space left on device": "free some space first",
    "NoSuchBucket": "make the bucket, or correct its name or AWS_ENDPOINT_URL",
    # a request for an object that was listed a moment before: S3's answer to it no longer names the bucket
    "error: Not found: ": "look whether the bucket or folder is still there, then run the same command again",
}
_MISSING = re.compile(r"^Dataset at path .* was not found", re.DOTALL)


def is_outage(error: BaseException) -> bool:
    """Whether an object store did not do what it was asked: nothing is known then of what it holds."""
    return isinstance(error, OSError | ValueError | RuntimeError | StoreError) and bool(_UNANSWERED.search(str(error)))


def is_retryable(error: BaseException) -> bool:
    """Whether to ask again: the store did not answer, and did not say that it never will."""
    return is_outage(error) and not _FINAL.search(str(error))


def is_missing_table(error: BaseException) -> bool:
    """Whether the store did answer, and there is no such table or version."""
    return bool(_MISSING.match(str(error)))


def not_answered(error: BaseException) -> StoreError:
    """The error to raise for one that `is_outage` recognises."""
    return StoreError(f"the store does not answer: {message(error)[:500]}. When it does, run the same command again.")


@contextmanager
def outage_as_store_error() -> Iterator[None]:
    """Raise StoreError instead of Lance's own errors when the store does not answer; anything else goes through."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if not is_outage(error):
            raise
        raise not_answered(error) from error


def message(error: BaseException) -> str:
    """Lance's message without the source lines of its build, and what helps where something does."""
    said = re.split(r",? ?/home/runner/|,? ?/root/\.cargo/", str(error))[0].strip().rstrip(",:")
    return "; ".join([said, *(advice for sign, advice in _ADVICE.items() if sign in said)])
