"""A folder of images: their bytes, or pixels of one size, and the label that the folder's name tells."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps, UnidentifiedImageError

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import list_files
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.values import whole

__all__ = ["IMAGES", "IMAGE_SUFFIXES"]

IMAGE_SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_BATCH_BYTES: Final = 8 << 20
_LARGEST_SIDE: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class _Row:
    file: Path
    path: str
    label: int | None
    label_name: str | None


def _open(path: Path, options: Mapping[str, Any]) -> Source:
    if not path.is_dir():
        raise InvalidArgument(
            f"{path} is no folder: give the folder that has the images, or folders of images by class"
        )
    rows = _rows(path)
    labels = _label_fields(rows)
    size = _size(options["decode"]) if "decode" in options else None
    first = (
        pa.field("bytes", pa.binary(), nullable=False)
        if size is None
        else pa.field("image", _tensor(size), nullable=False)
    )
    schema = pa.schema([first, *labels, pa.field("path", pa.string(), nullable=False)])
    batches = _encoded(rows) if size is None else _decoded(rows, size)
    return Source(
        reader=stream(schema, (_batch(chunk, column, schema) for chunk, column in batches)),
        num_rows=len(rows),
        num_bytes=sum(row.file.stat().st_size for row in rows) if size is None else len(rows) * size[0] * size[1] * 3,
        description=str(path),
    )


def _rows(root: Path) -> list[_Row]:
    files = [file for file in list_files(root) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise InvalidArgument(f"the folder {root} has no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    parts = [file.relative_to(root).parts for file in files]
    numbers = {name: number for number, name in enumerate(sorted({each[0] for each in parts if len(each) > 1}))}
    return [
        _Row(file, "/".join(each), numbers[each[0]], each[0]) if len(each) > 1 else _Row(file, each[0], None, None)
        for file, each in zip(files, parts, strict=True)
    ]


def _label_fields(rows: Sequence[_Row]) -> list[pa.Field]:
    """Return no label columns without folders; nullable ones when only some images lie in folders."""
    bare = sum(row.label is None for row in rows)
    if bare == len(rows):
        return []
    return [
        pa.field("label", pa.int64(), nullable=bare > 0),
        pa.field("label_name", pa.string(), nullable=bare > 0),
    ]


def _size(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004 - height and width
        raise InvalidArgument(f"option 'decode' is [height, width] in pixels, such as [64, 64], not {value!r}")
    return whole("decode", value[0], 1, _LARGEST_SIDE), whole("decode", value[1], 1, _LARGEST_SIDE)


def _tensor(size: tuple[int, int]) -> pa.DataType:
    return pa.fixed_shape_tensor(pa.uint8(), [*size, 3], dim_names=["height", "width", "channel"])


def _batch(rows: Sequence[_Row], column: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    columns = {
        schema.names[0]: column,
        "label": pa.array([row.label for row in rows], pa.int64()),
        "label_name": pa.array([row.label_name for row in rows], pa.string()),
        "path": pa.array([row.path for row in rows], pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _encoded(rows: Iterable[_Row]) -> Iterator[tuple[list[_Row], pa.Array]]:
    chunk: list[_Row] = []
    data: list[bytes] = []
    size = 0
    for row in rows:
        content = _read(row.file)
        with _image(row.file, content):
            chunk.append(row)
            data.append(content)
        size += len(content)
        if size >= _BATCH_BYTES:
            yield chunk, pa.array(data, pa.binary())
            chunk, data, size = [], [], 0
    if chunk:
        yield chunk, pa.array(data, pa.binary())


def _decoded(rows: Sequence[_Row], size: tuple[int, int]) -> Iterator[tuple[list[_Row], pa.Array]]:
    height, width = size
    many = max(1, _BATCH_BYTES // (height * width * 3))
    type_ = _tensor(size)
    # Pillow works without the interpreter lock, so threads decode on all cores.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(rows), many):
            chunk = list(rows[start : start + many])
            pixels = np.empty((len(chunk), height, width, 3), np.uint8)
            for number, image in enumerate(threads.map(lambda row: _pixels(row.file, height, width), chunk)):
                pixels[number] = image
            flat = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), height * width * 3)
            yield chunk, pa.ExtensionArray.from_storage(type_, flat)


def _pixels(file: Path, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with _image(file, _read(file)) as image:
        try:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        except (OSError, SyntaxError, ValueError) as error:
            raise _broken(file, error) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the image {file} cannot be read: {error.strerror}") from error


def _image(file: Path, content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError as error:
        # Pillow's own words name the buffer that it was given.
        raise InvalidArgument(
            f"the image {file} is broken (it begins like no image): mend or remove it", path=str(file)
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _broken(file, error) from error


def _broken(file: Path, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"the image {file} is broken ({error}): mend or remove it", path=str(file))


IMAGES: Final = Importer(
    name="images",
    accepts="a folder of images",
    open=_open,
    options={"decode": "[height, width] in pixels: store decoded RGB images of this size"},
)
