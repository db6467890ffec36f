"""The files of a few fragments made readable in a view, each one's hash checked before Lance sees a byte of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.digest import file_hash
from alluxio_lance.storage.views.folder import TABLE, View
from alluxio_lance.storage.views.joining import join

__all__ = ["Fault", "Preparation"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A file of this node cannot be used."""

    path: str
    why: str
    """In words."""
    wrong: bool = False
    """Whether its bytes are not those that were written."""


class Stopped(Exception):
    """Nobody waits for the rest of a hash any more."""


class Preparation:
    """Links, joins and checks files of one view.

    Parameters
    ----------
    view
        Where they are to be readable.
    prefix
        What stands before the paths of the line's files, see `Line`.
    above
        The folder in whose file system blocks are joined.
    blocks
        By path, the descriptors of a file.
    known
        What each file must be.
    checked
        The files whose hash was found right before, in this or another view; files that are joined stay out of it.
    """

    def __init__(
        self,
        view: View,
        prefix: str,
        above: Path,
        blocks: Mapping[str, tuple[int, ...]],
        known: Mapping[str, StoredFile],
        checked: set[str],
    ) -> None:
        self._view = view
        self._prefix = prefix
        self._above = above
        self._blocks = blocks
        self._known = known
        self._checked = checked
        self._joined: dict[str, IO[bytes]] = {}
        self._stopped = threading.Event()

    def prepare(self, paths: Iterable[str]) -> list[Fault]:
        """Make files readable, and return what is wrong with those that cannot be used."""
        return [fault for path in paths if (fault := self._prepare(path)) is not None]

    def _prepare(self, path: str) -> Fault | None:
        try:
            self._link(path)
            return None if path in self._checked else self._check(path)
        except (OSError, AlluxioLanceError) as error:
            return Fault(path, f"its blocks cannot be read on this node: {error}")

    def _link(self, path: str) -> None:
        blocks = self._blocks[path]
        if len(blocks) == 1:
            descriptor = blocks[0]
        else:
            self._joined[path] = join(blocks, self._above)
            descriptor = self._joined[path].fileno()
        self._view.link(self._named(path), descriptor)

    def _check(self, path: str) -> Fault | None:
        wanted = self._known[path]
        found = file_hash(self._view.root, TABLE, self._named(path), wanted.size, self._go_on)
        if found != wanted.hash:
            why = f"its bytes on this node hash to {found[:8]}…, not to {wanted.hash[:8]}…"
            return Fault(path, why, wrong=True)
        if len(self._blocks[path]) == 1:
            self._checked.add(path)
        return None

    def _go_on(self, _: int) -> None:
        if self._stopped.is_set():
            raise Stopped

    def _named(self, path: str) -> str:
        return path.removeprefix(self._prefix)

    def release(self, paths: Iterable[str]) -> None:
        """Let go of the joined ones among files: they take room on the disk."""
        for path in paths:
            if joined := self._joined.pop(path, None):
                joined.close()
                self._view.unlink(self._named(path))

    def stop(self) -> None:
        """End what another thread prepares at its next step."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of all."""
        self.release(list(self._joined))
