"""Data that are in this process already: tables, streams, frames, Hugging Face datasets."""

from __future__ import annotations

import io
import json

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from alluxio_lance.errors import InvalidArgument

TABLE = pa.table(
    [pa.array([1, 2, 3]), pa.array(["a", None, "c"])],
    schema=pa.schema([pa.field("i", pa.int64(), nullable=False), pa.field("s", pa.string())], metadata={"k": "v"}),
)


def rows(store, data):
    """Open data and read them to their end."""
    source = store.source(data, format=None, options={})
    with source.reader as reader:
        return reader.read_all(), source


def generate(*batches):
    """Yield the batches."""
    yield from batches


class Exporter:
    """A library of tomorrow that exports Arrow's C stream."""

    def __arrow_c_stream__(self, requested_schema=None):
        """Export."""
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TABLE,
        lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
        lambda: TABLE.to_batches()[0],
        TABLE.to_reader,
        TABLE.to_batches,
        lambda: generate(*TABLE.to_batches(max_chunksize=1)),
        lambda: tuple(TABLE.to_batches(max_chunksize=2)),
        Exporter,
    ],
    ids=["table", "chunks", "batch", "reader", "list", "generator", "tuple", "c stream"],
)
def test_arrow_data_come_as_they_are(store, make):
    """Values, types, nullability and metadata of the source's schema stay."""
    found, source = rows(store, make())
    assert found.equals(TABLE)
    assert found.schema.equals(TABLE.schema, check_metadata=True)
    assert source.description


def test_a_table_knows_its_size(store):
    """Rows and bytes are there for the progress bar."""
    _, source = rows(store, TABLE)
    assert source.num_rows == 3
    assert source.num_bytes > 0


def test_a_generator_is_read_as_it_goes(store):
    """Only the first batch is taken to learn the schema."""
    taken = []

    def batches():
        for number in range(5):
            taken.append(number)
            yield pa.record_batch({"a": [number]})

    with store.source(batches(), format=None, options={}).reader as reader:
        assert taken == [0]
        assert reader.read_all()["a"].to_pylist() == [0, 1, 2, 3, 4]


BATCH = TABLE.to_batches()[0]
OTHER = pa.record_batch({"a": [1]})


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (42, r"int is not accepted. Accepted are a Parquet file .* a folder of images.* an iterable of pyarrow"),
        ({"a": [1]}, "dict is not accepted"),
        (b"bytes", "bytes is not accepted"),
        (None, "NoneType is not accepted"),
        ([], "the list is empty"),
        ([1, 2], "yields int: an iterable has to yield pyarrow.RecordBatch"),
        (generate(TABLE), r"yields pyarrow.lib.Table"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}), r"give one split.*data\['train'\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_other_data_are_refused(store, data, sentence):
    """The sentence says what is accepted, or what is wrong."""
    with pytest.raises(InvalidArgument, match=sentence):
        store.source(data, format=None, options={})


@pytest.mark.parametrize(
    ("second", "sentence"), [(OTHER, r"another schema \(a: int64\)"), ("x", "yields str in its middle")]
)
def test_all_batches_have_one_schema(store, second, sentence):
    """A stray item in the middle is refused when it comes."""
    with (
        store.source(generate(BATCH, second), format=None, options={}).reader as reader,
        pytest.raises(InvalidArgument, match=sentence),
    ):
        reader.read_all()


@pytest.mark.parametrize(("format", "options"), [("csv", {}), (None, {"decode": [1, 1]})])
def test_formats_and_options_are_for_paths(store, format, options):
    """Data in memory have neither."""
    with pytest.raises(InvalidArgument, match="are for paths; a pyarrow Table"):
        store.source(TABLE, format=format, options=options)


def test_pandas_frames(store):
    """Types are those of the whole frame, NaN becomes null, and pandas' note about itself does not stay."""
    frame = pd.DataFrame({"i": np.arange(100_000), "f": [0.5, np.nan] * 50_000, "s": [None, "x"] * 50_000})
    frame["c"] = pd.Categorical(["u", "v"] * 50_000)
    found, source = rows(store, frame)
    assert source.num_rows == found.num_rows == 100_000
    assert found.schema.names == ["i", "f", "s", "c"]
    assert not found.schema.metadata
    assert found["f"].null_count == 50_000
    assert found["i"].to_pylist() == list(range(100_000))
    assert found.slice(99_998).to_pylist() == [
        {"i": 99_998, "f": 0.5, "s": None, "c": "u"},
        {"i": 99_999, "f": None, "s": "x", "c": "v"},
    ]


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (None, ["a"]),
        (pd.Index([5, 6], name="key"), ["a", "key"]),
        (pd.Index([5, 6]), ["a", "__index_level_0__"]),
    ],
)
def test_an_index_that_says_something_is_kept(store, index, names):
    """The plain counter goes; any other index becomes a column."""
    found, _ = rows(store, pd.DataFrame({"a": [1, 2]}, index=index))
    assert found.schema.names == names


