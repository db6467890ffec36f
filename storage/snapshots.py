"""What a version consists of: rows, bytes, schema, files with their hashes, and the hash of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import lance

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import Snapshot, StoredFile
from alluxio_lance.manager import OnProgress
from alluxio_lance.storage.digest import content_hash, file_hash
from alluxio_lance.storage.encoding import user_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.lines import Line, line_of
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.values import Progress

__all__ = ["snapshot"]

_DATA: Final = "data"
_DELETIONS: Final = "_deletions"


def snapshot(
    place: Place, location: str, version: int, known: Mapping[str, StoredFile], on_progress: OnProgress | None
) -> Snapshot:
    """Describe a version, after its new files were flushed to the disk; files in ``known`` are not read again.

    Files are named relative to the main table, also those of a branch, which has some of its own and shares others.

    Raises
    ------
    NotFound
        When the version does not exist.
    Corrupt
        When one of its files is missing, or has another size than the one known.
    """
    table = open_version(place, location, version)
    where = f"version {version} of {place.address(location).uri}"
    line = line_of(location)
    on_disk = place.files(line.root)
    with lance_faults(where):
        fragments = [_Fragment(fragment, line, on_disk) for fragment in table.get_fragments()]
        schema = user_schema(table.scanner(blob_handling="all_binary").projected_schema).serialize().to_pybytes()
    paths = [path for fragment in fragments for path in fragment.paths]
    _check_present(paths, on_disk, known, where)
    fresh = [path for path in paths if path not in known]
    place.harden(line.root, [*fresh, *(path for path in on_disk if path.startswith(_described_by(line)))])
    hashes = {path: known[path].hash for path in paths if path in known}
    hashes |= _hash_all(place, line.root, {path: on_disk[path] for path in fresh}, on_progress)
    return Snapshot(
        version=version,
        schema=schema,
        num_rows=sum(fragment.rows for fragment in fragments),
        num_bytes=sum(on_disk[path] for path in paths),
        files=tuple(StoredFile(path=path, size=on_disk[path], hash=hashes[path]) for path in paths),
        content_hash=content_hash(schema, [fragment.describe(hashes) for fragment in fragments]),
    )


class _Fragment:
    """The files of one fragment, relative to the main table."""

    def __init__(self, fragment: lance.LanceFragment, line: Line, on_disk: Mapping[str, int]) -> None:
        self.rows = int(fragment.metadata.num_rows)
        self.files = [
            (_find(f"{_DATA}/{file.path}", line, on_disk), list(file.fields)) for file in fragment.metadata.files
        ]
        # Lance's manifests do not name the side files of blobs; they lie in a folder with the data file's name.
        self.blobs = {path: _below(on_disk, path) for path, _ in self.files}
        deletions = fragment.deletion_file()
        self.deletions = (
            None if deletions is None else _find(f"{_DELETIONS}/{PurePosixPath(deletions).name}", line, on_disk)
        )

    @property
    def paths(self) -> list[str]:
        paths = [each for path, _ in self.files for each in (path, *self.blobs[path])]
        return paths if self.deletions is None else [*paths, self.deletions]

    def describe(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        return {
            "files": [
                {"hash": hashes[path], "fields": fields, "blobs": [hashes[blob] for blob in self.blobs[path]]}
                for path, fields in self.files
            ],
            "deletions": None if self.deletions is None else hashes[self.deletions],
            "rows": self.rows,
        }


def _below(on_disk: Mapping[str, int], path: str) -> list[str]:
    prefix = f"{PurePosixPath(path).with_suffix('')}/"
    return sorted(each for each in on_disk if each.startswith(prefix))


def _find(path: str, line: Line, on_disk: Mapping[str, int]) -> str:
    """Tell where a file of a line lies: in its own folder, or else with the main table; no two have the same name."""
    own = f"{line.prefix}{path}"
    return own if own in on_disk else path


def _described_by(line: Line) -> tuple[str, ...]:
    return tuple(f"{line.prefix}{folder}/" for folder in ("_versions", "_transactions"))


def _check_present(paths: list[str], on_disk: Mapping[str, int], known: Mapping[str, StoredFile], where: str) -> None:
    for path in paths:
        expected = known[path].size if path in known else on_disk.get(path)
        if path not in on_disk or on_disk[path] != expected:
            raise Corrupt(
                f"the file {path} of {where} has {on_disk.get(path, 'no')} bytes, not {expected}; roll back to an earlier version"
                if path in on_disk
                else f"the file {path} of {where} is missing; roll back to an earlier version",
                expected=expected,
                found=on_disk.get(path),
            )


def _hash_all(place: Place, location: str, sizes: Mapping[str, int], on_progress: OnProgress | None) -> dict[str, str]:
    total = sum(sizes.values())
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(Progress(step="hash", bytes=done, total_bytes=total))

    return {path: file_hash(place, location, path, size, on_bytes) for path, size in sizes.items()}
