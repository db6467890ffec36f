"""The chapter about Alluxio: by which way each file is read, what a deprecation frees, what a rollback brings back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.demo.ledger import Ledger
from alluxio_lance.cli.human import size
from alluxio_lance.cli.look import flowing, number, table, whole
from alluxio_lance.manager import ResourceManager
from alluxio_lance.ways import Explanation, FileWay, bytes_by_way

__all__ = ["Underneath", "ways_table"]

_DATA: Final = "data"
_RULES: Final = """
[[cache]]
name = "active-in-alluxio"
load = "active"
"""
_PATIENCE: Final = 60.0
"""Seconds for what Alluxio's workers tell its master with their heartbeats."""
_PAUSE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Underneath:
    """The chapter, on two versions that share their first file; 1.0.0 is active, 1.1.0 was before."""

    console: Console
    ledger: Ledger
    manager: ResourceManager
    name: str

    def tell(self) -> None:
        """Show the files, then let go of 1.1.0 and bring it back."""
        found = {semver: self.manager.explain_resource("datasets", self.name, semver) for semver in ("1.0.0", "1.1.0")}
        self.console.print(ways_table(found))
        for semver, explained in found.items():
            ways = ", ".join(way.value for way in bytes_by_way(_data(explained)))
            self.ledger.check(
                f"{semver} in Alluxio, and read by", "100 %, short-circuit", f"{_percent(explained)} %, {ways}"
            )
        shared = {file.path for file in _data(found["1.0.0"])}
        alone = {file.path for file in _data(found["1.1.0"])} - shared
        self.manager.deprecate_resource("datasets", self.name, "1.1.0", message="the demo lets go of it")
        self.ledger.check("deprecated, what only 1.1.0 needs has", "0 % in Alluxio", self._await("1.1.0", alone, 0))
        self.ledger.check("what 1.0.0 needs too has", "100 % in Alluxio", self._await("1.1.0", shared, 100))
        self.manager.set_rules(_RULES, message="active versions are brought into Alluxio")
        self.manager.rollback_resource("datasets", self.name, "1.1.0", message="the demo wants it back")
        self.ledger.check("one rollback later 1.1.0 has", "100 % in Alluxio", self._await("1.1.0", alone | shared, 100))
        self.manager.rollback_resource("datasets", self.name, "1.0.0", message="the demo goes on with 1.0.0")

    def _await(self, semver: str, paths: set[str], percent: int) -> str:
        """Wait until files are cached so far, all of them; tell how far they are in the end."""

        def cached() -> set[int | None]:
            found = self.manager.explain_resource("datasets", self.name, semver).files
            return {file.cached_percent for file in found if file.path in paths}

        found = _until(cached, {percent})
        return " and ".join(f"{each} %" for each in sorted(found, key=str)) + " in Alluxio"


def _until(look: Callable[[], set[int | None]], wanted: set[int | None]) -> set[int | None]:
    deadline = time.monotonic() + _PATIENCE
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return found


def _data(explained: Explanation) -> list[FileWay]:
    return [file for file in explained.files if PurePosixPath(file.path).parts[0] == _DATA]


def _percent(explained: Explanation) -> int:
    return min(file.cached_percent or 0 for file in _data(explained))


def ways_table(found: dict[str, Explanation]) -> Table:
    """Return one row per file and version, and the sum of each version."""
    view = table(
        "Files", whole("Version"), flowing("File"), number("Size"), number("Cached"), whole("Way"), flowing("Why")
    )
    for semver, explained in found.items():
        for file in explained.files:
            cached = "" if file.cached_percent is None else f"{file.cached_percent} %"
            view.add_row(semver, Text(_short(file.path)), size(file.bytes), cached, file.way.value, Text(file.why))
        view.add_section()
    return view


def _short(path: str) -> str:
    """Keep folder, the beginning of the name and the suffix: names of data files are random and long."""
    parts = PurePosixPath(path)
    stem = parts.stem if len(parts.stem) <= 8 else f"{parts.stem[:6]}…"  # noqa: PLR2004 - enough to tell them apart
    return str(parts.with_name(f"{stem}{parts.suffix}"))
