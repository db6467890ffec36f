"""What can be found out about an Alluxio by asking and trying: how it treats commits, and how it is configured and filled."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import obstore
import requests
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.information import ask
from alluxio_lance.files.namespace import Namespace

__all__ = ["WRITE_TYPE", "Tier", "honours_conditions", "proxy_configuration", "tier"]

WRITE_TYPE: Final = "alluxio.proxy.s3.writetype"
"""The property of the proxy that says when a write through its S3 service is acknowledged: whatever clients default to."""
_SCRATCH: Final = ".alluxio-lance-probe"
"""The folder, below the store's, of the probe's object; it is there for as long as the probe takes."""
_OLD: Final = 3600.0
"""Seconds after which a probe's object was left by somebody who is dead."""
_PATIENCE: Final = 5.0


def honours_conditions(store: S3Store, namespace: Namespace, folder: str) -> bool:
    """Find out whether an endpoint refuses to create an object that is there, which is how Lance keeps commits apart.

    A small object is created twice, and removed. What a probe that was killed has left is removed by a later one.

    Parameters
    ----------
    store
        The endpoint, below ``folder``.
    folder
        Where it lies in the namespace; it must be there.

    Raises
    ------
    Unavailable
        When the endpoint does not take the object at all.
    """
    # The moment stands in the name: what the service tells of the time of an object is in its own zone.
    key = f"{_SCRATCH}/{time.time():.0f}-{secrets.token_hex(8)}"
    try:
        obstore.put(store, key, b"1", mode="create")
        return not _overwrites(store, key)
    except (BaseError, OSError) as error:
        # The client has classes of its own for some answers only: one that finds nothing is the built-in one.
        raise Unavailable(
            f"the S3 service of Alluxio does not take an object of one byte ({str(error).strip().splitlines()[0]}): "
            "see `alluxio-lance alluxio status`, and the log of the proxy",
            what="alluxio",
        ) from error
    finally:
        namespace.remove(f"{folder}/{key}")
        _clear(namespace, f"{folder}/{_SCRATCH}")


def _overwrites(store: S3Store, key: str) -> bool:
    try:
        obstore.put(store, key, b"2", mode="create")
    except (AlreadyExistsError, PreconditionError):
        return False
    return True


def _clear(namespace: Namespace, scratch: str) -> None:
    """Remove what the dead have left, and the folder, unless another probe is on its way in it."""
    with suppress(NotFound):
        for each in namespace.list(scratch):
            since = each.path.rpartition("/")[2].partition("-")[0]
            if since.isdecimal() and time.time() - int(since) > _OLD:
                namespace.remove(each.path)
    namespace.remove_empty(scratch)


def proxy_configuration(address: AlluxioAddress) -> Mapping[str, Any]:
    """Return the properties of the proxy; empty where it does not tell them.

    Raises
    ------
    Unavailable
        When it does not answer.
    """
    told = _ask(address.host, address.proxy, "proxy")
    if told is None:
        raise Unavailable(f"the proxy of Alluxio at {address.host}:{address.proxy} does not answer", what="alluxio")
    found = told.get("configuration")
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The cache of all workers together, in bytes."""

    workers: int
    capacity_bytes: int
    used_bytes: int


def tier(address: AlluxioAddress, configuration: Mapping[str, Any]) -> Tier | None:
    """Ask the master for the cache of all workers; None when its web port does not answer.

    Parameters
    ----------
    configuration
        The proxy's, which names that port.
    """
    told = _ask(address.host, int(configuration.get("alluxio.master.web.port") or 19999), "master")
    if told is None:
        return None
    active = [worker for worker in told.get("workers") or () if worker.get("state") == "ACTIVE"]
    capacity = told.get("capacity") or {}
    return Tier(
        workers=len(active),
        capacity_bytes=int(capacity.get("total", 0)),
        used_bytes=int(capacity.get("used", 0)),
    )


def _ask(host: str, port: int, name: str) -> dict[str, Any] | None:
    with suppress(requests.RequestException):
        return ask(host, port, name, patience=_PATIENCE)
    return None
