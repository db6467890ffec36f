"""Rows read by plain calls are the rows that Lance reads, and what cannot be read so is left to Lance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.storage.raw import scanning
from alluxio_lance.storage.raw.columns import raw_columns
from alluxio_lance.storage.raw.scanning import RawScanner
from alluxio_lance.storage.scanning import Into, Shape, Span

ROWS = 3000
RAW = ["image", "label", "when", "price", "half", "code", "tensor", "jpeg", "small"]
OTHER = ["flag", "text", "holes", "gaps", "tags"]


def _table(rows: int = ROWS) -> pa.Table:
    random = np.random.default_rng(0)
    pixels = pa.array(random.integers(0, 256, rows * 48).astype(np.uint8))
    blobs = [bytes([row % 251]) * (row % 23) for row in range(rows)]
    return pa.table(
        {
            "image": pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pixels, 12), 4),
            "label": np.arange(rows, dtype=np.int16),
            "when": pa.array(np.arange(rows), pa.timestamp("us")),
            "price": pa.array(np.arange(rows), pa.int64()).cast(pa.decimal128(38, 2)),
            "half": np.arange(rows).astype(np.float16),
            "code": pa.array([b"%05d" % row for row in range(rows)], pa.binary(5)),
            "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(random.random((rows, 4, 5)).astype(np.float32)),
            "jpeg": pa.array(blobs, pa.large_binary()),
            "small": pa.array(blobs, pa.binary()),
            "flag": pa.array([row % 3 == 0 for row in range(rows)]),
            "text": [f"text {row}" for row in range(rows)],
            "holes": pa.array([row if row % 5 else None for row in range(rows)], pa.int32()),
            "gaps": pa.array([blob if row % 7 else None for row, blob in enumerate(blobs)], pa.large_binary()),
            "tags": pa.array([[row] * (row % 4) for row in range(rows)], pa.list_(pa.int32())),
        }
    )


TABLE = _table()


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(scanning, "_WORTH", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two fragments with pages of a few rows, in a folder whose name needs care."""
    folder = tmp_path_factory.mktemp("a b%20c") / "t"
    lance.write_dataset(TABLE[:2000], folder, data_storage_version="2.0", max_page_bytes=4096)
    lance.write_dataset(TABLE[2000:], folder, mode="append")
    return folder


def _read(folder: Path, columns: list[str], start: int, stop: int, rows: int = 700) -> pa.Table:
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "the test's table", lambda name: folder / "data" / name)
    batches = list(scanner.scan(Shape(columns, rows, 1 << 20), Span(start, stop), dataset.get_fragments()))
    assert all(batch.num_rows <= rows for batch in batches)
    found = pa.Table.from_batches(batches, TABLE.select(columns).schema)
    found.validate(full=True)
    return found


def _raw(folder: Path, columns: list[str], type_: dict[str, pa.DataType] | None = None) -> set[str]:
    """Name the columns of the first fragment that are read by plain calls."""
    fragment = lance.dataset(folder).get_fragments()[0].metadata
    file = os.open(folder / "data" / fragment.files[0].path, os.O_RDONLY)
    try:
        schema = lance.dataset(folder).schema
        wanted = {
            name: (schema.get_field_index(name), (type_ or {}).get(name, schema.field(name).type)) for name in columns
        }
        return set(raw_columns(file, wanted, fragment.physical_rows))
    finally:
        os.close(file)


@given(data=st.data())
def test_any_columns_of_any_rows(folder, data):
    """Whatever the columns, the range and the size of batches: rows, order and types are the table's."""
    columns = data.draw(st.lists(st.sampled_from(RAW + OTHER), min_size=1, unique=True))
    start = data.draw(st.integers(0, ROWS))
    stop = data.draw(st.integers(start, ROWS))
    rows = data.draw(st.integers(1, 1000) if stop - start < 100 else st.integers(100, 4000))
    assert _read(folder, columns, start, stop, rows).equals(TABLE.select(columns)[start:stop])


