"""Paths: which importer a path gets, what comes out, and what is said when it does not."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime

import lance
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alluxio_lance.errors import InvalidArgument, NotFound

TABLE = pa.table({"i": pa.array(range(3)), "s": ["a", "b", "c"]})
LINES = '{"i": 0, "s": "a"}\n{"i": 1, "s": "b"}\n{"i": 2, "s": "c"}\n'


def rows(store, path, format=None, **options):
    """Open a path and read it to its end."""
    with store.source(path, format=format, options=options).reader as reader:
        return reader.read_all()


def write_ipc(path, new):
    """Write the table with one of pyarrow's IPC writers."""
    with new(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE)


FILES = {
    "a.parquet": lambda path: pq.write_table(TABLE, path),
    "parquet_by_magic.bin": lambda path: pq.write_table(TABLE, path),
    "a.csv": lambda path: pyarrow.csv.write_csv(TABLE, path),
    "a.tsv": lambda path: path.write_text("i\ts\n0\ta\n1\tb\n2\tc\n"),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(b"i,s\n0,a\n1,b\n2,c\n")),
    "a.jsonl": lambda path: path.write_text(LINES),
    "a.json": lambda path: path.write_text(LINES),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES.encode())),
    "a.arrow": lambda path: write_ipc(path, pa.ipc.new_file),
    "stream_by_magic": lambda path: write_ipc(path, pa.ipc.new_stream),
    "a.feather": lambda path: pyarrow.feather.write_feather(TABLE, path, compression="zstd"),
    "a.lance": lambda path: lance.write_dataset(TABLE, path),
    "lance_by_content": lambda path: lance.write_dataset(TABLE, path),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_recognised_and_read(store, tmp_path, name):
    """By first bytes, then ending; paths as text and as Path."""
    path = tmp_path / name
    FILES[name](path)
    assert rows(store, path).equals(TABLE)
    assert rows(store, str(path)).equals(TABLE)


def test_a_named_format_wins(store, tmp_path):
    """A file whose name says nothing is read as what the caller says."""
    path = tmp_path / "data.txt"
    path.write_text("i,s\n0,a\n1,b\n2,c\n")
    with pytest.raises(InvalidArgument, match=r"of no known kind. Accepted are .* Name its format"):
        store.source(path, format=None, options={})
    assert rows(store, path, "csv").equals(TABLE)


def test_source_tells_what_it_knows(store, tmp_path):
    """Rows and bytes where the file says so, and the path for messages."""
    pq.write_table(TABLE, tmp_path / "a.parquet")
    source = store.source(tmp_path / "a.parquet", format=None, options={})
    source.reader.close()
    assert (source.num_rows, source.description) == (3, str(tmp_path / "a.parquet"))
    assert source.num_bytes > 0


def bad(name, content):
    """Make a file with this content."""

    def make(folder):
        path = folder / name
        path.write_bytes(content) if content is not None else path.mkdir()
        return path

    return make


