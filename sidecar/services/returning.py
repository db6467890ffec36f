"""What a caller is told who wants an archived version: how far its restore is, or why it failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from alluxio_lance.errors import AlluxioLanceError, Internal, NotFound, Restoring, from_wire
from alluxio_lance.lifecycle.ports import Operation, OperationState
from alluxio_lance.sidecar.services.ports import Journal

__all__ = ["restoring"]


@contextmanager
def restoring(journal: Journal, waited_for: str) -> Iterator[None]:
    """Complete what `Restoring` says in the block with the numbers of the operation.

    Parameters
    ----------
    waited_for
        The operation that an earlier answer named, empty in a first call: when it has failed meanwhile the caller is
        told why, instead of that another one was begun.

    Raises
    ------
    Restoring
        With ``step``, ``bytes`` and ``total_bytes``, too.
    AlluxioLanceError
        Why the operation failed.
    """
    if waited_for:
        _raise_failure(journal, waited_for)
    try:
        yield
    except Restoring as error:
        progress = journal.operation(error.details["operation"]).progress if "operation" in error.details else None
        if progress is None:
            raise
        raise Restoring(
            error.message,
            **error.details,
            step=progress.step,
            bytes=progress.bytes,
            total_bytes=progress.total_bytes,
        ) from error


def _raise_failure(journal: Journal, id: str) -> None:
    try:
        operation = journal.operation(id)
    except NotFound:
        # A trace that is gone says nothing any more: ask anew.
        return
    failure = _failure(operation)
    if failure is not None:
        raise failure


def _failure(operation: Operation) -> AlluxioLanceError | None:
    """Return what an operation failed with; None when it did not, or when its process died, which the next one mends."""
    if operation.state is not OperationState.UNDONE or not operation.error:
        return None
    kind, _, message = operation.error.partition(": ")
    error = from_wire(json.dumps({"kind": kind, "message": message, "details": {}}).encode())
    return None if isinstance(error, Internal) and kind != "Internal" else error