def test_which_columns_are_raw(folder, tmp_path):
    """Those of whole bytes without a null are, in pages of any number; in a file of a newer format none."""
    flat = pa.schema([field for field in TABLE.schema if field.name != "tags"])
    single = tmp_path / "t"
    lance.write_dataset(TABLE.select(flat.names), single, data_storage_version="2.0")
    assert _raw(single, flat.names) == set(RAW)
    newer = tmp_path / "n"
    lance.write_dataset(TABLE.select(flat.names), newer, data_storage_version="2.2")
    assert _raw(newer, flat.names) == set()
    assert _read_all(newer, flat.names).equals(TABLE.select(flat.names))


def _read_all(folder: Path, columns: list[str]) -> pa.Table:
    return _read(folder, columns, 0, ROWS)


def test_a_type_that_does_not_fit_the_pages(tmp_path):
    """A column is raw only when its pages are described exactly as those of its type."""
    folder = tmp_path / "t"
    lance.write_dataset(TABLE.select(["label", "image", "jpeg"]), folder, data_storage_version="2.0")
    types: dict[str, Any] = {
        "label": pa.int32(),
        "image": pa.list_(pa.list_(pa.uint8(), 6), 8),
        "jpeg": pa.large_string(),
    }
    assert _raw(folder, ["label", "image", "jpeg"]) == {"label", "image", "jpeg"}
    assert _raw(folder, ["label", "image", "jpeg"], types) == set()


