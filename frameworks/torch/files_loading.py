"""From the bytes of a file to an item: a loader gets an open file, as PIL, numpy, torch and others want one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from alluxio_lance.errors import Corrupt, InvalidArgument

__all__ = ["IMAGES", "FileBytes", "Loader", "default_loader"]

Loader = Callable[[BinaryIO], Any]

IMAGES: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings of image files, the list of torchvision."""


_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file with such an ending is decoded as: of PIL's other formats some start programs, such as Ghostscript."""


class FileBytes(io.BytesIO):
    """A file in memory that says its name, so that a loader can choose by it."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name
        """Absolute in the namespace."""


def default_loader(file: BinaryIO) -> Any:
    """Decode an image, known by its ending, to a `PIL.Image.Image` in RGB; return the bytes of any other file.

    Raises
    ------
    Corrupt
        When a file that is named like an image is none.
    InvalidArgument
        When Pillow is not installed.
    """
    if not file.name.lower().endswith(IMAGES):
        return file.read()
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only who decodes images needs it
    except ImportError:
        raise InvalidArgument(f"decoding {file.name} needs Pillow: pip install pillow, or give a loader") from None
    try:
        with Image.open(file, formats=_FORMATS) as image:
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise Corrupt(
            f"{file.name} is an image of more pixels than PIL takes for harmless ({error}): remove it, give a loader, or "
            "set PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnidentifiedImageError:
        raise Corrupt(f"{file.name} is no image that PIL knows: remove it, or give extensions or a loader") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise Corrupt(f"{file.name} is a damaged image ({error}): write it again, or remove it") from error
