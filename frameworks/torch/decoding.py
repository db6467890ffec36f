"""Columns of encoded pictures as tensors: what ``decode="image"`` asks for."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.decoding import pictures
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import Corrupt, Unavailable

__all__ = ["Decode", "Picture", "decoders", "stacked"]

Decode = str | Mapping[str, str]
"""``"image"`` for all binary columns, or a kind for each column: ``{"photo": "image"}``."""

_Read = Callable[[npt.NDArray[np.uint8]], torch.Tensor]

_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP")
"""What both libraries know. Pillow would try some forty more, which nobody needs to be able to reach."""
_CHANNELS: Final = 3
_DIMENSIONS: Final = 3
_PLACE_IN_SOURCE: Final = re.compile(r"^[\w() ]+, \S+:\d+, ")
"""What torchvision puts before its sentences."""


class Picture:
    """Decodes the pictures of one column."""

    def __init__(self, name: str, uri: str) -> None:
        self._name = name
        self._uri = uri
        # Now rather than in the first batch: without a library the dataset does not open.
        self._read = _library()

    def one(self, column: VariableColumn, row: int, fill: bytes | None) -> torch.Tensor | None:
        """Decode a row; ``uint8[3, height, width]``, or None for a null without ``fill``."""
        place = range(column.rows)[row]
        return self.many(column, np.array([place], np.int64), fill)[0]

    def many(
        self, column: VariableColumn, rows: npt.NDArray[np.int64], fill: bytes | None
    ) -> list[torch.Tensor | None]:
        """Decode rows, in their order.

        Raises
        ------
        Corrupt
            When the bytes of a row are no picture, or not the whole of one; with the number of the row.
        """
        taken = column.take(rows)
        ends = taken.offsets.tolist()
        present = [True] * len(taken) if taken.present is None else taken.present.tolist()
        filled = None if fill is None else np.frombuffer(fill, np.uint8).copy()
        found: list[torch.Tensor | None] = []
        for place, row in enumerate(rows.tolist()):
            data = taken.values[ends[place] : ends[place + 1]] if present[place] else filled
            found.append(None if data is None else self._decoded(data, row))
        return found

    def _decoded(self, data: npt.NDArray[np.uint8], row: int) -> torch.Tensor:
        try:
            return self._read(data)
        # What a decoder raises on wrong bytes is as different as the formats: OSError, SyntaxError, RuntimeError, …
        except Exception as error:
            reason = _PLACE_IN_SOURCE.sub("", str(error)) or type(error).__name__
            raise Corrupt(
                f"row {row} of column {self._name!r} of {self._uri} is no picture that can be decoded: {reason} - "
                "register the version anew without the row, or read the column without decode",
                row=row,
                column=self._name,
            ) from error


def decoders(decode: Decode | None, columns: Mapping[str, AnyColumn], uri: str) -> dict[str, Picture]:
    """Make one for each column that is to be decoded.

    Raises
    ------
    InvalidArgument
        When ``decode`` names what cannot be decoded.
    Unavailable
        When neither torchvision nor Pillow can be imported.
    """
    return {name: Picture(name, uri) for name in pictures(decode, columns, uri)}


def stacked(values: list[Any]) -> Any:
    """Make one tensor of pictures of one size; leave all else as it is, pictures of several sizes too."""
    # Of the columns that come as lists only decoded ones have tensors of three dimensions.
    if not values or not isinstance(values[0], torch.Tensor) or values[0].dim() != _DIMENSIONS:
        return values
    shape = values[0].shape
    if not all(isinstance(value, torch.Tensor) and value.shape == shape for value in values):
        return values
    # Decoders write the channels of a pixel side by side, and so they stay, as in torch.channels_last. torch.stack would
    # do this with all threads, which wait for each other on a busy machine for longer than a picture takes to decode.
    channels, height, width = shape
    room = np.empty((len(values), height, width, channels), np.uint8)
    for place, value in zip(room, values, strict=True):
        place[...] = value.numpy().transpose(1, 2, 0)
    return torch.from_numpy(room).permute(0, 3, 1, 2)


@cache
def _library() -> _Read:
    # torchvision loads Triton, which ends a process that has TensorFlow in it: both bring their own LLVM.
    readers = [_with_pillow] if "tensorflow" in sys.modules else [_with_torchvision, _with_pillow]
    for reader in readers:
        try:
            return reader()
        # A torchvision that was built for another torch says so with a RuntimeError.
        except (ImportError, AttributeError, RuntimeError, OSError):
            continue
    raise Unavailable(
        'decode="image" needs torchvision or Pillow, and neither can be imported - pip install pillow', what="pillow"
    )


def _with_torchvision() -> _Read:
    from torchvision.io import ImageReadMode  # noqa: PLC0415 - who decodes nothing needs no library

    # The operation, not torchvision.io.decode_image around it: from 0.29 on that warns of its end with each picture.
    # When it has come, an AttributeError here leads to Pillow.
    decode_image = torch.ops.image.decode_image.default
    mode = ImageReadMode.RGB.value

    def read(data: npt.NDArray[np.uint8]) -> torch.Tensor:
        image: torch.Tensor = decode_image(torch.from_numpy(data), mode)
        if image.dtype == torch.uint16:
            image = (image.to(torch.int32) >> 8).to(torch.uint8)
        # Of an animation the first picture.
        return image if image.dim() == _DIMENSIONS else image[0]

    return read


def _with_pillow() -> _Read:
    from PIL import Image  # noqa: PLC0415 - who decodes nothing needs no library

    def read(data: npt.NDArray[np.uint8]) -> torch.Tensor:
        with Image.open(io.BytesIO(data.tobytes()), formats=_FORMATS) as image:
            if image.mode.startswith("I;16"):
                grey = (np.asarray(image, np.uint16) >> 8).astype(np.uint8)
                return torch.from_numpy(np.stack([grey] * _CHANNELS))
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)

    return read
