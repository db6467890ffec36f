"""A version's way to the cold tier: cloned by Lance, or copied from behind an endpoint, and verified by reading the copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lance

from alluxio_lance.errors import Corrupt, NotFound
from alluxio_lance.lifecycle.ports import ColdCopy, StoredFile, Write
from alluxio_lance.storage.coldcopy import CopyList, differs
from alluxio_lance.storage.digest import file_hash
from alluxio_lance.storage.encoding import user_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.inventory import MANIFESTS, Inventory
from alluxio_lance.storage.metering import Meter
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.rebasing import without_bases
from alluxio_lance.ways import Way

__all__ = ["archive"]


def archive(
    hot: Place, cold: Place, location: str, version: int, target: str, known: Mapping[str, StoredFile], write: Write
) -> ColdCopy:
    """Copy a version to the cold tier and verify the copy.

    Killed at any point it leaves a copy without a list, which the next call replaces. A whole copy is kept when every
    file of it is right, and else made anew.

    Raises
    ------
    NotFound
        When the version does not exist.
    Corrupt
        When the copy, or the original, is not what the catalog knows.
    Unavailable
        When the cold tier does not answer.
    """
    stock = Inventory.take(hot, location)
    if version not in stock.needs:
        raise NotFound(f"version {version} of {hot.address(location).uri} does not exist; it may have been deleted")
    wanted = CopyList.of(hot, stock, version, known)
    if not _is_kept(cold, target, wanted, write):
        table = open_version(hot, location, version)
        cold.drop(target)
        # Lance says nothing while it copies.
        Meter(write, "copy", wanted.num_bytes).count(0)
        if hot.way() is Way.LOCAL:
            _clone(cold, table, target)
        else:
            _copy(hot, cold, stock.line.root, wanted, target)
        _verify(hot, stock.line.root, cold, table, target, wanted, write)
        for file in wanted.files:
            if not file.is_content:
                cold.put(target, file.copy, hot.chunks(stock.line.root, file.path))
        cold.harden(target, cold.files(target))
        wanted.write(cold, target)
    return ColdCopy(location=target, num_bytes=sum(cold.files(target).values()))


def _is_kept(cold: Place, target: str, wanted: CopyList, write: Write) -> bool:
    """Tell whether there is a whole copy of just these files already."""
    try:
        listed = CopyList.read(cold, target)
    except (NotFound, Corrupt):
        return False
    meter = Meter(write, "verify", wanted.num_bytes)
    return listed == wanted and wanted.fault(cold, target, meter.count, originals=True) is None


def _clone(cold: Place, table: lance.LanceDataset, target: str) -> None:
    address = cold.address(target)
    with lance_faults(address.uri):
        table.deep_clone(address.uri, int(table.version), storage_options=dict(address.storage_options) or None)


def _copy(hot: Place, cold: Place, root: str, wanted: CopyList, target: str) -> None:
    """Copy a version from behind an endpoint, file by file, with our own client.

    Lance's clone (14.0) tries again for many minutes when the endpoint does not answer, and takes the address of the main
    table, by which a branch names files there, for a path in the store.
    """
    for file in wanted.files:
        if file.is_content:
            cold.put(target, file.copy, hot.chunks(root, file.path))
            continue
        folder, _, name = file.path.rpartition("/")
        if file.is_manifest:
            # The last one of the list: what it names is there.
            data = b"".join(hot.chunks(root, file.path))
            cold.put(target, f"{MANIFESTS}{name}", [without_bases(data, f"{hot.address(root).uri}/{file.path}")])
        elif folder.endswith("_transactions"):
            cold.put(target, f"_transactions/{name}", hot.chunks(root, file.path))


def _verify(
    hot: Place, root: str, cold: Place, table: lance.LanceDataset, target: str, wanted: CopyList, write: Write
) -> None:
    """Compare rows, schema and the hash of each file of the clone with what the catalog knows."""
    what = f"the copy {cold.address(target).uri}"
    clone = open_version(cold, target, int(table.version))
    with lance_faults(what):
        found = int(clone.count_rows()), _schema(clone)
    with lance_faults(str(table.uri)):
        expected = int(table.count_rows()), _schema(table)
    if found[0] != expected[0]:
        raise differs(what, f"{expected[0]} rows", f"{found[0]} rows")
    if not found[1].equals(expected[1], check_metadata=True):
        raise differs(what, str(expected[1]), str(found[1]))
    meter = Meter(write, "verify", wanted.num_bytes)
    fault = wanted.fault(cold, target, meter.count, originals=False)
    if fault is not None:
        _blame_original(hot, root, wanted)
        raise fault


def _blame_original(hot: Place, root: str, wanted: CopyList) -> None:
    """Raise when it is the original that is bad."""
    sizes = hot.files(root)
    for file in wanted.files:
        found = file_hash(hot, root, file.path, sizes[file.path], lambda _: None)
        if found != file.hash:
            raise Corrupt(
                f"the file {file.path} of {hot.address(root).uri} is not what was registered: "
                "roll back to an earlier version",
                expected=file.hash,
                found=found,
            )


def _schema(table: lance.LanceDataset) -> Any:
    return user_schema(table.scanner(blob_handling="all_binary").projected_schema)
