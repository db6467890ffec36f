"""Fixtures of the tests of hot models: tables of models, loads that clean up, and what the files in memory say."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.fill.column import HotColumn
from alluxio_lance.sidecar.models.loading import load_model
from alluxio_lance.sidecar.models.planning import plan_model
from alluxio_lance.sidecar.models.small import SMALL_BYTES
from alluxio_lance.weights.header import FileHead, TensorSpec, parse_head
from alluxio_lance.weights.rows import CHUNK_BYTES, File, Notes, Tensor, source_of

TENSORS = {
    "odd": ("U8", (3,)),
    "bias": ("F16", (5,)),
    "steps": ("I64", ()),
    "none": ("F32", (0, 7)),
    "weight": ("BF16", (1024, 16)),
    "wide": ("F32", (CHUNK_BYTES // 2 + 5,)),
}
"""Of whole cache lines and not, without bytes, and of three pieces."""
FILES = {"config.json": b'{"a": 1}', "tokenizer/empty.txt": b"", "tokenizer/vocab.bin": bytes(range(256)) * 20000}
NOTES = Notes(tied={"head": "weight"}, extra={"framework": "none"})


def _bytes(name: str, spec: TensorSpec) -> bytes:
    return np.random.default_rng(sum(name.encode())).integers(0, 256, spec.size, dtype=np.uint8).tobytes()


def _table(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] = TENSORS,
    files: Mapping[str, bytes] = FILES,
    notes: Notes = NOTES,
) -> pa.Table:
    specs = [TensorSpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in tensors.items()]
    source = source_of(
        [Tensor(spec, lambda spec=spec: memoryview(_bytes(spec.name, spec))) for spec in specs],
        [File(path, lambda data=data: memoryview(data)) for path, data in files.items()],
        notes,
    )
    return source.reader.read_all()


@pytest.fixture(scope="session")
def model_table() -> Callable[..., pa.Table]:
    """Make the table of a model."""
    return _table


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """The table of a model with all that there may be."""
    return _table()


@pytest.fixture(scope="session")
def tensor_bytes() -> Callable[[str], bytes]:
    """Return what a tensor of `TENSORS` has."""
    return lambda name: _bytes(name, TensorSpec(name=name, dtype=TENSORS[name][0], shape=TENSORS[name][1]))


@pytest.fixture(params=["in passes", "at once"])
def load(request, budget, table_double, memfds):
    """Load a model's table in either way, check that the account is right, and close everything in the end."""
    loaded: list[HotColumn] = []

    def run(
        table: pa.Table, *columns: str, batch_rows: int = 1000, prefer: Pages = Pages.SMALL, **options
    ) -> list[HotColumn]:
        rows, stored = options.pop("num_rows", table.num_rows), SMALL_BYTES + (request.param == "in passes")
        plan = plan_model(rows, label="models/m@v3", stored_bytes=stored)
        before = budget.used
        reader = options.pop("reader", None) or table_double(table, batch_rows)
        hot = load_model(reader, plan.only(columns) if columns else plan, budget, prefer=prefer, **options)
        loaded.extend(hot)
        assert budget.used - before == sum(column.bytes for column in hot)
        return hot

    yield run
    for column in loaded:
        budget.release(column.bytes)
        column.close()
    assert budget.used == 0
    assert memfds() == []


class Whole:
    """A file in memory, mapped and read."""

    def __init__(self, hot: HotColumn) -> None:
        (segment,) = hot.column.segments
        (fd,) = hot.descriptors
        with mmap.mmap(fd, segment.length, prot=mmap.PROT_READ) as mapping:
            self.data = mapping[:]
        self.head: FileHead = parse_head(self.data, segment.length, hot.column.name)

    def __getitem__(self, name: str) -> bytes:
        placed = self.head.tensors[name]
        return self.data[placed.offset : placed.offset + placed.size]


@pytest.fixture(scope="session")
def read() -> type[Whole]:
    """Read a file in memory."""
    return Whole


@pytest.fixture
def model_version(make_version):
    """Describe a model's table as the catalog would."""

    def make(table: pa.Table, version: int = 1, name: str = "m"):
        return replace(make_version(table, name, version), type="models", location=f"models/{name}.lance")

    return make
