"""Models on their way into memory: two safetensors files with exactly what the table has, whatever the order of its rows."""

from __future__ import annotations

import json
import os
import random

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from tests.sidecar.models.conftest import FILES, NOTES, TENSORS

from alluxio_lance.errors import NoSpace, Unavailable
from alluxio_lance.layout import PAGE, ColumnKind, Pages, Region
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.memfd import HUGE_PAGE
from alluxio_lance.sidecar.models import file
from alluxio_lance.sidecar.models.loading import load_model
from alluxio_lance.sidecar.models.planning import plan_model
from alluxio_lance.weights.chunks import CHUNK_BYTES
from alluxio_lance.weights.header import ALIGNMENT
from alluxio_lance.weights.rows import Notes


def _check(hot, read, tensor_bytes) -> None:
    tensors, files = map(read, hot)
    assert {name: tensors[name] for name in tensors.head.tensors} == {name: tensor_bytes(name) for name in TENSORS}
    assert {name: (placed.spec.dtype, placed.spec.shape) for name, placed in tensors.head.tensors.items()} == TENSORS
    assert {name: files[name] for name in files.head.tensors} == FILES


def test_both_columns_are_whole_safetensors_files(table, load, read, tensor_bytes):
    """Tensors have their types, shapes and bytes; files are tensors of bytes; another reader of the format agrees."""
    hot = load(table)
    _check(hot, read, tensor_bytes)
    for column, names in zip(hot, (TENSORS, FILES), strict=True):
        found = dict(safetensors.deserialize(read(column).data))
        assert found.keys() == set(names)
    assert bytes(found["config.json"]["data"]) == FILES["config.json"]


def test_the_layout_says_that_the_segment_is_the_file(table, load):
    """Each column is one segment of kind FILE, whose data are all of the memfd."""
    for hot, name in zip(load(table), ("tensors", "files"), strict=True):
        column, (segment,) = hot.column, hot.column.segments
        assert (column.name, column.kind, column.dtype) == (name, ColumnKind.FILE, "safetensors")
        assert segment.data == Region(0, segment.length)
        assert segment.length == os.fstat(hot.descriptors[0]).st_size
        assert segment.rows == table.num_rows
        assert (column.shape, column.nullable, column.null_count) == ((), False, 0)


def test_the_notes_are_in_the_head_of_the_tensors(table, load, read):
    """What ties and views there are comes with the tensors; the files have no metadata."""
    tensors, files = map(read, load(table))
    assert tensors.head.metadata["format"] == "pt"
    assert Notes.from_json(tensors.head.metadata["alluxio_lance"].encode()) == NOTES
    assert files.head.metadata == {}


def test_tensors_are_aligned(table, load, read):
    """Tensors of whole cache lines begin on one, all others on a multiple of their elements."""
    tensors = read(load(table, "tensors")[0]).head
    assert tensors.data % PAGE == 0
    widths = {"U8": 1, "F16": 2, "I64": 8, "F32": 4, "BF16": 2}
    for placed in tensors.tensors.values():
        unit = widths[placed.spec.dtype] if placed.size % ALIGNMENT else ALIGNMENT
        assert placed.offset % unit == 0, placed


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_the_order_of_the_rows_does_not_matter(batch_rows, table, load, read, tensor_bytes):
    """Pieces come shuffled, in batches of any size, and the files are the same, byte by byte."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    expected = [read(column).data for column in load(table)]
    order = random.Random(seed).sample(range(table.num_rows), table.num_rows)
    hot = load(table.take(order), batch_rows=batch_rows)
    _check(hot, read, tensor_bytes)
    assert [read(column).data for column in hot] == expected


def test_a_model_may_have_nothing(model_table, load, read):
    """Without tensors and without files, both are valid files without a tensor."""
    for column in map(read, load(model_table({}, {}, Notes()))):
        assert dict(safetensors.deserialize(column.data)) == {}


def test_thousands_of_small_tensors(model_table, load, read):
    """Rows by the thousand, mixed with long ones, are each at their place."""
    shapes = {f"layer.{i}": ("F32", (i % 7,)) for i in range(3000)} | {"table": ("U8", (9 << 20,))}
    table = model_table(shapes, {}, Notes())
    (hot,) = load(table, "tensors")
    found = safetensors.numpy.load(read(hot).data)
    assert {name: (value.shape) for name, value in found.items()} == {
        name: shape for name, (_, shape) in shapes.items()
    }


class _Counting:
    """A reader that notes which rows' data were read."""

    def __init__(self, table, table_double) -> None:
        self.inner = table_double(table)
        self.ways = self.inner.ways
        self.data: list[tuple[int, int]] = []
        self.passes = 0

    def batches(self, columns, *, rows=None, **options):
        self.passes += 1
        if "data" in columns:
            self.data.append(rows)
        return self.inner.batches(columns, rows=rows, **options)


