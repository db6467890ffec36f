"""A version's way back from the cold tier, under its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import StoredFile, Write
from alluxio_lance.storage.coldcopy import CopiedFile, CopyList, differs
from alluxio_lance.storage.digest import file_hash
from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.metering import Meter
from alluxio_lance.storage.place import INCOMING, Place

__all__ = ["unarchive"]


def unarchive(
    cold: Place, hot: Place, source: str, location: str, version: int, known: Mapping[str, StoredFile], write: Write
) -> None:
    """Bring a version back: data first, verified and flushed to the disk, its manifest last.

    Killed at any point it leaves files that no manifest names; the next call takes those that are whole.

    Raises
    ------
    NotFound
        When there is no whole copy.
    Corrupt
        When the copy is of another version, or not what the catalog knows.
    NoSpace
        When it does not fit.
    Unavailable
        When the cold tier does not answer.
    """
    root = line_of(location).root
    listed = CopyList.read(cold, source)
    _check(listed, cold.address(source).uri, version, known)
    there = hot.files(root)
    # Whoever writes here holds the commit lock: what lies there half is a dead process' own.
    hot.remove(root, [path for path in there if path.startswith(INCOMING)])
    meter = Meter(write, "copy", listed.num_bytes)
    for file in listed.files:
        if there.get(file.path) == file.size and _hash(hot, root, file) == file.hash:
            meter.count(file.size)
            # It may be there since a moment ago only, from a call that was killed.
            hot.harden(root, [file.path])
        else:
            _fetch(cold, source, hot, root, file, meter)


def _check(listed: CopyList, where: str, version: int, known: Mapping[str, StoredFile]) -> None:
    if listed.version != version:
        raise Corrupt(
            f"the copy {where} is of version {listed.version}, not {version}: bring the right one back from a backup",
            expected=version,
            found=listed.version,
        )
    for file in listed.files:
        if file.path in known and known[file.path].hash != file.hash:
            raise differs(f"{file.copy} of the copy {where}", known[file.path].hash, file.hash)


def _fetch(cold: Place, source: str, hot: Place, root: str, file: CopiedFile, meter: Meter) -> None:
    what = f"{file.copy} of the copy {cold.address(source).uri}"
    if not file.is_manifest:
        # Nothing names it yet, so that it may be looked at where it will stay.
        hot.put(root, file.path, _counted(cold.chunks(source, file.copy), meter))
        found = _hash(hot, root, file)
        if found != file.hash:
            hot.remove(root, [file.path])
            raise differs(what, file.hash, found)
        return
    data = b"".join(_counted(cold.chunks(source, file.copy), meter))
    if blake3(data).hexdigest() != file.hash:
        raise differs(what, file.hash, blake3(data).hexdigest())
    hot.put(root, file.path, [data])


def _counted(chunks: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        meter.count(len(chunk))


def _hash(hot: Place, root: str, file: CopiedFile) -> str:
    return file_hash(hot, root, file.path, file.size, lambda _: None)
