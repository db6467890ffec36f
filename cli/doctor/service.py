"""The check of the sidecar of this node."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from alluxio_lance.address import Address
from alluxio_lance.cli.doctor.check import Check, failed, ok, warned
from alluxio_lance.cli.human import age, count, size
from alluxio_lance.errors import AlluxioLanceError, Unavailable

__all__ = ["service"]

_NAME: Final = "sidecar"
_PATIENCE: Final = 3.0
"""Seconds to wait for an answer."""


def service(address: str | None) -> Check:
    """Ask the sidecar for its statistics; that none runs is a failure only where one was named."""
    from alluxio_lance.client.cache import RemoteCache  # noqa: PLC0415 - gRPC loads only where it is used

    named = address or os.environ.get("ALLUXIO_LANCE_ADDRESS")
    try:
        found = Address.find(named)
        with RemoteCache.connect(found, timeout=_PATIENCE) as cache:
            statistics = cache.statistics()
    except Unavailable as error:
        say = failed if named else warned
        return say(_NAME, error.message.partition(" - ")[0], "alluxio-lance up")
    except AlluxioLanceError as error:
        return failed(_NAME, error.message, "correct --address or ALLUXIO_LANCE_ADDRESS")
    return ok(
        _NAME,
        f"process {statistics.pid} at {found.grpc}, started {age(statistics.started_at, datetime.now(UTC))}; "
        f"{count(len(statistics.versions))} version{'' if len(statistics.versions) == 1 else 's'} hot, {size(statistics.used_bytes)} of {size(statistics.budget_bytes)}",
    )
