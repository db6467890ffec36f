"""Checks of the Alluxio in which the tables lie, where the settings name one."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alluxio_lance.cli.doctor.check import Check, failed, ok, warned
from alluxio_lance.cli.human import size
from alluxio_lance.errors import AlluxioLanceError

if TYPE_CHECKING:
    from alluxio_lance.files.address import AlluxioAddress
    from alluxio_lance.sidecar.settings import Settings
    from alluxio_lance.storage.alluxio.edition import Edition
    from alluxio_lance.storage.alluxio.probing import Tier

__all__ = ["alluxio", "edition_of", "mounted", "short_circuit", "sync_interval", "tier_of", "write_type"]

_SYNC: Final = "alluxio.user.file.metadata.sync.interval"
_ZERO: Final = frozenset({"0", "0s", "0sec", "0ms", "0second", "0seconds"})
_KEPT: Final = frozenset({"CACHE_THROUGH", "THROUGH"})
"""With these the under-store has a file before its write is acknowledged."""
_PATIENCE: Final = 5.0
_INSTEAD: Final = (
    "tables are read and written through the S3 service; `cache free` and archiving leave the cache to its own "
    "eviction; an object store is mounted in Alluxio's own configuration; use Alluxio 2.9 for the rest"
)


def alluxio(root: Path | None, store: str | None = None) -> Iterator[Check]:
    """Check the store that ``up`` would use with these options; nothing to say where it is a folder or the settings are wrong."""
    try:
        from alluxio_lance.files.address import AlluxioAddress  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.sidecar.settings import Settings  # noqa: PLC0415 - the base install has no server side
    except ModuleNotFoundError:
        return
    try:
        given: dict[str, Any] = {"root": root, "store": store}
        settings = Settings(**{key: value for key, value in given.items() if value is not None})
    except AlluxioLanceError:
        # The check of the settings has said it.
        return
    if not settings.store:
        return
    try:
        address = AlluxioAddress.parse(settings.store)
    except AlluxioLanceError as error:
        yield failed("Alluxio", error.message, "correct --store, ALLUXIO_LANCE_STORE or the key `store`")
        return
    yield from _checks(settings, address)


def _checks(settings: Settings, address: AlluxioAddress) -> Iterator[Check]:
    from alluxio_lance.storage.alluxio.edition import detect  # noqa: PLC0415 - the base install has no server side
    from alluxio_lance.storage.alluxio.probing import proxy_configuration, tier  # noqa: PLC0415 - as above

    if silent := _silence(address):
        yield silent
        return
    try:
        edition = detect(address)
        configuration = proxy_configuration(address)
    except AlluxioLanceError as error:
        yield failed("Alluxio", error.message, "start it (`alluxio-lance alluxio up`), or correct the address")
        return
    yield edition_of(edition, address)
    yield _commits(address)
    yield sync_interval(configuration)
    yield write_type(configuration)
    yield short_circuit(address)
    yield tier_of(tier(address, configuration))
    yield mounted()
    yield _disk(settings)


def _silence(address: AlluxioAddress) -> Check | None:
    """Check that somebody listens at the proxy's port."""
    try:
        socket.create_connection((address.host, address.proxy), _PATIENCE).close()
    except OSError as error:
        found = f"nobody answers at the proxy's port, {address.host}:{address.proxy} ({error.strerror or error})"
        return failed(
            "Alluxio",
            found,
            "see `alluxio-lance alluxio status`; start it (`alluxio-lance alluxio up`), or correct the address: the uri "
            "that these two print has the port, `proxy=`",
        )
    return None


def edition_of(found: Edition, address: AlluxioAddress) -> Check:
    """Say which Alluxio answers, and what it cannot do."""
    where = f"{found.version} at {address.host}:{address.proxy}, tables in {address.folder}"
    if found.lacks:
        return warned("Alluxio", f"{where}; this edition has no {', no '.join(found.lacks)}", _INSTEAD)
    return ok("Alluxio", where)