@pytest.mark.parametrize(
    ("make", "format", "options", "sentence"),
    [
        (lambda folder: folder / ("x" * 300), None, {}, "cannot be read"),
        (lambda _: "", None, {}, "is no path"),
        (lambda _: "s3://bucket/x", None, {}, "is a URI: give a local path"),
        (bad("a.csv", b""), None, {}, r"a\.csv is empty"),
        (bad("a.parquet", b"PAR1 nonsense"), None, {}, r"a\.parquet cannot be read"),
        (bad("a.arrow", b"ARROW1\0\0 nonsense"), None, {}, r"a\.arrow cannot be read"),
        (bad("a.feather", b"FEA1...."), None, {}, "Feather file of version 1"),
        (bad("a.json", b' [{"i": 1}]'), None, {}, "JSON array: give JSON lines"),
        (bad("a.jsonl", b"{nonsense"), None, {}, r"a\.jsonl cannot be read"),
        (bad("a.csv", b"a,b\n1,2\n"), "xml", {}, "no format 'xml'; there are parquet, csv"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"decode": [1, 1]}, "no option 'decode'; there are delimiter: the char"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"delimiter": ";;"}, "one character"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"delimiter": 3}, "'delimiter' is a text"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"skip_rows": 1.5}, "'skip_rows' is a whole number from 0"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"skip_rows": "x"}, "'skip_rows' is a whole number"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"column_names": "a"}, "'column_names' is a list of texts"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"types": ["int8"]}, "'types' maps columns to Arrow types"),
        (bad("a.csv", b"a,b\n1,2\n"), None, {"types": {"a": "intt"}}, "a type that Arrow does not know"),
        (bad("a.csv", b"a,b\n1,2\n"), "images", {}, "is no folder"),
        (bad("a.csv", b"a,b\n1,2\n"), "lance", {}, "is no Lance table"),
        (bad("folder", None), None, {}, "has no files"),
        (bad("folder", None), "parquet", {}, "has no Parquet file"),
        (bad("folder", None), "images", {}, "has no image"),
        (bad("folder", None), "files", {}, "has no files"),
        (bad("folder", None), "csv", {}, "is no file"),
        (bad("folder.lance", None), None, {}, "is no Lance table"),
    ],
)
def test_unusable_paths_are_refused(store, tmp_path, make, format, options, sentence):
    """Each with what is wrong and where, before anything is written."""
    with pytest.raises(InvalidArgument, match=sentence):
        store.source(make(tmp_path), format=format, options=options)


