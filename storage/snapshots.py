"""What a version consists of: rows, bytes, schema, files with their hashes, and the hash of all of it."""

from __future__ import annotations

from collections.abc import Mapping

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import Snapshot, StoredFile
from alluxio_lance.manager import OnProgress
from alluxio_lance.storage.digest import content_hash, file_hash
from alluxio_lance.storage.encoding import user_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.fragments import fragment_files
from alluxio_lance.storage.lines import Line, line_of
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.values import Progress

__all__ = ["snapshot"]


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
        When one of its files is missing, or has another size than the one known, or than what Lance wrote.
    """
    table = open_version(place, location, version)
    where = f"version {version} of {place.address(location).uri}"
    line = line_of(location)
    on_disk = place.files(line.root)
    with lance_faults(where):
        fragments = fragment_files(table, line, on_disk)
        schema = user_schema(table.scanner(blob_handling="all_binary").projected_schema).serialize().to_pybytes()
    paths = [path for fragment in fragments for path in fragment.paths]
    written = {path: size for fragment in fragments for path, size in fragment.sizes.items()}
    _check_present(paths, on_disk, written | {path: known[path].size for path in paths if path in known}, where)
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


def _described_by(line: Line) -> tuple[str, ...]:
    return tuple(f"{line.prefix}{folder}/" for folder in ("_versions", "_transactions"))


def _check_present(paths: list[str], on_disk: Mapping[str, int], sizes: Mapping[str, int], where: str) -> None:
    for path in paths:
        expected = sizes.get(path, on_disk.get(path))
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
