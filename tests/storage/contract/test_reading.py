"""Reading a version as a stream."""

from __future__ import annotations

from itertools import product

import lance
import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import AlluxioLanceError, Corrupt, InvalidArgument, NotFound

LOCATION = "datasets/a.lance"
ROWS = 50_000
TABLE = pa.table(
    {
        "i": pa.array(np.arange(ROWS)),
        "v": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(ROWS * 16, dtype=np.float32)), 16),
        "s": [f"text {number}" for number in range(ROWS)],
    }
)


@pytest.fixture
def table(store, write, source):
    """A table of two fragments."""
    store.create(LOCATION, source(TABLE.slice(0, 30_000)), write())
    store.append(LOCATION, source(TABLE.slice(30_000)), write())


CASES = [
    *product(["folder"], [["i"], ["s", "i"], ["v"], ["i", "v", "s"]], [1 << 16, 8 << 20]),
    *(
        (kind, *case)
        for kind in ("alluxio", "alluxio-s3")
        for case in ((["s", "i"], 8 << 20), (["i", "v", "s"], 1 << 16))
    ),
]


@pytest.mark.parametrize(("ground", "columns", "batch_bytes"), CASES, indirect=["ground"])
def test_all_rows_come_in_order(store, table, columns, batch_bytes):
    """Columns in the order asked for, rows in the table's, batches of about the size asked for."""
    with store.open(LOCATION, 2) as reader:
        assert reader.num_rows == ROWS
        assert reader.schema.equals(TABLE.schema)
        batches = list(reader.batches(columns, batch_bytes=batch_bytes))
    assert pa.Table.from_batches(batches).equals(TABLE.select(columns))
    assert max(batch.nbytes for batch in batches) <= 1.25 * batch_bytes


def test_an_old_version_is_pinned(store, table):
    """A reader of version 1 does not see what came later."""
    with store.open(LOCATION, 1) as reader:
        assert reader.num_rows == 30_000
        assert sum(batch.num_rows for batch in reader.batches(["i"])) == 30_000


def test_deleted_rows_are_not_read(store, table, plain):
    """Rows that plain Lance deleted are gone from count and stream."""
    plain.open(LOCATION).delete("i < 10")
    with store.open(LOCATION, 3) as reader:
        assert reader.num_rows == ROWS - 10
        assert next(reader.batches(["i"])).column(0)[0].as_py() == 10


def test_blobs_are_read_as_binary(store, plain):
    """Values that Lance keeps in side files come as bytes, and the schema says so."""
    values = lance.blob_array([b"a" * 10, b"b" * (1 << 20)])
    data = pa.Table.from_arrays([values], schema=pa.schema([lance.blob_field("b")]))
    plain.write(data, LOCATION, data_storage_version="2.2")
    with store.open(LOCATION, 1) as reader:
        assert reader.schema.field("b").type == pa.large_binary()
        back = pa.Table.from_batches(reader.batches(["b"]))
    assert [len(value) for value in back["b"].to_pylist()] == [10, 1 << 20]


def test_columns_that_are_not_there(store, table):
    """An unknown column is not found, no column is an invalid argument."""
    with store.open(LOCATION, 2) as reader:
        with pytest.raises(NotFound, match="no column 'q'; it has i, v, s"):
            reader.batches(["i", "q"])
        with pytest.raises(InvalidArgument, match="at least one column"):
            reader.batches([])


def test_a_closed_reader_says_so(store, table):
    """Closing twice is fine; reading afterwards is refused."""
    reader = store.open(LOCATION, 2)
    reader.close()
    reader.close()
    with pytest.raises(InvalidArgument, match="closed"):
        reader.batches(["i"])


DAMAGE = {
    "missing": lambda _: None,
    "cut": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_files_are_corrupt(store, table, ground, how):
    """A missing, cut or overwritten data file is told as such, never as fewer rows."""
    for path in (ground.root / LOCATION / "data").iterdir():
        ground.damage(path, DAMAGE[how](path.read_bytes()))
    with store.open(LOCATION, 2) as reader, pytest.raises(Corrupt, match=r"version 2 of .*roll back"):
        list(reader.batches(["i", "v", "s"]))


def test_a_table_without_its_manifests_is_not_found(store, table, ground):
    """A dropped table cannot be opened."""
    for path in (ground.root / LOCATION / "_versions").iterdir():
        ground.damage(path, None)
    with pytest.raises(AlluxioLanceError, match="does not exist"):
        store.open(LOCATION, 2)
