"""A manifest of a branch made that of a table of its own: all its files lie beside it.

Manifests are written as in Lance's ``protos/table.proto``, format 2: a message after whatever else is in the file, its
length before it, and a footer that says where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from alluxio_lance.errors import Corrupt

__all__ = ["without_bases"]

_FOOTER: Final = struct.Struct("<QHH4s")
_LENGTH: Final = struct.Struct("<I")
_MAGIC: Final = b"LANC"
_BYTES: Final = 2
"""The wire type of messages, texts and bytes."""
_FIXED: Final = {1: 8, 5: 4}

Shape = Mapping[int, "Shape | None"]
# DataFragment = 2 with DataFile = 2 and DeletionFile = 3, whose base_id = 7 goes; so do the indices' section = 6, which are
# not beside the manifest, base_paths = 18, and the name of the branch = 20.
_GOING: Final[Shape] = {2: {2: {7: None}, 3: {7: None}}, 6: None, 18: None, 20: None}


def without_bases(manifest: bytes, where: str) -> bytes:
    """Rewrite a manifest such that all its files are looked for beside it; number and content stay.

    Raises
    ------
    Corrupt
        When the bytes are no manifest.
    """
    try:
        position, major, minor, magic = _FOOTER.unpack(manifest[-_FOOTER.size :])
        (length,) = _LENGTH.unpack_from(manifest, position)
        start = position + _LENGTH.size
        if magic != _MAGIC or start + length > len(manifest) - _FOOTER.size:
            raise ValueError("no manifest")
        message = _without(manifest[start : start + length], _GOING)
    except (struct.error, ValueError, IndexError) as error:
        raise Corrupt(
            f"{where} is no manifest of Lance ({error}): roll back to an earlier version", expected="LANC", found=None
        ) from error
    # What stands before the message stays where it is: the message names it by its place.
    return b"".join(
        (manifest[:position], _LENGTH.pack(len(message)), message, _FOOTER.pack(position, major, minor, magic))
    )


def _without(message: bytes, going: Shape) -> bytes:
    """Copy a protobuf message without some of its fields."""
    kept = []
    for number, start, body, end in _fields(message):
        if number not in going:
            kept.append(message[start:end])
            continue
        inner = going[number]
        if inner is not None:
            rest = _without(message[body:end], inner)
            kept.append(_varint(number << 3 | _BYTES) + _varint(len(rest)) + rest)
    return b"".join(kept)


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Walk over the fields: the number of each, where it starts, where its value does, and where it ends."""
    place = 0
    while place < len(message):
        start = place
        key, body = _read(message, place)
        wire = key & 7
        if wire == _BYTES:
            length, body = _read(message, body)
            place = body + length
        elif wire in _FIXED:
            place = body + _FIXED[wire]
        elif wire == 0:
            place = _read(message, body)[1]
        else:
            raise ValueError("no protobuf message")
        if place > len(message):
            raise ValueError("a field that does not end")
        yield key >> 3, start, body, place


def _read(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, place
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - the continuation bit
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