def test_rows_that_were_deleted(tmp_path):
    """Their fragment is read by Lance, which leaves them out."""
    folder = tmp_path / "t"
    lance.write_dataset(TABLE, folder, data_storage_version="2.0")
    lance.dataset(folder).delete("label % 2 = 1")
    columns = ["label", "image"]
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    found = pa.Table.from_batches(
        scanner.scan(Shape(columns, 100, 1 << 20), Span(0, ROWS // 2), dataset.get_fragments())
    )
    assert found["label"].to_pylist() == list(range(0, ROWS, 2))


def test_a_column_that_was_added(tmp_path):
    """It lies in a file of its own: the larger file is read by plain calls, and the other by Lance."""
    folder = tmp_path / "t"
    lance.write_dataset(TABLE.select(["label", "image"]), folder, data_storage_version="2.0")
    lance.dataset(folder).add_columns({"twice": "label * 2"})
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    shape = Shape(["twice", "image", "label"], 100, 1 << 20)
    found = pa.Table.from_batches(scanner.scan(shape, Span(10, 500), dataset.get_fragments()))
    assert found["twice"].to_pylist() == [2 * row for row in range(10, 500)]
    assert found["image"].combine_chunks().equals(TABLE["image"][10:500].combine_chunks())


def test_batches_that_are_kept(folder):
    """They do not change when later ones are read: memory is used again only when nobody has it."""
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    kept = []
    for number, batch in enumerate(scanner.scan(Shape(["image"], 50, 1 << 20), Span(0, ROWS), dataset.get_fragments())):
        if number % 3 == 0:
            kept.append((number, batch))
    starts = [row for first, count in ((0, 2000), (2000, 1000)) for row in range(first, first + count, 50)]
    for number, batch in kept:
        assert batch["image"].equals(TABLE["image"][starts[number] : starts[number] + 50].combine_chunks())


class _Place:
    """Has a place for the rows of one column, but for those from 1,000 to 1,099."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.memory = bytearray(ROWS * width)
        self.asked: list[tuple[int, int]] = []

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell how many rows are before those that have none."""
        return 0 if column != "image" else min(count, 1000 - row) if row < 1000 else count

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return it."""
        if column != "image" or (row < 1100 and row + count > 1000):
            return None
        self.asked.append((row, count))
        return memoryview(self.memory)[row * self.width : (row + count) * self.width]


@pytest.mark.parametrize("columns", [["image"], ["image", "label"], ["text", "image"]])
@pytest.mark.parametrize(("start", "stop"), [(0, ROWS), (150, 2900)])
def test_values_that_are_read_to_their_place(folder, columns, start, stop):
    """They lie there, counted from the first row of the stream over all fragments, and the batches are the same."""
    dataset, place = lance.dataset(folder), _Place(48)
    into = Into(place)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    batches = []
    for batch in scanner.scan(Shape(columns, 50, 1 << 20, into), Span(start, stop), dataset.get_fragments()):
        into.rows += batch.num_rows
        batches.append(batch)
    wanted = TABLE.select(columns)[start:stop]
    assert pa.Table.from_batches(batches, wanted.schema).equals(wanted)
    bytes_ = TABLE["image"].combine_chunks().flatten().flatten().to_numpy()
    assert place.asked
    for row, count in place.asked:
        assert (
            place.memory[row * 48 : (row + count) * 48]
            == bytes_[(start + row) * 48 : (start + row + count) * 48].tobytes()
        )


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_stream_that_is_left(folder):
    """Its thread and its file are gone."""
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    before = _open_files()
    stream = scanner.scan(Shape(["image"], 10, 1 << 20), Span(0, ROWS), dataset.get_fragments())
    next(stream)
    assert _open_files() > before
    stream.close()
    assert _open_files() <= before


def test_a_file_that_is_cut(tmp_path):
    """Cut before it is looked at or in the middle of the stream: an error, never other rows."""
    folder = tmp_path / "t"
    lance.write_dataset(TABLE.select(["image"]), folder, data_storage_version="2.0")
    dataset = lance.dataset(folder)
    path = folder / "data" / dataset.get_fragments()[0].metadata.files[0].path
    whole = path.read_bytes()
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    stream = scanner.scan(Shape(["image"], 10, 1 << 20), Span(0, ROWS), dataset.get_fragments())
    next(stream)
    os.truncate(path, 40 * 48)
    with pytest.raises(AlluxioLanceError):
        list(stream)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(AlluxioLanceError):
            list(scanner.scan(Shape(["image"], 10, 1 << 20), Span(0, ROWS), dataset.get_fragments()))


@given(data=st.data())
def test_metadata_with_any_byte_changed(tmp_path_factory, data):
    """What is damaged is found out, or left to Lance: never an error of another kind, never a read beyond the file."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    if not folder.exists():
        lance.write_dataset(TABLE.select(["label", "jpeg"])[:50], folder, data_storage_version="2.0")
    path = next((folder / "data").iterdir())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(len(whole) - 600, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    damaged = folder.parent / "damaged.lance"
    damaged.write_bytes(whole)
    file = os.open(damaged, os.O_RDONLY)
    try:
        raw_columns(file, {"label": (0, pa.int16()), "jpeg": (1, pa.large_binary())}, 50)
    except (ValueError, IndexError, EOFError):
        pass
    finally:
        os.close(file)


class _Chain:
    """Has a place for binaries of known sizes, without a hole; some rows are said to be longer than they are."""

    def __init__(self, sizes: list[int], wrong: int | None = None) -> None:
        self.ends = np.cumsum([0, *sizes])
        self.memory = bytearray(int(self.ends[-1]) + 1)
        self.wrong = wrong
        self.given = 0

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell of at most 60 rows."""
        return min(count, 60) if column == "jpeg" else 0

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return it."""
        if column != "jpeg":
            return None
        self.given += 1
        more = self.wrong is not None and row <= self.wrong < row + count
        return memoryview(self.memory)[self.ends[row] : self.ends[row + count] + more]


@pytest.mark.parametrize("wrong", [None, 300])
@pytest.mark.parametrize("start", [0, 37])
def test_binaries_that_are_read_to_their_place(folder, start, wrong):
    """They lie there, several at once; those whose size is another one come in memory of their own."""
    wanted = TABLE["jpeg"].combine_chunks()[start:]
    place = _Chain([len(value.as_py()) for value in wanted], wrong)
    into = Into(place)
    dataset = lance.dataset(folder)
    scanner = RawScanner(dataset, "t", lambda name: folder / "data" / name)
    batches = []
    for batch in scanner.scan(Shape(["jpeg"], 50, 1 << 20, into), Span(start, ROWS), dataset.get_fragments()):
        into.rows += batch.num_rows
        assert batch.num_rows <= 60
        batches.append(batch)
    assert pa.Table.from_batches(batches)["jpeg"].combine_chunks().equals(wanted)
    assert place.given == len(batches)
    data = b"".join(wanted.to_pylist())
    first, stop = (0, 0) if wrong is None else (int(place.ends[wrong - 60]), int(place.ends[wrong + 60]))
    assert place.memory[:first] == data[:first]
    assert place.memory[stop:-1] == data[stop:]
    if wrong is not None:
        assert place.memory[first:stop] != data[first:stop]
