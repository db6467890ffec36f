"""Which importer a path means: first bytes, then endings, then what a folder has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.importers.files import list_files, regular_file
from alluxio_lance.storage.importers.images import IMAGE_SUFFIXES
from alluxio_lance.storage.importers.parquet import PARQUET_SUFFIXES

__all__ = ["detect"]

_MAGIC: Final = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"FEA1", "arrow"), (b"\xff\xff\xff\xff", "arrow"))
_ENDINGS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_COMPRESSED: Final = frozenset({".gz", ".bz2", ".zst", ".lz4"})
_HEAD: Final = 8
_SIDE_NAMES: Final = ("readme", "license", "licence")


def detect(path: Path) -> str | None:
    """Return the name of the importer for a path; None when no file type is known.

    Raises
    ------
    InvalidArgument
        When the file is empty or cannot be read, or the folder has no files.
    """
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> str | None:
    with regular_file(path).open("rb") as file:
        head = file.read(_HEAD)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    return _ENDINGS.get(endings[-1]) if endings else None


def _folder(path: Path) -> str:
    if path.suffix == ".lance" or (path / "_versions").is_dir():
        return "lance"
    files = [file for file in list_files(path) if not _is_side_file(file)]
    if not files:
        raise InvalidArgument(f"the folder {path} has no files")
    suffixes = {file.suffix.lower() for file in files}
    if suffixes <= set(PARQUET_SUFFIXES):
        return "parquet"
    return "images" if suffixes <= IMAGE_SUFFIXES else "files"


def _is_side_file(file: Path) -> bool:
    return file.suffix.lower() == ".md" or file.name.lower().startswith(_SIDE_NAMES)
