"""Lance's texts and the errors that they become."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import (
    AlreadyExists,
    Conflict,
    Corrupt,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    Unavailable,
)
from alluxio_lance.lifecycle.ports import Source
from alluxio_lance.storage.faults import lance_faults, translate
from alluxio_lance.storage.feed import feeding
from alluxio_lance.storage.local import LocalRoot

TABLE = [
    (OSError("Dataset already exists: /r/a.lance, /home/x/insert.rs:333:28"), AlreadyExists),
    (OSError("Retryable commit conflict for version 4: This Overwrite transaction was preempted by ..."), Conflict),
    (OSError("Incompatible transaction: This Append … incompatible with concurrent transaction Overwrite"), Conflict),
    (OSError("LanceError(IO): No space left on device (os error 28), /b/local.rs:1:2"), NoSpace),
    (OSError("LanceError(IO): Disk quota exceeded (os error 122)"), NoSpace),
    (OSError("LanceError(IO): Permission denied (os error 13)"), Unavailable),
    (OSError("something went wrong on the wire"), Unavailable),
    (ValueError("Dataset at path r/a.lance was not found: Not found: r/a.lance/_versions, /b/c.rs:6:26"), NotFound),
    (ValueError("Ref not found error: tag x"), NotFound),
    (OSError("LanceError(Schema): Unsupported data type: Interval(MonthDayNano)"), InvalidArgument),
    (OSError("Invalid user input: The column _rowid is a reserved name"), InvalidArgument),
    (OSError("Not found: r/a.lance/data/x.lance, /b/c.rs:6:26"), Corrupt),
    (RuntimeError("no pattern fits this"), Internal),
]


@pytest.mark.parametrize(("error", "kind"), TABLE, ids=lambda value: str(value)[:30])
def test_texts_become_errors(error, kind):
    """Each text has its error, whose sentence names the table and not a line of Rust code."""
    found = translate(error, "/r/a.lance")
    assert type(found) is kind
    assert "/r/a.lance" in found.message
    assert ".rs:" not in found.message


def test_long_texts_are_cut():
    """A debug print of pages does not become a sentence of pages."""
    assert len(translate(OSError("x" * 10_000), "t").message) < 500


def test_ours_pass_and_panics_are_corruption():
    """Our own errors pass unchanged, a panic of Rust code is told as an unreadable file, Ctrl-C stays Ctrl-C."""
    with pytest.raises(NotFound, match="mine"), lance_faults("t"):
        raise NotFound("mine")
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(Corrupt, match="gave up on t"), lance_faults("t"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), lance_faults("t"):
        raise KeyboardInterrupt


def test_a_full_disk_tells_budget_and_need(tmp_path, write):
    """The error of a full disk has what is free and what the source has; the disk's fault is made up here."""
    import pyarrow as pa

    reader = pa.RecordBatchReader.from_batches(pa.schema([]), [])
    source = Source(reader=reader, num_bytes=12345)
    with (
        pytest.raises(NoSpace) as caught,
        feeding(LocalRoot(tmp_path), source, reader.schema, write()),
        lance_faults("t"),
    ):
        raise OSError("No space left on device (os error 28)")
    assert caught.value.details["need"] == 12345
    assert caught.value.details["budget"] > 0
