"""How commits to the store are kept apart, said once when a sidecar starts."""

from __future__ import annotations

import structlog

from alluxio_lance.errors import AlluxioLanceError

__all__ = ["log_commits"]

_log = structlog.get_logger(__name__)


def log_commits(store: str) -> str:
    """Find out whether the store's endpoint lets one commit overwrite another, and log it; a folder needs no word.

    Either way writers hold the catalog's lock, so that a store which does not answer just now stops no start.

    Returns
    -------
    str
        Why the store does not answer; empty when it does.
    """
    if not store:
        return ""
    from alluxio_lance.files.address import AlluxioAddress  # noqa: PLC0415 - only who has one pays for its client
    from alluxio_lance.storage.alluxio.place import AlluxioPlace  # noqa: PLC0415 - as above
    from alluxio_lance.storage.alluxio.probing import proxy_configuration  # noqa: PLC0415 - as above

    try:
        # Asked once, without patience: a start does not wait for a store that is down.
        proxy_configuration(AlluxioAddress.parse(store))
        honoured = AlluxioPlace.open(store).honours_conditions()
    except AlluxioLanceError as error:
        _log.warning("commits are locked by the catalog; what this endpoint does is not known", why=error.message)
        return error.message
    if honoured:
        _log.info("commits are locked by the catalog; this endpoint would also refuse the second of two")
    else:
        _log.info("commits are locked by the catalog: this endpoint overwrites")
    return ""
