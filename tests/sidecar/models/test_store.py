"""Models in real tables of Lance: over several fragments, with deleted rows, by parts."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt
from alluxio_lance.incoming import Source
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.storage import LanceStore
from alluxio_lance.weights.rows import Notes

LOCATION = "models/m.lance"


def _write(store: LanceStore, table: pa.Table) -> int:
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    return store.create(
        LOCATION, Source(reader=reader, description="the model"), Write(operation="0" * 32, actor="me", message="")
    )


@pytest.fixture
def reader(tmp_path, model_table):
    """A model that was written, and changed as a delta is: rows of some parts deleted, and new ones behind the others."""
    store = LanceStore.local(tmp_path)
    _write(store, model_table(notes=Notes(tied={"head": "weight"}, extra={"step": 1})))
    uri = str(tmp_path / LOCATION)
    new = model_table()
    gone = "kind = 'notes' OR (name = 'wide' AND chunk = 1) OR name IN ('bias', 'config.json')"
    lance.dataset(uri).delete(gone)
    table = new.filter(
        pa.array(
            kind == "notes" or (name == "wide" and chunk == 1) or name in {"bias", "config.json"}
            for kind, name, chunk in zip(*(new[each].to_pylist() for each in ("kind", "name", "chunk")), strict=True)
        )
    )
    lance.write_dataset(table, uri, mode="append")
    with store.open(LOCATION, lance.dataset(uri).version) as opened:
        yield opened


@pytest.mark.parametrize("columns", [(), ("tensors",), ("files",)])
def test_a_changed_model_comes_from_many_places(columns, reader, table, load, read):
    """The files are those of a model that was written at once, byte by byte."""
    expected = {hot.column.name: read(hot).data for hot in load(table)}
    hot = load(table, *columns, reader=reader, num_rows=reader.num_rows)
    assert {each.column.name: read(each).data for each in hot} == {
        name: expected[name] for name in columns or ("tensors", "files")
    }


def test_a_byte_that_the_disk_changed(tmp_path, table, load, tensor_bytes):
    """What the store reads without a complaint is found by the hash of its piece."""
    store = LanceStore.local(tmp_path)
    version = _write(store, table)
    (path,) = (tmp_path / LOCATION / "data").iterdir()
    data = path.read_bytes()
    place = data.index(tensor_bytes("weight"))
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with (
        store.open(LOCATION, version) as opened,
        pytest.raises(Corrupt, match="piece 0 of tensor 'weight' has other bytes than were registered"),
    ):
        load(table, reader=opened)
