"""A version as a ``tf.data.Dataset`` that is built in the graph, in the sidecar's memory or in windows: no Python per batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.arguments import batch_rows, column_names, counted
from alluxio_lance.client.decoding import pictures
from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument, NoSpace
from alluxio_lance.frameworks.tf.streamed import streamed_elements
from alluxio_lance.frameworks.tf.streamed_windows import Cut, Windows
from alluxio_lance.frameworks.tf.tensors import Take, forms_of, takers
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
    filter: str | None = None,
    decode: str | Mapping[str, str] | None = None,
    stream: bool | None = None,
    window_units: int | None = None,
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

    A version that does not fit into the sidecar's budget is read window by window, in the order of docs/streaming.md: rows
    are shuffled within windows that are dealt anew for each epoch. Then Python runs once for each window, and all batches
    are copies. A window is held until its last batch was made, however long the loop pauses.

    The version stays the same for as long as the dataset, or any made from it, is alive: make a new one to see an
    update. The lease ends with it.

    Parameters
    ----------
    uri
        ``alluxio://datasets/cifar10``, with a selector behind ``@`` for another version than the active one.
    batch_size
        Rows per element; None makes each row an element.
    shuffle
        Read the rows in a random order, another one in each epoch: over the whole version if it is in memory.
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
        Values for nulls by column; necessary for all columns with nulls in the rows that are read, but floats and moments.
    filter
        Read only the rows for which this SQL expression is true, such as ``label = 3 AND split = 'train'``. It may ask about
        columns that are not opened; streamed, units of rows without any that it chooses are not loaded. Evaluated once, by
        the sidecar, when the dataset is opened. docs/views.md has the language. Batches are then copies in any case.
    decode
        ``"image"`` makes the pictures of all binary columns ``tf.uint8 [height, width, 3]``, ``{"photo": "image"}``
        those of one column: JPEG, PNG, GIF (its first picture) and BMP, by ``tf.io.decode_image``, several rows at a
        time. A batch needs pictures of one size; for others leave out ``batch_size``, and resize before batching:
        ``.map(lambda row: tf.image.resize(row["photo"], (224, 224)), tf.data.AUTOTUNE).batch(64)``. A row that is no
        whole picture is an ``InvalidArgumentError`` with its number when it is read.
    stream
        None: in memory if it fits into the sidecar's budget, else streamed. True and False insist.
    window_units
        Stream by windows of so many units (ranges of rows). By default as many as fit twice into the budget of this node.
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
    NotFound, NotActive, InvalidURI
        What the sidecar says to the URI; `NotFound` also when ``decode`` names no column.
    NoSpace
        When ``stream`` is False and it does not fit, or when not even a unit does.
    InvalidArgument
        When ``columns`` are no names, ``fill_null`` does not fit or is missing, ``decode`` names what cannot be decoded, a column
        has no counterpart in TensorFlow, or ``filter`` cannot be evaluated.

    Streaming, some errors come only with a window, as TensorFlow's own with our sentence in them: ``InvalidArgumentError``
    for a null that nothing stands in for, ``ResourceExhaustedError`` where a window has no room, ``UnknownError`` when the
    sidecar is gone.
    """
    batch_size = batch_rows(batch_size)
    if window_units is not None:
        window_units = counted("window_units", window_units, 1)
    if stream is False and window_units is not None:
        raise InvalidArgument("window_units says how to stream a version, and stream=False not to - give only one")
    names = column_names(columns)
    opened = _opened(uri, names, address, stream, window_units, wait=wait, on_progress=on_progress)
    try:
        of_type = opened.columns
        decoded = pictures(decode, of_type, opened.layout.uri)
        # Pictures are decoded row by row, and batched afterwards.
        cut = Cut(None if decoded else batch_size, shuffle, drop_remainder)
        chosen = None if filter is None else Chosen.of(opened, filter)
        if isinstance(opened, Table):
            rows = None if chosen is None else chosen.numbers.all()
            dataset = _elements(takers(opened, fill_null, decoded, rows), opened.rows, rows, cut, seed)
        else:
            forms = forms_of(of_type, fill_null, decoded, opened.layout.uri)
            units = window_units or opened.window_units
            dataset = streamed_elements(Windows(opened, forms, cut, units, chosen), seed)
        dataset = _finished(dataset, cut)
        if decoded and batch_size is not None:
            dataset = dataset.batch(batch_size, drop_remainder).prefetch(tf.data.AUTOTUNE)
    except BaseException:
        opened.close()
        raise
    if isinstance(opened, Table):
        # The tensors keep the memory mapped; the lease, which keeps others from deleting the version, ends here.
        weakref.finalize(dataset, opened.close)
    return dataset


