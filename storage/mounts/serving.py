"""The processes that serve mounts of one Alluxio, found by what they were started with, and ended with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.process import start_ticks
from alluxio_lance.storage.alluxio.cluster.nodes import Node, stop
from alluxio_lance.storage.mounts.manager import FuseMountManager

__all__ = ["end_mounts"]

_MAIN: Final = "alluxio.fuse.AlluxioFuse"
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class _Server:
    """A process that serves a mount."""

    node: Node
    place: Path


def end_mounts(port: int) -> list[Path]:
    """Take down all mounts of the Alluxio of this machine whose master has a port, before it stops.

    Stale mounts, whose process was killed, go too, whosever they were: nothing below them can be read any more.

    Returns
    -------
    list of Path
        Where Alluxio is mounted no longer.

    Raises
    ------
    Unavailable
        When one is in use; those before it are down.
    """
    manager, ended = FuseMountManager(port=port, logs=Path()), []
    for server in _servers(port):
        if any(each.path == server.place for each in manager.list()):
            manager.unmount(server.place)
            ended.append(server.place)
        # Unmounted, it ends by itself; one that has not mounted yet is told to.
        stop(server.node)
    for each in manager.list():
        if each.is_stale:
            # Another user's cannot be taken down from here; `alluxio-lance mount` lists it.
            with suppress(Unavailable):
                manager.unmount(each.path)
                ended.append(each.path)
    return ended


def _servers(port: int) -> Iterator[_Server]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):
            # A process of another user, or one that has just ended.
            if folder.stat().st_uid == os.geteuid():
                words = (folder / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
                started = start_ticks(int(folder.name))
                if started is not None and (place := _place(words, port)) is not None:
                    yield _Server(Node(int(folder.name), started), place)


def _place(words: list[str], port: int) -> Path | None:
    """Return where a process mounts; None when it is another program, or another Alluxio's."""
    if _MAIN not in words or f"-Dalluxio.master.rpc.port={port}" not in words:
        return None
    hosts = [word.rpartition("=")[2] for word in words if word.startswith("-Dalluxio.master.hostname=")]
    if not _HERE.issuperset(hosts) or "-m" not in words[:-1]:
        return None
    return Path(words[words.index("-m") + 1])
