"""A version in the sidecar's memory as a ``tf.data.Dataset`` that is built in the graph: no Python runs per batch."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from alluxio_lance.client.decoding import pictures
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.tf.tensors import Take, takers
from alluxio_lance.manager import OnProgress

__all__ = ["Dataset"]

_ROUNDS = 8
"""Of the cipher (SIMON) behind ``index_shuffle``; TensorFlow's default of 4 mixes short ranges less well."""


def Dataset(  # noqa: N802 - it stands where tf.data.Dataset stands, and is one
    uri: str,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    columns: Sequence[str] | None = None,
    drop_remainder: bool = False,
    address: str | None = None,
    fill_null: Mapping[str, Any] | None = None,
    *,
    decode: str | Mapping[str, str] | None = None,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> Any:
    """Open a version as a ``tf.data.Dataset`` of dicts, one entry per column.

    Columns of fixed width are captured without a copy. In order, a batch is a view of them where a row is a multiple of
    64 bytes, which is TensorFlow's own rule; shuffled it is one gather.
    Strings become ``tf.string``, lists of numbers a ``tf.RaggedTensor``; docs/types.md has the whole table. The
    cardinality is known, so Keras knows its steps.

    Iterators can be saved with ``tf.train.Checkpoint``, and go on exactly where they were; in the epochs after a shuffled
    one only with a ``seed``. ``ds.shard(n, i)`` of a shuffled dataset needs a ``seed`` too, the same for all: without it
    each process has orders of its own.

    The version stays the same for as long as the dataset, or any made from it, is alive: make a new one to see an
    update. The lease ends with it.

    Parameters
    ----------
    uri
        ``alluxio://datasets/cifar10``, with a selector behind ``@`` for another version than the active one.
    batch_size
        Rows per element; None makes each row an element.
    shuffle
        Read the rows in a random order over the whole version, another one in each epoch.
    seed
        Makes the orders of all epochs repeatable; without it they follow ``tf.random.set_seed``, if that was called.
    columns
        Only these; all by default.
    drop_remainder
        Leave a last batch out that has fewer rows, which makes the batch dimension static.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        default run folder.
    fill_null
        Values for nulls by column; necessary for all columns with nulls but floats and moments.
    decode
        ``"image"`` makes the pictures of all binary columns ``tf.uint8 [height, width, 3]``, ``{"photo": "image"}``
        those of one column: JPEG, PNG, GIF (its first picture) and BMP, by ``tf.io.decode_image``, several rows at a
        time. A batch needs pictures of one size; for others leave out ``batch_size``, and resize before batching:
        ``.map(lambda row: tf.image.resize(row["photo"], (224, 224)), tf.data.AUTOTUNE).batch(64)``. A row that is no
        whole picture is an ``InvalidArgumentError`` with its number when it is read.
    wait
        When the version was archived: wait until it is back, instead of raising.
    on_progress
        Told meanwhile how far that is, in bytes; without it a terminal shows a bar.

    Returns
    -------
    tf.data.Dataset

    Raises
    ------
    Unavailable
        When no sidecar answers.
    Restoring
        When the version was archived and ``wait`` is off: it is under way, ``details["progress"]`` says how far.
    NotFound, NotActive, InvalidURI, NoSpace
        What the sidecar says to the URI; `NotFound` also when ``decode`` names no column.
    InvalidArgument
        When ``fill_null`` does not fit or is missing, ``decode`` names what cannot be decoded, or a column has no counterpart in TensorFlow.
    """
    if batch_size is not None and batch_size < 1:
        raise InvalidArgument(f"batch_size={batch_size} makes no batches - give a number of rows, or None")
    table = Table.open(uri, columns, address, wait=wait, on_progress=on_progress)
    try:
        decoded = pictures(decode, table.columns, table.layout.uri)
        columns_of = takers(table, fill_null, decoded)
        # Pictures are decoded row by row, and batched afterwards.
        size, together = (None, batch_size) if decoded else (batch_size, None)
        dataset = _elements(columns_of, table.rows, size, shuffle, seed, drop_remainder)
        if together is not None:
            dataset = dataset.batch(together, drop_remainder).prefetch(tf.data.AUTOTUNE)
    except BaseException:
        table.close()
        raise
    # The tensors keep the memory mapped; the lease, which keeps others from deleting the version, ends here.
    weakref.finalize(dataset, table.close)
    return dataset


def _elements(
    columns: Mapping[str, Take], rows: int, batch_size: int | None, shuffle: bool, seed: int | None, drop: bool
) -> Any:
    size = batch_size or 1
    stop = rows - rows % size if drop else rows
    starts = tf.data.Dataset.range(0, stop, size)
    count = -(-stop // size)
    if not shuffle:
        chosen = starts.map(_plain(lambda start: _read(columns, _span(start, rows, batch_size))), tf.data.AUTOTUNE)
        return _finished(chosen, batch_size, drop)

    def epoch(key: Any) -> Any:
        return starts.map(
            _plain(lambda start: _read(columns, _shuffled(_numbers(start, rows, batch_size), key, rows))),
            tf.data.AUTOTUNE,
        )

    # One key per epoch: the same seed gives the same sequence of keys, so of orders.
    keys = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(3, drop_remainder=True).take(1)
    chosen = keys.flat_map(_plain(epoch)).apply(tf.data.experimental.assert_cardinality(count))
    return _finished(chosen, batch_size, drop)


def _plain(function: Any) -> Any:
    # Nothing here branches on a tensor, so there is nothing for AutoGraph to rewrite.
    return tf.autograph.experimental.do_not_convert(function)


def _read(columns: Mapping[str, Take], rows: Any) -> dict[str, Any]:
    return {name: take(rows) for name, take in columns.items()}


def _span(start: Any, rows: int, batch_size: int | None) -> Any:
    return start if batch_size is None else slice(start, tf.minimum(start + batch_size, rows))


def _numbers(start: Any, rows: int, batch_size: int | None) -> Any:
    return start if batch_size is None else tf.range(start, tf.minimum(start + batch_size, rows))


def _shuffled(numbers: Any, key: Any, rows: int) -> Any:
    # A bijection of the row numbers, computed where it is needed: no buffer, and no wait at the start of an epoch.
    last = tf.constant(rows - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=numbers, seed=tf.cast(key, tf.uint32), max_index=last, rounds=_ROUNDS)


def _finished(dataset: Any, batch_size: int | None, drop: bool) -> Any:
    if batch_size is not None and drop:
        dataset = dataset.map(_plain(lambda batch: {name: _sized(value, batch_size) for name, value in batch.items()}))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _sized(value: Any, batch_size: int) -> Any:
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensor.from_row_splits(
            value.values, tf.ensure_shape(value.row_splits, (batch_size + 1,)), validate=False
        )
    return tf.ensure_shape(value, (batch_size, *value.shape[1:]))
