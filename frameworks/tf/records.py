"""TFRecord files of Alluxio as a ``tf.data.Dataset``: TensorFlow's own reader reads them, Python runs once per file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import tensorflow as tf

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.globbing import has_magic
from alluxio_lance.files.paths import absolute, as_uri
from alluxio_lance.files.settings import find_address
from alluxio_lance.frameworks.tf.raising import in_tensorflow
from alluxio_lance.frameworks.tf.records_near import Ahead

__all__ = ["TFRecordDataset"]

_SCHEME: Final = "alluxio:"


def TFRecordDataset(  # noqa: N802 - it stands where tf.data.TFRecordDataset stands
    filenames: Any,
    compression_type: Any = None,
    buffer_size: Any = None,
    num_parallel_reads: Any = None,
    name: str | None = None,
    *,
    address: str | None = None,
) -> Any:
    """Read the records of files in Alluxio, in the order and with the errors of ``tf.data.TFRecordDataset``.

    TensorFlow's own reader does framing, checksums and decompression. It opens a file of one block, which a worker of
    this node has, where it lies; any other one is first copied into an unnamed file in the folder for temporary files,
    the next one while one is read. A file is looked up anew in each epoch.

    Parameters
    ----------
    filenames
        One name or a list, a string tensor, or a ``tf.data.Dataset`` of names: ``alluxio:///records/a.tfrecord``. In a
        string, or a list of them, a name may be a pattern such as ``alluxio:///records/*.tfrecord``, with ``?``, ``[…]``
        and ``**`` too: it becomes the files that match now, sorted by path. Names without ``alluxio:`` are TensorFlow's
        own, a mount's for instance.
    compression_type
        ``""`` (no compression, as None), ``"ZLIB"`` or ``"GZIP"``.
    buffer_size
        Bytes of the reader's buffer; by default TensorFlow's choice.
    num_parallel_reads
        How many files are read at once, their records in turn; None: one file after the other.
    name
        A name for the operations.
    address
        The Alluxio, as in `AlluxioFiles.connect`: by default what the setting ``files`` says.

    Returns
    -------
    tf.data.Dataset
        Of scalar strings. It calls into this process, so it cannot be saved, sent elsewhere, or checkpointed in the
        middle of an epoch.

    Raises
    ------
    NotFound
        When nothing matches a pattern.
    InvalidURI
        When a pattern names no files.
    Unavailable
        When a pattern is given and Alluxio does not answer.
    TypeError, ValueError
        As ``tf.data.TFRecordDataset`` for arguments of a wrong type.

    Notes
    -----
    While it is read: ``tf.errors.DataLossError`` for damaged records, ``tf.errors.NotFoundError`` for a missing file,
    ``InvalidArgumentError`` for a folder, ``ResourceExhaustedError`` without room for a copy, and ``UnknownError`` with
    the whole sentence when Alluxio does not answer.

    Examples
    --------
    >>> records = TFRecordDataset("alluxio:///records/*.tfrecord", num_parallel_reads=4)  # doctest: +SKIP
    """
    files = _files_of(find_address(address))
    found = _expanded(files, filenames)
    # TensorFlow's own one refuses what it cannot take, in its own words.
    tf.data.TFRecordDataset(found, compression_type, buffer_size, num_parallel_reads, name)
    if not isinstance(found, tf.data.Dataset):
        flat = tf.reshape(tf.convert_to_tensor(found, dtype_hint=tf.string), [-1])
        found = tf.data.Dataset.from_tensor_slices(flat, name=name)
    ahead = Ahead(files)

    def read_one(file: Any, following: Any = "") -> Any:
        # The Python side holds the file for as long as the reader is there, however the reader ends.
        path = tf.data.Dataset.from_generator(
            lambda *names: _hold(ahead, *names),
            args=(file, following),
            output_signature=tf.TensorSpec((), tf.string),
            name=name,
        )
        return path.flat_map(lambda near: tf.data.TFRecordDataset(near, compression_type, buffer_size, name=name))

    if num_parallel_reads is None:
        return _with_following(found).flat_map(read_one, name=name)
    if num_parallel_reads == tf.data.AUTOTUNE:
        return found.interleave(read_one, num_parallel_calls=num_parallel_reads, name=name)
    return found.interleave(
        read_one,
        cycle_length=num_parallel_reads,
        block_length=1,
        num_parallel_calls=num_parallel_reads,
        deterministic=True,
        name=name,
    )


@cache
def _files_of(address: AlluxioAddress) -> AlluxioFiles:
    """Share the connections of one Alluxio: TensorFlow keeps all that a dataset calls until the process ends."""
    return AlluxioFiles(address)


def _expanded(files: AlluxioFiles, filenames: Any) -> Any:
    """Put the files that match in place of each pattern; what is no string, and no list of them, stays."""
    given = tf.nest.flatten(filenames) if isinstance(filenames, list | tuple) else [filenames]
    if not all(isinstance(each, str | bytes | os.PathLike) for each in given):
        return filenames
    names = [os.fsdecode(each) for each in given]
    return [name for each in names for name in (_matches(files, each) if _is_pattern(each) else [each])]


def _is_pattern(name: str) -> bool:
    return name.startswith(_SCHEME) and has_magic(name)


def _matches(files: AlluxioFiles, pattern: str) -> list[str]:
    found = [as_uri(file.path) for file in files.glob(pattern)]
    if not found:
        raise NotFound(f"no file in Alluxio matches {pattern}: look at what its folder holds, or mend the pattern")
    return found


def _with_following(names: Any) -> Any:
    """Make pairs of each name and the one that follows it, the empty one at the end."""
    scalars = names.map(lambda name: tf.reshape(name, []))
    return (
        scalars.concatenate(tf.data.Dataset.from_tensors("")).scan("", lambda before, now: (now, (before, now))).skip(1)
    )


def _hold(ahead: Ahead, name: bytes, following: bytes) -> Iterator[str]:
    """Yield the path of a file once, and keep the file for as long as TensorFlow keeps this generator."""
    file, next_file = os.fsdecode(name), os.fsdecode(following)
    if not file.startswith(_SCHEME):
        yield file
        return
    try:
        near = ahead.take(file)
    except NotFound:
        # TensorFlow finds nothing at this path, and says so in the very error that it has for it.
        yield f"{_SCHEME}{absolute(file)}"
        return
    except AlluxioLanceError as error:
        raise in_tensorflow(error) from error
    try:
        if next_file.startswith(_SCHEME):
            ahead.start(next_file)
        yield near.path
    except GeneratorExit:
        # Nobody reads on: this iterator was dropped in the middle.
        ahead.drop()
        raise
    finally:
        near.close()
