"""Messages of protobuf taken apart without their schema, as far as files of Lance need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["LENGTH_DELIMITED", "VARINT", "fields", "varint"]

VARINT: Final = 0
LENGTH_DELIMITED: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_CONTINUED: Final = 0x80
_LONGEST: Final = 10


def varint(message: bytes, place: int) -> tuple[int, int]:
    """Read a number, and return it with the place behind it.

    Raises
    ------
    IndexError
        When the message ends in it.
    ValueError
        When it is longer than any number.
    """
    value = 0
    for shift in range(0, 7 * _LONGEST, 7):
        byte = message[place]
        place += 1
        value |= (byte & ~_CONTINUED) << shift
        if byte < _CONTINUED:
            return value, place
    raise ValueError("no protobuf number")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number of each field of a message and its value: a number, or bytes.

    Raises
    ------
    IndexError, ValueError
        When the bytes are no protobuf message.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = varint(message, place)
            yield number, value
            continue
        if wire == LENGTH_DELIMITED:
            length, place = varint(message, place)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"no protobuf message: a field of kind {wire}")
        if place + length > len(message):
            raise ValueError("no protobuf message: it ends within a field")
        yield number, message[place : place + length]
        place += length