@pytest.mark.parametrize("column", ["tensors", "files"])
@pytest.mark.parametrize("load", ["in passes"], indirect=True)
def test_only_what_is_asked_for_is_read(column, table, load, table_double, read):
    """The bytes of the other part are never read from the store."""
    reader = _Counting(table, table_double)
    (hot,) = load(table, column, reader=reader)
    assert hot.column.name == column
    kinds = [kind for start, stop in reader.data for kind in table["kind"][start:stop].to_pylist()]
    assert set(kinds) == ({"tensor", "notes"} if column == "tensors" else {"file"})
    assert len(kinds) == table["kind"].to_pylist().count(column[:-1]) + (column == "tensors")


def test_a_small_model_is_read_once(table, load, table_double, request):
    """One pass over the rows instead of three, with all that they have."""
    reader = _Counting(table, table_double)
    load(table, reader=reader)
    once = request.node.callspec.params["load"] == "at once"
    assert (reader.passes == 1) is once


def test_safe_open_reads_through_the_descriptor(table, load):
    """The library of the format opens the memfd by its path and finds tensors, metadata and bytes."""
    for hot, names in zip(load(table), (TENSORS, FILES), strict=True):
        with safetensors.safe_open(f"/proc/self/fd/{hot.descriptors[0]}", "numpy") as opened:
            assert set(opened.keys()) == set(names)
            name = "bias" if hot.column.name == "tensors" else "config.json"
            assert opened.get_tensor(name).size == (5 if name == "bias" else len(FILES[name]))


def test_the_memory_is_sealed(table, load):
    """Nobody writes to it any more, the sidecar included."""
    (hot,) = load(table, "tensors")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(hot.descriptors[0], b"x", 0)
    with pytest.raises(PermissionError):
        os.open(f"/proc/self/fd/{hot.descriptors[0]}", os.O_RDWR | os.O_TRUNC)


@pytest.mark.parametrize("pages", [Pages.HUGE, Pages.TRANSPARENT])
@pytest.mark.parametrize("load", ["in passes"], indirect=True)
def test_huge_pages(pages, request, model_table, table_double, load, read):
    """On huge pages, too, the file is exact, aligned, and opened by the library of the format."""
    request.getfixturevalue("reserved_pages" if pages is Pages.HUGE else "transparent_pages")
    table = model_table({**TENSORS, "last": ("U8", (1,))}, FILES)
    reader = table_double(table, 2)
    hot, _ = load(table, prefer=pages, reader=reader)
    # Of the largest tensor two pieces come at once; only memory that is mapped can be read into.
    assert (reader.placed > CHUNK_BYTES) is (pages is Pages.HUGE)
    (segment,) = hot.column.segments
    assert segment.pages is pages
    if pages is Pages.HUGE:
        assert segment.length % HUGE_PAGE == 0
    whole = read(hot)
    small, _ = load(table)
    expected = read(small)
    for name, placed in whole.head.tensors.items():
        assert whole[name] == expected[name], name
        if placed.size % ALIGNMENT == 0:
            assert placed.offset % ALIGNMENT == 0
    assert whole.head.tensors["steps"].offset % 8 == 0
    with safetensors.safe_open(f"/proc/self/fd/{hot.descriptors[0]}", "numpy") as opened:
        assert set(opened.keys()) == {*TENSORS, "last"}
        assert np.array_equal(opened.get_tensor("wide").view(np.uint8), np.frombuffer(expected["wide"], np.uint8))


