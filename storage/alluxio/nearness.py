"""Which files of a table this node can read from block files of its own worker, and how large files should be for that."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

import requests

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.blocks import LocalBlocks, NotHere
from alluxio_lance.files.information import ask
from alluxio_lance.files.namespace import FileStatus, Namespace
from alluxio_lance.files.reasons import reason
from alluxio_lance.storage.place import Near
from alluxio_lance.ways import Way

__all__ = ["Looking", "block_bytes"]

_TIMEOUT: Final = 10.0
_BLOCK: Final = "alluxio.user.block.size.bytes.default"
_DEFAULT_BLOCK: Final = "64MB"
_SIZE: Final = re.compile(r"(?P<count>\d+)\s*(?P<unit>[KMGT]?)B?", re.IGNORECASE)
_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Looking:
    """Asks for the blocks on this node of a table's files, from the beginning on: every load of a version waits for it.

    Parameters
    ----------
    folder
        Where the table lies in the namespace.
    first
        The folder in it in which most files will be.
    """

    def __init__(self, address: AlluxioAddress, namespace: Namespace, folder: str, first: str) -> None:
        self._namespace = namespace
        self._folder = folder
        # Both at once, while the caller does something else.
        pool = ThreadPoolExecutor(2, "alluxio-lance-look")
        self._blocks = pool.submit(LocalBlocks.find, address)
        self._listed = {first: pool.submit(self._list, first)}
        # What they do goes on; nobody waits for what is not asked for.
        pool.shutdown(wait=False)

    def __call__(self, paths: Iterable[str]) -> dict[str, Near]:
        """Open the block files of files, as far as they lie on this node.

        Returns
        -------
        dict
            By path. Who asked closes the descriptors.

        Raises
        ------
        Unavailable
            When Alluxio does not answer.
        """
        wanted = list(paths)
        statuses = self._statuses(wanted)
        try:
            blocks = self._blocks.result()
        except NotHere as reason:
            return {path: _far(statuses.get(path), str(reason)) for path in wanted}
        spare = _spare_descriptors()
        found = {}
        for path in wanted:
            found[path] = _near(blocks, statuses.get(path), spare)
            spare -= len(found[path].blocks)
        return found

    def _statuses(self, paths: Iterable[str]) -> dict[str, FileStatus]:
        """Look at the files with one listing per folder: one call per file would take longer than to read it."""
        found: dict[str, FileStatus] = {}
        for top in sorted({_top(PurePosixPath(path).parent) for path in paths}):
            found |= self._listed[top].result() if top in self._listed else self._list(top)
        return found

    def _list(self, top: str) -> dict[str, FileStatus]:
        with suppress(NotFound):
            listed = self._namespace.list(f"{self._folder}/{top}", recursive=True)
            return {status.path.removeprefix(f"{self._folder}/"): status for status in listed}
        return {}


def _top(parent: PurePosixPath) -> str:
    """Return the folder to list: side files of blobs have one each, within that of the data files."""
    return str(parent.parent if parent.parent.name == "data" else parent)


def _near(blocks: LocalBlocks, status: FileStatus | None, spare: int) -> Near:
    if status is None:
        return _far(None, "Alluxio does not list it")
    count = len(status.blocks)
    if count > spare:
        return _far(status, "this process may not open more files: raise the limit (`ulimit -n`)")
    if not count:
        return _far(status, "it is empty")
    try:
        opened = blocks.open(status)
    except NotHere as reason:
        return _far(status, str(reason), damaged=reason.damaged)
    where = f"in {blocks.folders[0]} of this node's worker"
    return Near(
        way=Way.SHORT_CIRCUIT if count == 1 else Way.JOINED,
        why=f"its block lies {where}" if count == 1 else f"its {count} blocks lie {where}",
        cached_percent=status.cached_percent,
        blocks=tuple(opened),
    )


def _far(status: FileStatus | None, why: str, *, damaged: bool = False) -> Near:
    percent = None if status is None else status.cached_percent
    return Near(way=Way.ENDPOINT, why=why, cached_percent=percent, damaged=damaged)


def _spare_descriptors() -> int:
    """Return how many files may be opened such that as many are left for everything else in the process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1 << 20
    return max(0, (limit - sum(1 for _ in Path("/proc/self/fd").iterdir())) // 2)


def block_bytes(address: AlluxioAddress) -> int:
    """Ask the proxy how large the blocks of files are that it writes.

    Raises
    ------
    Unavailable
        When it does not answer.
    """
    where = f"the proxy of Alluxio at {address.host}:{address.proxy}"
    try:
        told, why = ask(address.host, address.proxy, "proxy", patience=_TIMEOUT), "what answers is no Alluxio"
    except requests.RequestException as error:
        told, why = None, reason(error)
    if told is None:
        raise Unavailable(
            f"{where} does not say how large its blocks are ({why}): is it up? See `alluxio-lance alluxio status`",
            what="alluxio",
        )
    said = (told.get("configuration") or {}).get(_BLOCK)
    parts = _SIZE.fullmatch(str(said or _DEFAULT_BLOCK))
    if parts is None:
        raise Unavailable(
            f"{where} says {said!r} of {_BLOCK}, which is no size: set it to bytes, such as 67108864",
            what="alluxio",
        )
    return int(parts["count"]) << _UNITS[parts["unit"].upper()]
