"""The hash of a file and the hash of a version's content, specified in docs/format/content-hash.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from blake3 import blake3

from alluxio_lance.storage.footer import ENTRY, FOOTER, MAGIC
from alluxio_lance.storage.place import Patch, Place
from alluxio_lance.storage.wire import LENGTH_DELIMITED, varint

__all__ = ["content_hash", "file_hash", "sort_maps"]

_FIXED: Final = {1: 8, 5: 4}

Shape = Mapping[int, "Shape | None"]
# FileDescriptor.schema = 1; Schema.fields = 1, Schema.metadata = 5; Field.metadata = 10: the maps are None here.
_DESCRIPTOR: Final[Shape] = {1: {1: {10: None}, 5: None}}


def file_hash(place: Place, location: str, path: str, size: int, on_bytes: Callable[[int], None]) -> str:
    """Hash a file with BLAKE3; a Lance file with the entries of its schema's metadata maps in sorted order.

    Lance writes those maps in another order in every process, so that files with the same content differ there and
    only there. For a file with at most one entry per map this is the plain BLAKE3 of the file.
    """
    patch = _sorted_schema(place, location, path, size) if path.endswith(".lance") else None
    return place.hash(location, path, patch, on_bytes)


def _sorted_schema(place: Place, location: str, path: str, size: int) -> Patch | None:
    if size < FOOTER.size:
        return None
    footer = FOOTER.unpack(place.read(location, path, size - FOOTER.size, FOOTER.size))
    table, buffers, magic = footer[2], footer[3], footer[7]
    if magic != MAGIC or not buffers or table + ENTRY.size > size:
        return None
    offset, length = ENTRY.unpack(place.read(location, path, table, ENTRY.size))
    if offset + length > size:
        return None
    try:
        return Patch(offset, sort_maps(place.read(location, path, offset, length), _DESCRIPTOR))
    except (IndexError, ValueError):
        # A damaged schema is hashed as it is: the hash then differs, which is what tells of the damage.
        return None


def sort_maps(message: bytes, shape: Shape) -> bytes:
    """Rewrite a protobuf message with the entries of its map fields sorted; its length stays.

    Raises
    ------
    ValueError
        When the bytes are no protobuf message.
    """
    records: list[tuple[int, bytes]] = []
    maps: dict[int, list[bytes]] = {number: [] for number, inner in shape.items() if inner is None}
    place = 0
    while place < len(message):
        start = place
        key, place = varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == LENGTH_DELIMITED:
            length, begin = varint(message, place)
            place = begin + length
            body = message[begin:place]
            inner = shape.get(number)
            record = message[start:begin] + (body if inner is None else sort_maps(body, inner))
        else:
            place = varint(message, place)[1] if wire == 0 else place + _FIXED[wire] if wire in _FIXED else -1
            record = message[start:place]
        if not start < place <= len(message):
            raise ValueError("no protobuf message")
        records.append((number, record))
        if number in maps:
            maps[number].append(record)
    ordered = {number: iter(sorted(entries)) for number, entries in maps.items()}
    return b"".join(next(ordered[number]) if number in ordered else record for number, record in records)


def content_hash(schema: bytes, fragments: list[dict[str, Any]]) -> str:
    """Hash the canonical description of a version: 64 hexadecimal digits.

    Parameters
    ----------
    schema
        The Arrow schema as an IPC message, with sorted metadata and without Lance's hints.
    fragments
        In order, one record each: ``{"files": [{"hash", "fields", "blobs": [hash, …]}, …], "deletions": hash or None,
        "rows": rows that are left}``.
    """
    described = {"format": 1, "fragments": fragments, "schema": blake3(schema).hexdigest()}
    return blake3(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