def test_reserved_pages_that_somebody_else_took(table, load, read, tensor_bytes, monkeypatch):
    """When the pool is empty after all, other pages are used, and the account is right."""
    real = file.Memfd

    def refusing(name: str, length: int, pages: Pages, **how: bool) -> file.Memfd:
        if pages is Pages.HUGE:
            raise NoSpace("somebody was faster", need=length)
        return real(name, length, pages)

    monkeypatch.setattr("alluxio_lance.sidecar.models.loading.free_huge_bytes", lambda: 1 << 30)
    monkeypatch.setattr(file, "Memfd", refusing)
    hot = load(table, prefer=Pages.HUGE)
    assert hot[0].column.segments[0].pages is not Pages.HUGE
    _check(hot, read, tensor_bytes)


def test_progress_is_in_bytes(table, load):
    """Each step tells the bytes, and the last one has all bytes and all rows."""
    told = []
    load(table, on_progress=told.append)
    total = sum(len(data) for data in FILES.values()) + sum(
        int(np.prod(shape)) * {"U8": 1, "F16": 2, "I64": 8, "F32": 4, "BF16": 2}[dtype]
        for dtype, shape in TENSORS.values()
    )
    assert {(each.step, each.total_bytes, each.total_rows) for each in told} == {("load", total, table.num_rows)}
    assert [each.bytes for each in told] == sorted(each.bytes for each in told)
    assert (told[-1].bytes, told[-1].rows) == (total, table.num_rows)


def test_a_model_that_does_not_fit_is_refused_before_its_bytes_are_read(table, table_double, memfds):
    """The exact memory is claimed as soon as it is known."""
    small = Budget(8 << 20, available=lambda: 1 << 40)
    reader = table_double(table)
    with pytest.raises(NoSpace) as refusal:
        load_model(reader, plan_model(table.num_rows, label="m"), small, prefer=Pages.SMALL)
    assert refusal.value.details["need"] > 12 << 20
    assert reader.asked.count(["data"]) == 1  # the notes
    assert (small.used, memfds()) == (0, [])


@pytest.mark.parametrize("when", [0, 1, -1])
def test_a_load_that_nobody_wants_ends(when, table, load, budget, memfds):
    """A cancelled load raises `Unavailable` and leaves nothing: while it looks at the rows, and with the last bytes."""
    asked: list[bool] = []
    hot = load(table, batch_rows=1, cancelled=lambda: bool(asked.append(False)))
    used, open_ = budget.used, memfds()
    answers = iter([False] * range(len(asked))[when])
    with pytest.raises(Unavailable, match="was cancelled"):
        load(table, batch_rows=1, cancelled=lambda: next(answers, True))
    assert (budget.used, memfds()) == (used, open_)
    assert used == sum(column.bytes for column in hot)


@pytest.mark.parametrize("load", ["in passes"], indirect=True)
def test_a_fault_of_the_store_leaves_nothing(table, load, table_double, budget, memfds):
    """An error in the middle of the bytes comes through, and all memory goes back."""
    left = iter(range(6))

    def fail() -> None:
        if next(left, None) is None:
            raise Unavailable("the store went away", what="store")

    with pytest.raises(Unavailable, match="went away"):
        load(table, reader=table_double(table, 1, fail))
    assert (budget.used, memfds()) == (0, [])


@pytest.mark.parametrize("calls", [0, 1])
def test_a_column_that_cannot_be_described_leaves_nothing(calls, table, load, budget, memfds, monkeypatch):
    """Neither its memory nor that of the one before it."""
    real, made = file.HotColumn, []

    def described(*args):
        if len(made) == calls:
            raise MemoryError
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(file, "HotColumn", described)
    with pytest.raises(MemoryError):
        load(table)
    assert budget.used == 0
    assert memfds() == []


def test_a_kernel_without_memory_is_no_space(table, load, budget, memfds, monkeypatch):
    """Memory that is not there although it was claimed raises `NoSpace`, and nothing stays."""

    def ensure(self, length: int) -> None:
        if length:
            raise NoSpace("the kernel has no memory", need=length)

    monkeypatch.setattr(file.Memfd, "ensure", ensure)
    with pytest.raises(NoSpace, match="kernel"):
        load(table)
    assert (budget.used, memfds()) == (0, [])


def test_a_head_says_the_same_in_json(table, load, read):
    """The head is JSON that is filled up with spaces, as the format allows."""
    data = read(load(table, "files")[0]).data
    size = int.from_bytes(data[:8], "little")
    assert json.loads(data[8 : 8 + size]).keys() == FILES.keys()
    assert (8 + size) % PAGE == 0
