"""The head of a safetensors file: where each tensor lies, written so that the data are aligned, and read with distrust.

Format: 8 bytes length (little-endian), that many bytes of JSON, then the data. The data have no holes, hence alignment
comes from the order: tensors of whole cache lines first, then the others by the width of their elements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.layout import PAGE
from alluxio_lance.weights.elements import ELEMENT_BITS, tensor_bytes
from alluxio_lance.weights.paths import METADATA
from alluxio_lance.weights.strict_json import is_text, read_json

__all__ = ["ALIGNMENT", "FileHead", "Placed", "TensorSpec", "head_bytes", "make_head", "parse_head"]

ALIGNMENT: Final = 64
"""Bytes that the start of every tensor is a multiple of, whose own size is one; others are aligned to their elements."""
_LENGTH_BYTES: Final = 8
_LONGEST: Final = 100_000_000
"""Bytes of JSON that readers of the format accept."""
_SPACES: Final = b" " * (8 << 10)
_LONGEST_NUMBER: Final = 20
"""Digits of the largest number of 64 bits."""
_FEW: Final = 8
"""Dimensions that are multiplied without a look at what the product has become on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """What a tensor is, without its bytes."""

    name: str
    dtype: str
    """The element type in the names of the safetensors format, ``BF16``."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes; `InvalidArgument` when there can be no such tensor."""
        return tensor_bytes(self.dtype, self.shape, f"tensor {self.name[:200]!r}")


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor and where it lies."""

    spec: TensorSpec
    offset: int
    """From the start of the file."""
    size: int


@dataclass(frozen=True, slots=True)
class FileHead:
    """The head of a file and what follows from it."""

    raw: bytes
    """The bytes before the data; `parse_head` leaves them out."""
    tensors: Mapping[str, Placed]
    """By name, in the order of their data."""
    metadata: Mapping[str, str]
    data: int
    """Where the data begin."""
    length: int
    """Bytes of the whole file."""


def make_head(
    specs: Iterable[TensorSpec], metadata: Mapping[str, str] | None = None, *, unit: int | None = None
) -> FileHead:
    """Lay tensors out in a file; the same tensors in any order give the same file. The data begin on a page.

    Parameters
    ----------
    specs
        The tensors.
    metadata
        Texts by name.
    unit
        Bytes that the whole file shall be a multiple of, for memory that comes in pages of this size: whole pages. The
        data end there instead of beginning on a page, and tensors of odd sizes come first, which keeps each as aligned.

    Raises
    ------
    InvalidArgument
        When a name comes twice, is reserved or no text, there can be no such tensor, or the head would be too long.
    """
    if not all(map(is_text, [*(metadata or {}), *(metadata or {}).values()])):
        raise InvalidArgument("the metadata of a file have a text that is no UTF-8")
    order = sorted(((spec, spec.size) for spec in specs), key=_rank if unit is None else _rank_from_the_end)
    offset = 0
    entries: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    ends: list[tuple[TensorSpec, int, int]] = []
    for spec, size in order:
        if not is_text(spec.name):
            raise InvalidArgument(f"the name {spec.name[:200]!r} of a tensor is no UTF-8")
        if spec.name in entries or spec.name == METADATA:
            raise InvalidArgument(f"tensor {spec.name[:200]!r} comes twice, or its name is reserved")
        entries[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [offset, offset + size]}
        ends.append((spec, offset, size))
        offset += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    data = (
        _up(_LENGTH_BYTES + len(text), PAGE) if unit is None else _up(_LENGTH_BYTES + len(text) + offset, unit) - offset
    )
    text = text.ljust(data - _LENGTH_BYTES)
    if len(text) > _LONGEST:
        raise InvalidArgument(
            f"the head of {len(order)} tensors has {len(text)} bytes: readers take at most {_LONGEST}"
        )
    return FileHead(
        raw=len(text).to_bytes(_LENGTH_BYTES, "little") + text,
        tensors={spec.name: Placed(spec, data + start, size) for spec, start, size in ends},
        metadata=dict(metadata or {}),
        data=data,
        length=data + offset,
    )


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _rank(one: tuple[TensorSpec, int]) -> tuple[bool, int, str]:
    spec, size = one
    return size % ALIGNMENT != 0, -ELEMENT_BITS[spec.dtype] if size % ALIGNMENT else 0, spec.name


def _rank_from_the_end(one: tuple[TensorSpec, int]) -> tuple[bool, int, str]:
    # Not simply the opposite: most tensors shall lie as their rows do, which come while memory is cleared from the front.
    odd, bits, name = _rank(one)
    return not odd, -bits, name


def head_bytes(first: bytes | memoryview) -> int:
    """Tell from the first 8 bytes of a file how many `parse_head` wants to see."""
    return _LENGTH_BYTES + min(int.from_bytes(first[:_LENGTH_BYTES], "little"), _LONGEST)


def parse_head(start: bytes | memoryview, length: int, what: str) -> FileHead:
    """Read the head of a file of somebody else's.

    Parameters
    ----------
    start
        The bytes of the file from its start: at least the head, or all there are.
    length
        Bytes of the whole file.
    what
        Names the file in messages.

    Raises
    ------
    InvalidArgument
        When it is no safetensors file, or says of itself what is not so.
    """
    text = _text(start, length, what)
    data = _LENGTH_BYTES + len(text)
    written = _without_padding(text)
    plain = _plain_head(written, data, length, what)
    if plain is not None:
        return plain
    try:
        entries = read_json(written, _offset)
    except ValueError as error:
        raise InvalidArgument(f"{what} is no safetensors file: its head is no JSON ({error})") from error
    if not isinstance(entries, dict):
        raise InvalidArgument(f"{what} is no safetensors file: its head is no JSON object")
    metadata = _metadata(entries.pop(METADATA, None), what)
    tensors = sorted((_tensor(name, entry, data, what) for name, entry in entries.items()), key=_position)
    _check_places(tensors, data, length, what)
    return FileHead(b"", {placed.spec.name: placed for placed in tensors}, metadata, data, length)


def _plain_head(written: bytes, data: int, length: int, what: str) -> FileHead | None:
    """Read a head as we write them, in a fraction of the time; None for any other, be it good or bad.

    What is not plainly right is looked at closely by `parse_head`, which says what is wrong with it: here only that is
    taken which would pass there.
    """
    # Of the numbers that `_offset` refuses this one alone would be none that is refused below.
    if b"-0" in written:
        return None
    try:
        entries = read_json(written)
        metadata = _metadata(entries.pop(METADATA, None), what)
        tensors = _plain_tensors(entries, data)
    except (InvalidArgument, ValueError, TypeError, KeyError, AttributeError):
        return None
    if tensors is None or data + tensors[1] != length:
        return None
    return FileHead(b"", tensors[0], metadata, data, length)


def _plain_tensors(entries: Mapping[str, Any], data: int) -> tuple[dict[str, Placed], int] | None:
    """Take tensors that lie in this order without a hole and have bytes each, and say where they end; else None."""
    placed: dict[str, Placed] = {}
    end = 0
    for name, entry in entries.items():
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        bits = ELEMENT_BITS[dtype]
        if type(shape) is not list or len(shape) > _FEW or len(entry) != len(("dtype", "shape", "data_offsets")):
            return None
        for number in shape:
            if type(number) is not int or number < 1:
                return None
            bits *= number
        if type(start) is not int or type(stop) is not int or start != end or 8 * (stop - start) != bits:
            return None
        if not (name.isascii() or is_text(name)):
            return None
        end = stop
        placed[name] = Placed(TensorSpec(name=name, dtype=dtype, shape=tuple(shape)), data + start, stop - start)
    return placed, end


def _without_padding(text: memoryview) -> bytes:
    """Copy what comes before the spaces at the end: on reserved huge pages these are megabytes, too many to copy or parse."""
    end = len(text)
    while end >= len(_SPACES) and bytes(text[end - len(_SPACES) : end]) == _SPACES:
        end -= len(_SPACES)
    return bytes(text[:end]).rstrip(b" ")


def _text(start: bytes | memoryview, length: int, what: str) -> memoryview:
    if length < _LENGTH_BYTES or len(start) < _LENGTH_BYTES:
        raise InvalidArgument(f"{what} is no safetensors file: it has {length} bytes, and its head alone would have 8")
    size = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if size > _LONGEST or size > length - _LENGTH_BYTES:
        raise InvalidArgument(
            f"{what} is no safetensors file, or cut short: its head would have {size} bytes, and the file has {length}"
        )
    if len(start) < _LENGTH_BYTES + size:
        raise InvalidArgument(f"{what} was read to byte {len(start)} only, and its head ends at {_LENGTH_BYTES + size}")
    return memoryview(start)[_LENGTH_BYTES : _LENGTH_BYTES + size]


def _offset(digits: str) -> int:
    """Read a number of the head: each is a length or a place, from 0 to 2^64."""
    if digits.startswith("-") or len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"the number {digits[:40]} is no length and no offset")
    return int(digits)


def _metadata(found: Any, what: str) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(map(is_text, [*found, *found.values()])):
        raise InvalidArgument(f"the head of {what} has metadata that are no texts")
    return found


def _tensor(name: str, entry: Any, data: int, what: str) -> Placed:
    where = f"tensor {name[:200]!r} of {what}"
    if not is_text(name):
        raise InvalidArgument(f"{where} has a name that is no UTF-8")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InvalidArgument(f"{where} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _are_numbers(shape) or not _are_numbers(offsets) or len(offsets) != _PAIR:
        raise InvalidArgument(f"{where} is described by other things than a type, dimensions and two offsets")
    size = tensor_bytes(dtype, shape, where)
    start, stop = offsets
    if stop - start != size:
        raise InvalidArgument(f"{where} has {size} bytes by its shape, and lies from {start} to {stop}")
    return Placed(TensorSpec(name=name, dtype=dtype, shape=tuple(shape)), data + start, size)


_PAIR: Final = 2


def _are_numbers(found: Any) -> bool:
    return isinstance(found, list) and all(type(number) is int for number in found)


def _position(placed: Placed) -> tuple[int, int]:
    return placed.offset, placed.size


def _check_places(tensors: Sequence[Placed], data: int, length: int, what: str) -> None:
    end = data
    for placed in tensors:
        if placed.offset != end:
            fault = "overlaps what lies before it" if placed.offset < end else "comes after a hole"
            raise InvalidArgument(f"tensor {placed.spec.name[:200]!r} of {what} {fault}: the file is damaged")
        end += placed.size
    if end != length:
        raise InvalidArgument(f"{what} has {length} bytes, and its tensors end at {end}: it is cut short or damaged")