def _opened(
    uri: str,
    columns: Sequence[str] | None,
    address: str | None,
    stream: bool | None,
    window_units: int | None,
    *,
    wait: bool,
    on_progress: OnProgress | None,
) -> Table | StreamedVersion:
    """Open a version as asked; where that is left open, in memory if it fits, else in windows."""
    if stream is not True and window_units is None:
        try:
            return Table.open(uri, columns, address, wait=wait, on_progress=on_progress)
        except NoSpace:
            if stream is False:
                raise
    return StreamedVersion.open(uri, columns, address, wait=wait, on_progress=on_progress)


def _elements(
    columns: Mapping[str, Take], rows: int, chosen: npt.NDArray[np.int64] | None, cut: Cut, seed: int | None
) -> Any:
    """Make the elements of a version with so many rows, of which some may be chosen."""
    size = cut.batch_size
    places = rows if chosen is None else len(chosen)
    picked = _whole if chosen is None else _picker(chosen, rows)
    starts = tf.data.Dataset.range(0, cut.count(places) * cut.size, cut.size)
    if not cut.shuffle:
        return starts.map(_plain(lambda start: _read(columns, picked(_span(start, places, size)))), tf.data.AUTOTUNE)

    def epoch(key: Any) -> Any:
        return starts.map(
            _plain(lambda start: _read(columns, picked(_shuffled(_numbers(start, places, size), key, places)))),
            tf.data.AUTOTUNE,
        )

    # One key per epoch: the same seed gives the same sequence of keys, so of orders.
    keys = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(3, drop_remainder=True).take(1)
    return keys.flat_map(_plain(epoch)).apply(tf.data.experimental.assert_cardinality(cut.count(places)))


def _plain(function: Any) -> Any:
    # Nothing here branches on a tensor, so there is nothing for AutoGraph to rewrite.
    return tf.autograph.experimental.do_not_convert(function)


def _whole(places: Any) -> Any:
    """Without a filter the place of a row is its number."""
    return places


def _picker(chosen: npt.NDArray[np.int64], rows: int) -> Callable[[Any], Any]:
    """Make the operation from places among the chosen rows to their numbers, which it keeps as small as they can be."""
    with tf.device("CPU:0"):
        numbers = tf.constant(chosen.astype(np.int32 if rows <= 1 << 31 else np.int64))

    def picked(places: Any) -> Any:
        return tf.cast(numbers[places] if isinstance(places, slice) else tf.gather(numbers, places), tf.int64)

    return picked


def _read(columns: Mapping[str, Take], rows: Any) -> dict[str, Any]:
    return {name: take(rows) for name, take in columns.items()}


def _span(start: Any, places: int, batch_size: int | None) -> Any:
    return start if batch_size is None else slice(start, tf.minimum(start + batch_size, places))


def _numbers(start: Any, places: int, batch_size: int | None) -> Any:
    return start if batch_size is None else tf.range(start, tf.minimum(start + batch_size, places))


def _shuffled(numbers: Any, key: Any, places: int) -> Any:
    # A bijection of the places, computed where it is needed: no buffer, and no wait at the start of an epoch. The kernel
    # has no word for none of them, and is not asked then.
    last = tf.constant(max(places - 1, 0), tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=numbers, seed=tf.cast(key, tf.uint32), max_index=last, rounds=_ROUNDS)


def _finished(dataset: Any, cut: Cut) -> Any:
    size = cut.batch_size
    if size is not None and cut.drop_remainder:
        dataset = dataset.map(_plain(lambda batch: {name: _sized(value, size) for name, value in batch.items()}))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _sized(value: Any, batch_size: int) -> Any:
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensor.from_row_splits(
            value.values, tf.ensure_shape(value.row_splits, (batch_size + 1,)), validate=False
        )
    return tf.ensure_shape(value, (batch_size, *value.shape[1:]))
