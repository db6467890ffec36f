"""The block files of Alluxio's workers on this node, opened where they lie: reads that pass no server."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import requests

from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.information import ask
from alluxio_lance.files.namespace import FileStatus

__all__ = ["LocalBlocks", "NotHere"]

_PATIENCE: Final = 2.0
"""Seconds: the worker is on this node or not there."""
_RPC_PORT: Final = 19998
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""By default all users may make files in a worker's folder: neither a link nor a pipe is a block."""
_ROOT: Final = 0


class NotHere(Exception):
    """A file, or all of them, cannot be read from block files of this node; the text says why, for people.

    Parameters
    ----------
    why
        The text.
    damaged
        Whether a block is there and cannot be right: what the worker serves of it is wrong or nothing.
    """

    def __init__(self, why: str, *, damaged: bool = False) -> None:
        super().__init__(why)
        self.damaged = damaged


class LocalBlocks:
    """The folders in which workers of this node keep blocks. It may be pickled.

    Parameters
    ----------
    folders
        The folders that hold block files, named by their block's id.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)

    @classmethod
    def find(cls, address: AlluxioAddress) -> Self:
        """Ask the worker of this node, at its web port, where its blocks lie.

        Raises
        ------
        NotHere
            When no worker answers there, it belongs to another cluster, or its folders cannot be read by this user.
        """
        where, told = _ask(address)
        _check_cluster(where, told.get("configuration") or {}, address)
        tiers = told.get("tierPaths") or {}
        folders = [Path(path) for paths in tiers.values() for path in paths]
        if not folders:
            raise NotHere(f"the worker at {where} keeps no block files")
        readable = [folder for folder in folders if os.access(folder, os.X_OK, effective_ids=True)]
        if not readable:
            raise NotHere(f"{folders[0]}, where the worker at {where} keeps its blocks, {_closed(folders[0])}")
        return cls(readable)

    def open(self, file: FileStatus) -> list[int]:
        """Open all blocks of a file and return their descriptors, in the order of the bytes; the caller closes them.

        An open block stays readable when the worker drops it. Each has the size that it must have.

        Raises
        ------
        NotHere
            When a block is missing, of another size, or cannot be opened; then none is open.
        """
        count = len(file.blocks)
        if file.block_bytes <= 0 or count != -(-file.length // file.block_bytes):
            raise NotHere(f"Alluxio names {count} blocks for its {file.length} bytes: it is not written to its end")
        opened: list[int] = []
        try:
            for number, block in enumerate(file.blocks):
                size = min(file.block_bytes, file.length - number * file.block_bytes)
                opened.append(self._open(block, size, f"block {number + 1} of {count}"))
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def _open(self, block: int, size: int, name: str) -> int:
        found = None
        for folder in self.folders:
            try:
                descriptor = os.open(folder / str(block), _FLAGS)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise NotHere(f"{name} in {folder} cannot be opened: {error.strerror}") from None
            facts = os.fstat(descriptor)
            found = facts.st_size
            is_workers = stat.S_ISREG(facts.st_mode) and facts.st_uid in (folder.stat().st_uid, _ROOT)
            if is_workers and found == size:
                return descriptor
            os.close(descriptor)
            if not is_workers:
                raise NotHere(f"{name} in {folder} is no file of the worker: somebody else has put it there")
        if found is None:
            raise NotHere(f"{name} is not cached on this node")
        raise NotHere(f"{name} has {found} bytes on this node, not {size}", damaged=True)


def _ask(address: AlluxioAddress) -> tuple[str, Mapping[str, Any]]:
    """Return what a worker on this node says of itself, and where it said it."""
    for host in _names_of_this_node(address):
        where = f"{host}:{address.worker}"
        try:
            told = ask(host, address.worker, "worker", patience=_PATIENCE)
        except requests.RequestException:
            continue
        if told is not None:
            return where, told
    raise NotHere(f"no worker of Alluxio answers on this node, at port {address.worker}")


def _closed(folder: Path) -> str:
    try:
        folder.stat()
    except FileNotFoundError:
        return "is no folder of this node"
    except OSError as error:
        return f"cannot be entered by this user: {error.strerror}"
    return "cannot be entered by this user"


def _names_of_this_node(address: AlluxioAddress) -> Iterator[str]:
    # A worker listens on all of its node's addresses, unless it was given one.
    names = ["localhost", socket.gethostname()]
    if address.host not in names and _is_this_node(_resolve(address.host)):
        names.append(address.host)
    yield from names


def _check_cluster(where: str, configuration: Mapping[str, Any], address: AlluxioAddress) -> None:
    """Refuse a worker of another cluster: ids of blocks begin anew in each, so theirs name other files."""
    given = configuration.get("alluxio.master.rpc.addresses")
    port = configuration.get("alluxio.master.rpc.port") or _RPC_PORT
    masters = str(given).split(",") if given else [f"{configuration.get('alluxio.master.hostname')}:{port}"]
    wanted = _resolve(address.host)
    for master in masters:
        host, _, number = master.strip().rpartition(":")
        if number == str(address.master) and _is_same(_resolve(host), wanted):
            return
    raise NotHere(
        f"the worker at {where} belongs to the master {', '.join(masters)}, not to {address.host}:{address.master}"
    )


def _is_same(one: set[str], other: set[str]) -> bool:
    return bool(one & other) or (_is_this_node(one) and _is_this_node(other))


def _resolve(host: str) -> set[str]:
    with suppress(OSError, UnicodeError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    return set()


def _is_this_node(numbers: set[str]) -> bool:
    """Tell whether an address is of this node: only to such a one a socket can be bound."""
    for number in numbers:
        with suppress(OSError), socket.socket(socket.AF_INET6 if ":" in number else socket.AF_INET) as probe:
            probe.bind((number, 0))
            return True
    return False
