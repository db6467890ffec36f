"""The one tree of errors, grouped by what the caller can do next.

Every error carries a sentence (what is wrong, where, what to do) and, where it helps a program, ``details``: plain JSON
values that survive the wire. The table of codes below is the only place where an error meets a gRPC status, an HTTP
status or an exit code.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

__all__ = [
    "AlluxioLanceError",
    "AlreadyExists",
    "Conflict",
    "Corrupt",
    "Internal",
    "InvalidArgument",
    "InvalidURI",
    "Leased",
    "NoSpace",
    "NotActive",
    "NotFound",
    "PermissionDenied",
    "PolicyDenied",
    "Restoring",
    "Unavailable",
    "from_wire",
    "to_wire",
]


class AlluxioLanceError(Exception):
    """The root: catch this to catch everything that alluxio-lance raises on purpose.

    Parameters
    ----------
    message
        One sentence for a person: what, where, what to do.
    **details
        JSON values for a program, the same after a trip over gRPC.
    """

    grpc: ClassVar[str] = "INTERNAL"
    http: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the details, since DataLoader workers send their errors home that way."""
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(kind: type[AlluxioLanceError], message: str, details: dict[str, Any]) -> AlluxioLanceError:
    return kind(message, **details)


class InvalidURI(AlluxioLanceError):
    """The text is no ``alluxio://`` URI; raised with the place of the fault and the grammar. Correct the text."""

    grpc, http, exit_code = "INVALID_ARGUMENT", 400, 2


class InvalidArgument(AlluxioLanceError):
    """An argument has a wrong value; raised before anything was changed. Correct the call."""

    grpc, http, exit_code = "INVALID_ARGUMENT", 400, 2


class NotFound(AlluxioLanceError):
    """The resource, version, tag, column or file does not exist. Look with ``alluxio-lance list``."""

    grpc, http, exit_code = "NOT_FOUND", 404, 4


class AlreadyExists(AlluxioLanceError):
    """The name or version is taken. Update the resource, or choose another name."""

    grpc, http, exit_code = "ALREADY_EXISTS", 409, 5


class Conflict(AlluxioLanceError):
    """Another writer came first. Read the new state and try again."""

    grpc, http, exit_code = "ABORTED", 409, 5


class NotActive(AlluxioLanceError):
    """The resource has no active version, or the version asked for cannot be served. Activate one."""

    grpc, http, exit_code = "FAILED_PRECONDITION", 409, 3


class Restoring(AlluxioLanceError):
    """The version comes back from the cold tier; ``details["progress"]`` (0 to 1) says how far. Wait."""

    grpc, http, exit_code = "UNAVAILABLE", 503, 1


class Leased(AlluxioLanceError):
    """Readers hold the version; ``details["holders"]`` names them. End them, or wait."""

    grpc, http, exit_code = "FAILED_PRECONDITION", 409, 3


class PolicyDenied(AlluxioLanceError):
    """A gate or policy said no; ``details["report"]`` is its report. Mend what it names."""

    grpc, http, exit_code = "FAILED_PRECONDITION", 403, 3


class PermissionDenied(AlluxioLanceError):
    """The caller's role does not allow the verb. Ask someone whose role does."""

    grpc, http, exit_code = "PERMISSION_DENIED", 403, 3


class NoSpace(AlluxioLanceError):
    """It does not fit; ``details`` has ``budget`` and ``need`` in bytes. Evict, or raise the budget."""

    grpc, http, exit_code = "RESOURCE_EXHAUSTED", 507, 1


class Unavailable(AlluxioLanceError):
    """A part is down; ``details["what"]`` names it. Start it, then try again."""

    grpc, http, exit_code = "UNAVAILABLE", 503, 1


class Corrupt(AlluxioLanceError):
    """Bytes are not what was written; ``details`` has ``expected`` and ``found``. Restore or roll back."""

    grpc, http, exit_code = "DATA_LOSS", 500, 1


class Internal(AlluxioLanceError):
    """A fault of alluxio-lance itself. Please report it, with the text."""


_KINDS: Final[dict[str, type[AlluxioLanceError]]] = {
    kind.__name__: kind
    for kind in (
        InvalidURI,
        InvalidArgument,
        NotFound,
        AlreadyExists,
        Conflict,
        NotActive,
        Restoring,
        Leased,
        PolicyDenied,
        PermissionDenied,
        NoSpace,
        Unavailable,
        Corrupt,
        Internal,
    )
}


def to_wire(error: BaseException) -> bytes:
    """Write an error as JSON bytes: ``{"kind", "message", "details"}``; a foreign exception becomes `Internal`."""
    if not isinstance(error, AlluxioLanceError):
        error = Internal(f"{type(error).__name__}: {error} - this is a fault of alluxio-lance, please report it")
    record = {"kind": type(error).__name__, "message": error.message, "details": error.details}
    return json.dumps(record, default=str).encode()


def from_wire(data: bytes) -> AlluxioLanceError:
    """Read what `to_wire` wrote; a kind that this version does not know becomes `Internal` with the same sentence."""
    record = json.loads(data)
    kind = _KINDS.get(record["kind"], Internal)
    return kind(record["message"], **record["details"])
