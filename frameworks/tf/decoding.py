"""Columns of encoded pictures as tensors, decoded in the graph from the mapped memory: what ``decode="image"`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = ["broken", "picture"]

_KINDS: Final = {
    b"\xff\xd8\xff": b"\xff\xd9",
    b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82",
    b"GIF8": b"",
    b"BM": b"",
}
"""How the files that ``tf.io.decode_image`` reads begin and end: JPEG, PNG, GIF, BMP. Cameras may write more behind it."""


def picture(parts: Sequence[Any], row: Any, what: str) -> Any:
    """Read the picture of a row number: ``uint8[height, width, 3]``.

    The bytes stay where they are mapped until the row is read. Files without beginning or end are known beforehand, so
    that reading one says which row it is; the decoders of TensorFlow could not.

    Parameters
    ----------
    parts
        Tensors of all rows: the bytes; where those of each begin; how many they are; what `broken` found.
    what
        The column, for the message.
    """
    flat, begin, length, wrong = parts
    said = f"of {what} is no whole JPEG, PNG, GIF or BMP picture - register the version anew without it"
    with tf.control_dependencies([tf.debugging.Assert(wrong[row] < 0, ["row", wrong[row], said])]):
        data = flat[begin[row] : begin[row] + length[row]]
    image = tf.io.decode_image(_text(data, length[row]), channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def broken(
    values: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    numbers: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    """Find rows that are no whole pictures.

    Parameters
    ----------
    values
        The bytes of all rows.
    numbers
        From rows to the numbers that are told.

    Returns
    -------
    numpy.ndarray
        int64, for each row: its number when it is none, else -1.
    """
    found = np.full(len(starts), -1, np.int64)
    rows = np.flatnonzero(~_whole(values, starts, lengths))
    found[rows] = numbers(rows)
    return found


def _text(data: Any, length: Any) -> Any:
    """Make a string of a vector of bytes, for which there is no operation: a serialized tensor ends with its bytes."""
    message = tf.io.serialize_tensor(data)
    head = tf.strings.length(message) - tf.cast(length, tf.int32)
    return tf.strings.substr(message, head, tf.cast(length, tf.int32))


def _whole(
    values: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(starts), np.bool_)
    for head, end in _KINDS.items():
        rows = np.flatnonzero(lengths >= len(head) + len(end))
        rows = rows[_have(values, starts[rows], head)]
        ending = _have(values, starts[rows] + lengths[rows] - len(end), end)
        found[rows[ending]] = True
        for row in rows[~ending]:
            found[row] = end in values[starts[row] : starts[row] + lengths[row]].tobytes()
    return found


def _have(values: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], text: bytes) -> npt.NDArray[np.bool_]:
    """Say at which places a text stands."""
    found = np.ones(len(places), np.bool_)
    for offset, byte in enumerate(text):
        found &= values[places + offset] == byte
    return found
