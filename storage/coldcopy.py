"""What a copy in the cold tier consists of, specified in docs/format/cold-copy.md.

It is a Lance table of one version, which Lance itself can open. Below ``_original`` lie the version's own manifest and
transaction, since a clone gets others, and a list of all files, written last: a copy without its list is half.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

from alluxio_lance.errors import Corrupt, NotFound
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.digest import file_hash
from alluxio_lance.storage.inventory import MANIFESTS, Inventory, data_before_manifests
from alluxio_lance.storage.lines import Line
from alluxio_lance.storage.place import Place

__all__ = ["CopiedFile", "CopyList", "differs"]

_ORIGINALS: Final = "_original/"
_LIST: Final = f"{_ORIGINALS}files.json"
_FORMAT: Final = 1
_CONTENT: Final = ("data/", "_deletions/")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFile:
    """A file of the version, and its copy."""

    path: str
    """Relative to the main table."""
    copy: str
    """Relative to the copy's folder."""
    size: int
    hash: str

    @property
    def is_manifest(self) -> bool:
        """Whether it is what makes the version visible."""
        return MANIFESTS in self.path

    @property
    def is_content(self) -> bool:
        """Whether it holds rows or deletions; the others describe the version."""
        return not self.copy.startswith(_ORIGINALS)


@dataclass(frozen=True, slots=True)
class CopyList:
    """All files of a version; the manifest is the last one."""

    version: int
    files: tuple[CopiedFile, ...]

    @classmethod
    def of(cls, hot: Place, stock: Inventory, version: int, known: Mapping[str, StoredFile]) -> Self:
        """List what a version in the hot tier consists of; what the catalog does not know is hashed.

        Raises
        ------
        Corrupt
            When a file is missing.
        """
        line = stock.line
        files = []
        for path in data_before_manifests(stock.needs[version]):
            if path not in stock.sizes:
                raise Corrupt(
                    f"the file {path} of version {version} of {hot.address(line.root).uri} is missing; "
                    "roll back to an earlier version",
                    expected=path,
                    found=None,
                )
            size = stock.sizes[path]
            file = known.get(path) or StoredFile(
                path=path, size=size, hash=file_hash(hot, line.root, path, size, _nobody)
            )
            files.append(CopiedFile(path=path, copy=_copy_of(path, line), size=file.size, hash=file.hash))
        return cls(version, tuple(files))

    @classmethod
    def read(cls, cold: Place, location: str) -> Self:
        """Read the list of a copy.

        Raises
        ------
        NotFound
            When there is no whole copy.
        Corrupt
            When the list cannot be read.
        """
        where = cold.address(location).uri
        if _LIST not in cold.files(location):
            raise NotFound(f"there is no whole copy of a version at {where}; it may have been restored and dropped")
        text = b"".join(cold.chunks(location, _LIST))
        try:
            record = json.loads(text)
            if record["format"] != _FORMAT:
                raise ValueError("unknown format")
            return cls(int(record["version"]), tuple(CopiedFile(**file) for file in record["files"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(
                f"the list of files {where}/{_LIST} cannot be read ({error}): bring it back from a backup",
                expected="a list of files",
                found=str(error),
            ) from error

    def write(self, cold: Place, location: str) -> None:
        """Write the list, which makes the copy whole."""
        record = {"format": _FORMAT, "version": self.version, "files": [asdict(file) for file in self.files]}
        cold.put(location, _LIST, [json.dumps(record, indent=1).encode()])

    @property
    def num_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    def fault(self, cold: Place, location: str, on_bytes: Callable[[int], None], *, originals: bool) -> Corrupt | None:
        """Read the copies of all files, ``originals`` included or not, and return what is wrong with the first bad one."""
        sizes = cold.files(location)
        for file in self.files:
            if not file.is_content and not originals:
                continue
            found = None
            if file.copy in sizes:
                found = file_hash(cold, location, file.copy, sizes[file.copy], on_bytes)
            if found != file.hash:
                return differs(f"{file.copy} of the copy {cold.address(location).uri}", file.hash, found)
        return None


def _copy_of(path: str, line: Line) -> str:
    """Return where a file lies in the copy, in which a branch is a table like any other."""
    own = path.removeprefix(line.prefix)
    return own if own.startswith(_CONTENT) else f"{_ORIGINALS}{path}"


def _nobody(_: int) -> None:
    """Hear how many bytes were hashed, and tell nobody."""


def differs(what: str, expected: str, found: str | None) -> Corrupt:
    """Make the error of bytes that are not what was written."""
    return Corrupt(
        f"{what} is not what was written: check the disk or bucket, then try again", expected=expected, found=found
    )
