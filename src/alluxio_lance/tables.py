"""The handle that `get_resource` returns: a version's facts, and the way to plain Lance for people who want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from alluxio_lance.values import State, Version

__all__ = ["LanceTable"]


class LanceTable:
    """One version of a dataset, pinned: later updates do not change what this handle shows."""

    def __init__(
        self,
        version: Version,
        open_lance: Callable[[Version], Any],
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self._version = version
        self._open_lance = open_lance
        self._storage_options = dict(storage_options or {})

    @property
    def info(self) -> Version:
        """Everything the catalog knows about the version."""
        return self._version

    @property
    def uri(self) -> str:
        """The URI of exactly this version."""
        return self._version.uri

    @property
    def version(self) -> int:
        """The version number of the Lance table."""
        return self._version.version

    @property
    def semver(self) -> str:
        """The semantic version."""
        return self._version.semver

    @property
    def content_hash(self) -> str:
        """BLAKE3 of schema and data files, 64 hexadecimal digits."""
        return self._version.content_hash

    @property
    def state(self) -> State:
        """Where the version stood in its life when this handle was made."""
        return self._version.state

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.ipc.read_schema(pa.py_buffer(self._version.schema))

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return self._version.num_rows

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that came with the version."""
        return dict(self._version.metadata)

    @property
    def storage_options(self) -> dict[str, str]:
        """What ``lance.dataset`` needs beside the location, for who opens the table by hand; empty for a folder."""
        return dict(self._storage_options)

    def to_lance(self) -> Any:
        """Open it as a ``lance.LanceDataset`` at this version.

        Raises
        ------
        Unavailable
            When pylance is not installed, or the table's store cannot be reached from this process.
        """
        return self._open_lance(self._version)

    def __repr__(self) -> str:
        return f"<LanceTable {self._version.uri} {self._version} {self.num_rows} rows>"
