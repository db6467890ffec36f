"""The files of the fragments of a version: data, side files of blobs, deletions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import lance

from alluxio_lance.storage.lines import Line

__all__ = ["FragmentFiles", "data_folder", "fragment_files", "side_files"]

_DATA: Final = "data"
_DELETIONS: Final = "_deletions"
_SUFFIX: Final = ".lance"


def data_folder(line: Line) -> str:
    """Name the folder of a line's data files, relative to the main table."""
    return f"{line.prefix}{_DATA}"


def fragment_files(table: lance.LanceDataset, line: Line, there: Collection[str]) -> list[FragmentFiles]:
    """Name the files of each fragment of an open version, in order.

    Parameters
    ----------
    there
        The names of all files of the main table's folder, or at least of those that the version needs.
    """
    sides = side_files(there)
    return [FragmentFiles(fragment, line, there, sides) for fragment in table.get_fragments()]


class FragmentFiles:
    """The files of one fragment, relative to the main table."""

    def __init__(
        self, fragment: lance.LanceFragment, line: Line, there: Collection[str], sides: Mapping[str, Sequence[str]]
    ) -> None:
        self.rows = int(fragment.metadata.num_rows)
        """Rows that are left."""
        self.files = [
            (_find(f"{_DATA}/{file.path}", line, there), list(file.fields)) for file in fragment.metadata.files
        ]
        self.sizes = {
            path: file.file_size_bytes
            for (path, _), file in zip(self.files, fragment.metadata.files, strict=True)
            if file.file_size_bytes
        }
        """Bytes of data files, as Lance wrote them."""
        self.blobs = {path: sides.get(path, ()) for path, _ in self.files}
        deletions = fragment.deletion_file()
        self.deletions = (
            None if deletions is None else _find(f"{_DELETIONS}/{PurePosixPath(deletions).name}", line, there)
        )

    @property
    def paths(self) -> list[str]:
        """All of them."""
        paths = [each for path, _ in self.files for each in (path, *self.blobs[path])]
        return paths if self.deletions is None else [*paths, self.deletions]

    def describe(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Describe it for the hash of the version's content, see docs/format/content-hash.md."""
        return {
            "files": [
                {"hash": hashes[path], "fields": fields, "blobs": [hashes[blob] for blob in self.blobs[path]]}
                for path, fields in self.files
            ],
            "deletions": None if self.deletions is None else hashes[self.deletions],
            "rows": self.rows,
        }


def side_files(there: Iterable[str]) -> dict[str, list[str]]:
    """Group the side files of blob columns by their data file, sorted: they lie in a folder with its name.

    Lance's manifests do not name them.
    """
    sides: dict[str, list[str]] = {}
    for path in sorted(there):
        parent = PurePosixPath(path).parent
        if parent.parent.name == _DATA:
            sides.setdefault(f"{parent}{_SUFFIX}", []).append(path)
    return sides


def _find(path: str, line: Line, there: Collection[str]) -> str:
    """Tell where a file of a line lies: in its own folder, or else with the main table; no two have the same name."""
    own = f"{line.prefix}{path}"
    return own if own in there else path