def _commits(address: AlluxioAddress) -> Check:
    from alluxio_lance.storage.alluxio.place import AlluxioPlace  # noqa: PLC0415 - the base install has no server side

    name, place = "commits", AlluxioPlace(address)
    try:
        if not place.namespace.exists(address.folder):
            return ok(name, f"locked by the catalog; {address.folder} is not there yet, and `up` makes it")
        honoured = place.honours_conditions()
    except AlluxioLanceError as error:
        return failed(name, error.message, "give this user the right to write below the folder")
    if honoured:
        return ok(name, "locked by the catalog; this endpoint honours If-None-Match as well")
    return ok(name, "locked by the catalog: this endpoint overwrites, so write with alluxio-lance only")


def sync_interval(configuration: Mapping[str, Any]) -> Check:
    """Check that the proxy looks at the under-store whenever it is asked for a file."""
    name, found = "metadata sync", configuration.get(_SYNC)
    if found is None:
        return warned(name, "the proxy does not tell its configuration", f"see that it has {_SYNC}=0")
    if str(found).strip().lower() in _ZERO:
        return ok(name, "the proxy always looks at the under-store")
    return failed(
        name,
        f"{_SYNC} of the proxy is {found}: a read of a file that was deleted below hangs for ever, and one that was "
        "written below is not seen",
        f"start the proxy with {_SYNC}=0",
    )


def write_type(configuration: Mapping[str, Any]) -> Check:
    """Check that the under-store has what the proxy acknowledges."""
    from alluxio_lance.storage.alluxio.probing import WRITE_TYPE  # noqa: PLC0415 - the base install has no server side

    name, found = "writes", configuration.get(WRITE_TYPE)
    if found is None:
        return warned(name, "the proxy does not tell its write type", f"see that it has {WRITE_TYPE}=CACHE_THROUGH")
    if str(found).strip().upper() in _KEPT:
        return ok(name, "acknowledged when the under-store has them")
    return failed(
        name,
        f"{WRITE_TYPE} of the proxy is {found}: what is written lies in the memory of a worker only, and no version is "
        "made of it",
        f"start the proxy with {WRITE_TYPE}=CACHE_THROUGH",
    )


def short_circuit(address: AlluxioAddress) -> Check:
    """Check whether block files can be read where a worker of this node keeps them."""
    from alluxio_lance.files.blocks import LocalBlocks, NotHere  # noqa: PLC0415 - the base install has no server side

    name = "short circuit"
    try:
        folders = LocalBlocks.find(address).folders
    except NotHere as reason:
        return warned(
            name,
            f"{reason}: all files come through the S3 service, some ten times slower",
            "run the sidecar beside a worker, as a user who may read its blocks; its web port is `worker=` in the address",
        )
    return ok(name, f"a worker here keeps its blocks in {', '.join(map(str, folders))}")


def tier_of(found: Tier | None) -> Check:
    """Check that there are workers that cache."""
    name = "cache"
    if found is None:
        return warned(
            name, "the web port of the master does not answer: its size is not known", "open that port to this node"
        )
    if not found.workers or not found.capacity_bytes:
        return failed(name, "no worker serves, and nothing can be read or written", "start a worker")
    workers = f"{found.workers} worker{'s' if found.workers > 1 else ''}"
    return ok(name, f"{size(found.used_bytes)} of {size(found.capacity_bytes)} used, {workers}")


def mounted() -> Check:
    """Check the FUSE mounts of this node."""
    from alluxio_lance.files.mounts import mounts  # noqa: PLC0415 - the base install has no server side

    name, found = "FUSE mounts", mounts()
    stale = [str(each.path) for each in found if each.is_stale]
    if stale:
        return warned(
            name,
            f"the process of {', '.join(stale)} was killed",
            f"alluxio-lance unmount {stale[0]}, or mount it again",
        )
    return ok(name, ", ".join(str(each.path) for each in found) or "none; only scripts that want files need one")


def _disk(settings: Settings) -> Check:
    from alluxio_lance.cli.doctor.places import folder  # noqa: PLC0415 - as above

    name = "disk tier"
    if not settings.disk_share:
        return warned(
            name, "off", "set ALLUXIO_LANCE_DISK_BUDGET to a size: what was hot is there again after a restart"
        )
    found = folder(name, settings.disk_folder, "set ALLUXIO_LANCE_DISK_DIR to a folder that this user can write")
    way = "mapped from its files" if settings.stream_from == "disk" else "copied from it into memory"
    return replace(found, found=f"{found.found}; windows are {way}") if found.status == "ok" else found
