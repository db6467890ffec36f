"""The stream that Lance pulls from: the source's batches, fitted, cut to pages, counted, and its failures kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NoSpace
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage.batching import rechunk
from alluxio_lance.storage.fitting import fit_batches
from alluxio_lance.storage.place import Place
from alluxio_lance.values import Progress

__all__ = ["Feed", "feeding"]


class Feed:
    """One pass over a source.

    Lance sees a Python exception of its input as a text only; ``failure`` keeps the exception itself.
    """

    def __init__(self, source: Source, schema: pa.Schema, write: Write) -> None:
        self._source = source
        self._schema = schema
        self._write = write
        self.failure: BaseException | None = None
        self.rows = 0
        self.bytes = 0

    def reader(self) -> pa.RecordBatchReader:
        """Return the stream for Lance."""
        return pa.RecordBatchReader.from_batches(self._schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches and report progress; called from whichever thread Lance reads in."""
        try:
            for batch in rechunk(fit_batches(self._source.reader, self._schema, self._source.description)):
                yield batch
                self._count(batch)
        except GeneratorExit:
            raise
        except BaseException as failure:
            self.failure = failure
            raise

    def _count(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        if self._write.on_progress is not None:
            progress = Progress(
                step="write",
                rows=self.rows,
                total_rows=self._source.num_rows,
                bytes=self.bytes,
                total_bytes=self._source.num_bytes,
            )
            self._write.on_progress(progress)


@contextmanager
def feeding(place: Place, source: Source, schema: pa.Schema, write: Write) -> Iterator[Feed]:
    """Read a source once and close it; what failed in it is raised in the place of what Lance made of it.

    Raises
    ------
    InvalidArgument
        When the source fails with an exception that is not one of ours.
    NoSpace
        With the free bytes of the place and the size of the source, when the disk is full.
    """
    feed = Feed(source, schema, write)
    with closing(source.reader):
        try:
            yield feed
        except NoSpace as full:
            full.details.update(budget=place.free_bytes(), need=source.num_bytes or feed.bytes)
            raise
        except BaseException as error:
            if feed.failure is None:
                raise
            raise _ours(feed.failure, source) from error


def _ours(failure: BaseException, source: Source) -> BaseException:
    if isinstance(failure, AlluxioLanceError) or not isinstance(failure, Exception):
        return failure
    mine = InvalidArgument(
        f"{source.description or 'the data'} cannot be read to its end: {type(failure).__name__}: {failure}"
    )
    mine.__cause__ = failure
    return mine
