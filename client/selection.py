"""The rows of an open version that a filter selects, as the sidecar finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alluxio_lance.address import Address
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from alluxio_lance.client.streamed import StreamedVersion

__all__ = ["selected_rows"]


def selected_rows(opened: Table | StreamedVersion, filter: str, *, timeout: float = 10.0) -> npt.NDArray[np.int64]:
    """Number the rows of an open version for which an SQL expression is true.

    The sidecar evaluates the expression, on exactly the version that is open, and remembers the answer for a while.
    Like opening, this speaks gRPC and lets go of it before it returns: not for workers of a DataLoader.

    Parameters
    ----------
    opened
        The version, in memory or streamed; for this nothing of it is loaded. All of its columns may be asked about, also
        those that were not opened.
    filter
        Such as ``label = 3 AND split IN ('train', 'extra')``; docs/views.md has the whole language.
    timeout
        Seconds to wait for the sidecar to answer at all; the evaluation takes as long as it takes.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending, int64.

    Raises
    ------
    InvalidArgument
        When the expression is none that may be evaluated, or does not fit the columns; the message says why.
    NotFound
        When the lease has ended, such as after a restart of the sidecar: open the version again.
    Unavailable
        When no sidecar answers, or the version was closed.
    """
    # Brings gRPC, which processes that only read never load.
    from alluxio_lance.client.channel import Channel  # noqa: PLC0415
    from alluxio_lance.v1 import selection_pb2 as pb  # noqa: PLC0415

    address, token = _held(opened)
    with Channel.connect(address, timeout) as channel, channel.speaking() as stubs:
        try:
            request = pb.SelectRequest(lease=token, filter=filter)
        except TypeError as error:
            raise InvalidArgument(f"a filter is an expression in SQL, such as label = 3, and not {filter!r}") from error
        answers = stubs.selection.Select(request)
        parts = [np.frombuffer(answer.rows, "<u8") for answer in answers]
    return np.concatenate([np.empty(0, np.uint64), *parts]).astype(np.int64)


def _held(opened: Table | StreamedVersion) -> tuple[Address, str]:
    """Say where the sidecar is, and the lease."""
    lease = opened.lease if isinstance(opened, Table) else opened
    if lease.closed:
        raise Unavailable(f"{opened.layout.uri} was closed - open it again", what="lease")
    return lease.address, lease.token