def test_pandas_objects_without_a_type_are_refused(store):
    """A column of arbitrary objects has no Arrow type."""
    with pytest.raises(InvalidArgument, match="pandas DataFrame has a column"):
        store.source(pd.DataFrame({"a": [object(), 1]}), format=None, options={})


def test_polars_frames(store, write):
    """Eager and lazy frames give the same rows, with plain Arrow types."""
    frame = pl.DataFrame(
        {
            "i": range(70_000),
            "s": ["a", None] * 35_000,
            "l": [[1], []] * 35_000,
            "c": pl.Series(["x", "y"] * 35_000, dtype=pl.Categorical),
        }
    )
    found, source = rows(store, frame)
    assert source.num_rows == 70_000
    assert found.schema.field("s").type == pa.large_string()
    assert found["i"].to_pylist() == list(range(70_000))
    lazy, source = rows(store, frame.lazy().filter(pl.col("i") >= 69_998))
    assert source.num_rows is None
    assert lazy.to_pylist() == found.slice(69_998).to_pylist()
    store.create("a.lance", store.source(frame, format=None, options={}), write())


def png(color):
    """Encode an image of one color."""
    out = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(out, "PNG")
    return out.getvalue()


def test_hugging_face_datasets(store, tmp_path, write):
    """Indices are followed, labels keep their names, images become bytes, arrays become tensors."""
    outside = tmp_path / "outside.png"
    outside.write_bytes(png("red"))
    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "image": datasets.Image(),
            "grid": datasets.Array2D((2, 3), "float32"),
            "open": datasets.Array2D((None, 3), "float32"),
            "text": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("int32")),
        }
    )
    data = datasets.Dataset.from_dict(
        {
            "label": [0, 1, 0],
            "image": [{"bytes": png("blue"), "path": None}, None, {"bytes": None, "path": str(outside)}],
            "grid": np.arange(18, dtype=np.float32).reshape(3, 2, 3),
            "open": [[[1, 2, 3]], [[1, 2, 3]] * 2, []],
            "text": ["x", None, "z"],
            "tokens": [[1], [], [2, 3]],
        },
        features=features,
    ).select([2, 0, 1])
    found, source = rows(store, data)
    assert source.num_rows == 3
    assert found["label"].to_pylist() == [0, 0, 1]
    assert json.loads(found.schema.field("label").metadata[b"names"]) == ["cat", "dog"]
    assert found["image"].to_pylist() == [png("red"), png("blue"), None]
    assert found.schema.field("grid").type == pa.fixed_shape_tensor(pa.float32(), [2, 3])
    assert found["grid"].combine_chunks().to_numpy_ndarray()[:, 0, 0].tolist() == [12, 0, 6]
    assert found["open"].to_pylist()[1] == [[1, 2, 3]]
    assert found["tokens"].to_pylist() == [[2, 3], [1], []]
    assert store.create("a.lance", store.source(data, format=None, options={}), write()) == 1


def test_hugging_face_faults_are_told(store, tmp_path):
    """An image whose file is gone, an image of nothing, and a null array name their column."""
    image = datasets.Features({"image": datasets.Image()})
    grid = datasets.Features({"grid": datasets.Array2D((1, 1), "int8")})
    for values, features, sentence in (
        ({"image": [{"bytes": None, "path": str(tmp_path / "gone.png")}]}, image, r"gone\.png of column 'image'"),
        ({"image": [{"bytes": None, "path": None}]}, image, "neither bytes nor a path"),
        ({"grid": [None, [[1]]]}, grid, "'grid' .* null array"),
    ):
        table = pa.table(values, schema=features.arrow_schema) if features is image else None
        data = datasets.Dataset(table) if table else datasets.Dataset.from_dict(values, features=features)
        with (
            store.source(data, format=None, options={}).reader as reader,
            pytest.raises(InvalidArgument, match=sentence),
        ):
            reader.read_all()