def test_a_missing_path_is_not_found(store, tmp_path):
    """Also when a file stands where a folder should be."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nope.csv", tmp_path / "file/nope.csv"):
        with pytest.raises(NotFound, match=r"there is no file or folder .*nope\.csv"):
            store.source(path, format=None, options={})


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_unreadable_paths_are_refused(store, tmp_path):
    """A file without permission is named."""
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    with pytest.raises(InvalidArgument, match="permission denied"):
        store.source(path, format=None, options={})


def test_options_of_csv(store, tmp_path):
    """Delimiter, names, types, nulls and lines to skip; whole numbers may come as floats, as they do over the wire."""
    path = tmp_path / "a.csv"
    path.write_text("# made by hand\n1;x\nNA;y\n")
    found = rows(
        store, path, delimiter=";", column_names=["n", "s"], types={"n": "int16"}, null_values=["NA"], skip_rows=1.0
    )
    assert found.schema.field("n").type == pa.int16()
    assert found.to_pydict() == {"n": [1, None], "s": ["x", "y"]}


@pytest.mark.parametrize(
    ("name", "head", "line", "sentence"),
    [
        ("a.csv", "n\n", "x\n", "types={'column': 'string'}"),
        ("a.jsonl", "", '{"n": "x"}\n', "types={'column': 'string'}"),
    ],
)
def test_a_type_that_changes_late_is_told(store, tmp_path, name, head, line, sentence):
    """Types come from the first block; a later value of another type names the file and the remedy."""
    path = tmp_path / name
    first = "1\n" if name == "a.csv" else '{"n": 1}\n'
    path.write_text(head + first * 2000 + line)
    with (
        store.source(path, format=None, options={"block_bytes": 1024}).reader as reader,
        pytest.raises(InvalidArgument) as caught,
    ):
        reader.read_all()
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)
    if name == "a.csv":
        assert rows(store, path, types={"n": "string"}, block_bytes=1024).num_rows == 2001


def test_types_of_json(store, tmp_path):
    """A column may be given another type than the values suggest."""
    path = tmp_path / "a.jsonl"
    path.write_text(LINES)
    assert rows(store, path, types={"i": "int8"}).schema.field("i").type == pa.int8()


def test_folders_of_parquet(store, tmp_path):
    """All files in the order of their names, hidden files and readmes left out."""
    folder = tmp_path / "data"
    (folder / "b").mkdir(parents=True)
    pq.write_table(TABLE.slice(0, 1), folder / "0.parquet")
    pq.write_table(TABLE.slice(1), folder / "b/1.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden").write_text("x")
    (folder / "README.md").write_text("x")
    assert rows(store, folder).equals(TABLE)
    assert rows(store, folder, columns=["s"]).equals(TABLE.select(["s"]))
    with pytest.raises(InvalidArgument, match=r"no column \['q'\]; it has i, s"):
        store.source(folder, format=None, options={"columns": ["q"]})
    pq.write_table(TABLE.select(["i"]), folder / "b/2.parquet")
    with pytest.raises(InvalidArgument, match=r"2\.parquet has other columns than .*0\.parquet: s"):
        store.source(folder, format=None, options={})


def test_partition_folders_become_columns(store, tmp_path):
    """``key=value`` folders: numbers where all values are numbers, else text."""
    folder = tmp_path / "data"
    for year, split in ((2023, "train"), (2024, "test")):
        (folder / f"year={year}/split={split}").mkdir(parents=True)
        pq.write_table(TABLE.slice(0, 1), folder / f"year={year}/split={split}/0.parquet")
    assert rows(store, folder).to_pylist() == [
        {"i": 0, "s": "a", "year": 2023, "split": "train"},
        {"i": 0, "s": "a", "year": 2024, "split": "test"},
    ]


def test_versions_of_lance(store, tmp_path):
    """The newest, or the one that a number or tag names."""
    path = tmp_path / "a.lance"
    lance.write_dataset(TABLE, path)
    lance.write_dataset(TABLE, path, mode="append").tags.create("old", 1)
    assert rows(store, path).num_rows == 6
    assert rows(store, path, version=1.0).equals(TABLE)
    assert rows(store, path, version="old").equals(TABLE)
    for missing in (7, "nope"):
        with pytest.raises(InvalidArgument, match=f"no version {missing}"):
            store.source(path, format=None, options={"version": missing})
    with pytest.raises(InvalidArgument, match="'version' is a whole number"):
        store.source(path, format=None, options={"version": 0})


@pytest.fixture
def images(tmp_path):
    """Two classes of images of several kinds."""
    folder = tmp_path / "images"
    for number, (name, suffix, mode) in enumerate(
        [("dog", "png", "RGB"), ("cat", "jpg", "L"), ("cat", "gif", "P"), ("cat", "bmp", "RGB")]
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new(mode, (8, 6), number * 10).save(folder / name / f"{number}.{suffix}")
    (folder / "cat/.DS_Store").write_bytes(b"x")
    return folder


def test_folders_of_images(store, images):
    """Bytes, label, name of the label and path, sorted by folder and file."""
    found = rows(store, images)
    assert [str(field) for field in found.schema] == [
        "pyarrow.Field<bytes: binary not null>",
        "pyarrow.Field<label: int64 not null>",
        "pyarrow.Field<label_name: string not null>",
        "pyarrow.Field<path: string not null>",
    ]
    assert found["path"].to_pylist() == ["cat/1.jpg", "cat/2.gif", "cat/3.bmp", "dog/0.png"]
    assert found["label"].to_pylist() == [0, 0, 0, 1]
    assert found["label_name"].to_pylist() == ["cat", "cat", "cat", "dog"]
    assert found["bytes"][3].as_py() == (images / "dog/0.png").read_bytes()


@pytest.mark.parametrize("size", [[3, 5], (3.0, 5.0)])
def test_images_are_decoded_to_one_size(store, write, images, size):
    """Height, width, three channels, as a fixed shape tensor that the store keeps."""
    found = rows(store, images, decode=size)
    assert found.schema.names == ["image", "label", "label_name", "path"]
    pixels = found["image"].combine_chunks().to_numpy_ndarray()
    assert pixels.shape == (4, 3, 5, 3)
    assert pixels.dtype == np.uint8
    assert pixels[3].max() == 0
    source = store.source(images, format=None, options={"decode": size})
    assert source.num_rows == 4
    assert source.num_bytes == 4 * 45
    store.create("a.lance", source, write())
    with store.open("a.lance", 1) as reader:
        assert reader.schema.field("image").type == found.schema.field("image").type


def test_images_turn_as_their_camera_said(store, tmp_path):
    """The orientation in the EXIF data is applied."""
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "i").mkdir()
    image.save(tmp_path / "i/a.png", exif=exif)
    pixels = rows(store, tmp_path / "i", decode=[4, 2])["image"].combine_chunks().to_numpy_ndarray()[0]
    assert pixels[0, 1].tolist() == [255, 255, 255]


def test_images_without_folders_have_no_labels(store, images):
    """No folder, no label columns; some folders, nulls for the others."""
    assert rows(store, images / "cat").schema.names == ["bytes", "path"]
    (images / "dog/0.png").rename(images / "0.png")
    found = rows(store, images)
    assert found["label"].to_pylist() == [None, 0, 0, 0]
    assert found["label_name"].to_pylist()[0] is None
    assert found.schema.field("label").nullable


@pytest.mark.parametrize("options", [{}, {"decode": [4, 4]}])
@pytest.mark.parametrize("cut", [0, 10, 2000])
def test_a_broken_image_is_named(store, write, images, options, cut):
    """Not an image at all is found always, pixels that break off when they are decoded."""
    path = images / "dog/0.png"
    Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3)).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    if cut == 2000 and not options:
        assert rows(store, images).num_rows == 4
        return
    with pytest.raises(InvalidArgument, match=r"dog/0\.png is broken"):
        store.create("a.lance", store.source(images, format=None, options=options), write())
    assert store.latest("a.lance") is None


@pytest.mark.parametrize("size", [64, [64], [0, 4], [4, 1 << 20], ["a", "b"], [True, 1], [1.5, 2], None])
def test_bad_sizes_are_refused(store, images, size):
    """Height and width are whole numbers of pixels."""
    with pytest.raises(InvalidArgument, match="option 'decode' is"):
        store.source(images, format=None, options={"decode": size})


def test_many_images_come_in_bounded_batches(store, tmp_path):
    """A batch has about 8 MiB, encoded or decoded."""
    for number in range(12):
        Image.frombytes("RGB", (600, 600), os.urandom(600 * 600 * 3)).save(tmp_path / f"{number:02}.bmp")
    for options in ({}, {"decode": [600, 600]}):
        with store.source(tmp_path, format="images", options=options).reader as reader:
            sizes = [batch.num_rows for batch in reader]
        assert sum(sizes) == 12
        assert max(sizes) <= 8


def test_other_folders_are_file_trees(store, tmp_path):
    """One row a file: path, content, size, time; empty files too."""
    folder = tmp_path / "tree"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/weights.bin").write_bytes(b"\x00\x01")
    (folder / "config.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    os.utime(folder / "empty", (1_700_000_000, 1_700_000_000))
    found = rows(store, folder)
    assert found["path"].to_pylist() == ["config.json", "deep/er/weights.bin", "empty"]
    assert found["bytes"].to_pylist() == [b"{}", b"\x00\x01", b""]
    assert found["size"].to_pylist() == [2, 2, 0]
    assert found["modified"][2].as_py().astimezone(UTC) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert rows(store, folder / "config.json", "files")["path"].to_pylist() == ["config.json"]


def test_files_of_a_tree_come_in_bounded_batches(store, tmp_path):
    """Contents of about 8 MiB go together."""
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(bytes(3 << 20))
    with store.source(tmp_path, format=None, options={}).reader as reader:
        assert [batch.num_rows for batch in reader] == [3, 2]


def test_a_file_of_a_tree_has_a_limit(store, tmp_path):
    """A file is one value in memory; a sparse one of two GiB is refused at once."""
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(InvalidArgument, match=r"huge\.bin has 2147483648 bytes"):
        store.source(tmp_path, format=None, options={})


def test_a_folder_that_vanishes_is_told(store, write, tmp_path):
    """A file that goes away between the listing and the reading is named."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a.bin").write_bytes(b"x")
    source = store.source(tmp_path / "t", format=None, options={})
    (tmp_path / "t/a.bin").unlink()
    with pytest.raises(InvalidArgument, match=r"a\.bin cannot be read"):
        store.create("a.lance", source, write())


def test_arrow_files_are_looked_through(store, tmp_path):
    """A file of a stranger may have texts that are no UTF-8, which nobody could read from the table."""
    path = tmp_path / "a.arrow"
    table = pa.table({"s": ["abc", "def"]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"abcdef", b"\xff\xfecdef"))
    source = store.source(path, format=None, options={})
    with source.reader as reader, pytest.raises(InvalidArgument, match=r"a\.arrow cannot be read: .*UTF8"):
        reader.read_all()
