"""Lance's errors, which are texts, made ours: one table of patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from alluxio_lance.errors import (
    AlluxioLanceError,
    AlreadyExists,
    Conflict,
    Corrupt,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    Unavailable,
)

__all__ = ["lance_faults", "translate"]

_TABLE: Final[tuple[tuple[re.Pattern[str], type[AlluxioLanceError], str], ...]] = tuple(
    (re.compile(pattern), kind, sentence)
    for pattern, kind, sentence in (
        (
            r"No space left on device|os error 28\b|Disk quota exceeded|os error 122\b",
            NoSpace,
            "the disk is full, {where} was not written: free space, then try again",
        ),
        (
            r"Dataset already exists",
            AlreadyExists,
            "there is a table at {where} already: update it, or choose another name",
        ),
        (
            r"Retryable commit conflict|Incompatible transaction|preempted by concurrent|Too many concurrent writers",
            Conflict,
            "another writer changed {where} meanwhile: read the new state and try again ({text})",
        ),
        (
            r"Permission denied|os error 13\b|Read-only file system|os error 30\b",
            Unavailable,
            "{where} cannot be accessed: check the permissions of the folder ({text})",
        ),
        (
            r"Dataset at path .* was not found|\.manifest was not found|_versions(/\d+\.manifest)?, |Ref not found",
            NotFound,
            "there is no such table or version: {where} ({text})",
        ),
        (
            (
                r"Unsupported data type|cannot contain `\.`|reserved name|Duplicate field name|declared as non-nullable"
                r"|Ambiguous merge inserts|not yet implemented|not yet supported|Not supported|not supported|Ref is invalid"
            ),
            InvalidArgument,
            "{where} cannot hold these data: {text}",
        ),
        (
            r"Object at location .* not found|Not found: |No such file or directory|os error 2\b",
            Corrupt,
            "a file of {where} is missing: roll back to an earlier version ({text})",
        ),
        (
            (
                r"Encountered internal error|does not appear to be|invalid magic|[Cc]orrupt|checksum|failed to decode"
                r"|out of bounds|file size is too small|unexpected end|failed to fill whole buffer|Wanted range starting at"
            ),
            Corrupt,
            "a file of {where} cannot be read: roll back to an earlier version ({text})",
        ),
        (
            r"error sending request|Generic S3 error|after \d+ retries|operation timed out",
            Unavailable,
            "{where} cannot be reached now: see that the store is up, then try again ({text})",
        ),
    )
)
_SOURCE_LINE: Final = re.compile(r",? ?/\S+\.rs:\d+:\d+(, )?")
_LONGEST: Final = 300


def translate(error: BaseException, where: str) -> AlluxioLanceError:
    """Choose our error for one of Lance's; ``where`` names the table in the sentence."""
    raw = str(error)
    text = " ".join(_SOURCE_LINE.sub(" ", raw).split())
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
    for pattern, kind, sentence in _TABLE:
        if pattern.search(raw):
            details: dict[str, str | None] = {"expected": None, "found": None} if kind is Corrupt else {}
            details |= {"budget": None, "need": None} if kind is NoSpace else {}
            details |= {"what": where} if kind is Unavailable else {}
            return kind(sentence.format(where=where, text=text), **details)
    if isinstance(error, OSError):
        return Unavailable(f"{where} cannot be reached or written: {text}", what=where)
    return Internal(f"Lance failed on {where}: {text} - please report this")


@contextmanager
def lance_faults(where: str) -> Iterator[None]:
    """Turn what Lance raises within into our errors; our own pass through."""
    try:
        yield
    except AlluxioLanceError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, pa.ArrowException) as error:
        raise translate(error, where) from error
    except BaseException as error:
        # A panic of Rust code is no Exception; whatever it trips over are the bytes of a file.
        if type(error).__name__ != "PanicException":
            raise
        raise Corrupt(
            f"Lance gave up on {where}: {error}; roll back to an earlier version", expected=None, found=None
        ) from error
