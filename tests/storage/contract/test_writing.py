"""Creating, appending, overwriting, restoring: what the table holds afterwards, and what is refused."""

from __future__ import annotations

from itertools import product

import pyarrow as pa
import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound

LOCATION = "datasets/vision/cifar.lance"
TABLE = pa.table({"id": pa.array([1, 2, 3]), "x": pa.array([0.1, 0.2, 0.3]), "s": ["a", "b", None]})


def test_every_write_makes_one_version_that_reads_back(store, write, source, read):
    """Create, append, upsert, overwrite and restore each make the next version, and old ones stay as they were."""
    more = pa.table({"s": ["d"], "id": [4]})
    assert store.latest(LOCATION) is None
    assert store.create(LOCATION, source(TABLE), write()) == 1
    assert store.append(LOCATION, source(more), write()) == 2
    assert store.upsert(LOCATION, source(pa.table({"id": [1, 9], "x": [7.0, 8.0]})), ["id"], write()) == 3
    assert store.overwrite(LOCATION, source(more), write()) == 4
    assert store.restore(LOCATION, 1, write()) == 5
    assert store.latest(LOCATION) == 5

    assert read(LOCATION, 1).equals(TABLE)
    assert read(LOCATION, 2).slice(3).to_pylist() == [{"id": 4, "x": None, "s": "d"}]
    merged = {row["id"]: row for row in read(LOCATION, 3).to_pylist()}
    assert merged[1]["x"] == 7.0
    assert merged[9] == {"id": 9, "x": 8.0, "s": None}
    assert len(merged) == 5
    assert read(LOCATION, 4).equals(more)
    assert read(LOCATION, 5).equals(TABLE)


def test_a_restored_table_is_appended_in_its_own_file_format(store, write, source, read):
    """After an overwrite in another format, a restore brings the old format back and appends follow it."""
    structs = pa.table({"z": [{"a": 1}, None]})
    store.create(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(structs), write())
    assert read(LOCATION, 2).equals(structs)
    store.restore(LOCATION, 1, write())
    version = store.append(LOCATION, source(TABLE), write())
    assert read(LOCATION, version).num_rows == 6


def test_transactions_say_who_and_why(store, write, source, plain):
    """Every kind of write leaves operation, actor and message in the table's own history."""
    store.create(LOCATION, source(TABLE), write("a" * 32))
    store.append(LOCATION, source(TABLE), write("b" * 32))
    store.upsert(LOCATION, source(TABLE.slice(0, 0)), ["id"], write("c" * 32))
    store.restore(LOCATION, 1, write("d" * 32))
    table = plain.open(LOCATION)
    said = [table.read_transaction(version).transaction_properties for version in range(1, 5)]
    assert said == [
        {
            "alluxio-lance.operation": letter * 32,
            "alluxio-lance.actor": "ada@node",
            "__lance_commit_message": "because",
        }
        for letter in "abcd"
    ]


def test_versions_tell_which_operation_wrote_them(store, write, source, plain):
    """``writers`` names the operation of each version but those left out, None of a stranger's, and none of no table."""
    assert store.writers(LOCATION) == {}
    store.create(LOCATION, source(TABLE), write("a" * 32))
    store.append(LOCATION, source(TABLE), write("b" * 32))
    plain.write(TABLE, LOCATION, mode="append")
    store.append(LOCATION, source(TABLE), write("a" * 32))
    assert store.writers(LOCATION) == {1: "a" * 32, 2: "b" * 32, 3: None, 4: "a" * 32}
    assert store.writers(LOCATION, besides={1, 3}) == {2: "b" * 32, 4: "a" * 32}


def test_progress_counts_rows_and_bytes_of_every_batch(store, write, source):
    """The last report has all rows; totals are passed through from the source."""
    heard = []
    store.create(LOCATION, source(TABLE), write(on_progress=heard.append))
    assert [(each.step, each.rows) for each in heard] == [("write", 3)]
    assert heard[0].bytes > 0


def test_an_empty_table_has_a_version(store, write, source, read):
    """No rows are fine, no columns are not."""
    store.create(LOCATION, source(TABLE.slice(0, 0)), write())
    assert read(LOCATION, 1).schema.equals(TABLE.schema)
    store.append(LOCATION, source(TABLE.slice(0, 0)), write())
    assert store.latest(LOCATION) == 2


def test_a_table_is_created_once(store, write, source):
    """The second create is refused and changes nothing."""
    store.create(LOCATION, source(TABLE), write())
    with pytest.raises(AlreadyExists, match="update it"):
        store.create(LOCATION, source(TABLE), write())
    assert store.latest(LOCATION) == 1


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("append", ["SOURCE", "WRITE"]),
        ("overwrite", ["SOURCE", "WRITE"]),
        ("upsert", ["SOURCE", ["id"], "WRITE"]),
        ("restore", [1, "WRITE"]),
        ("open", [1]),
        ("snapshot", [1, {}]),
        ("mirror_tags", [{"active": 1}]),
        ("sweep", [[1]]),
    ],
)
def test_a_missing_table_is_not_found(store, source, write, verb, arguments):
    """Every verb but create says that there is no such table, and makes none."""
    given = {"SOURCE": source(TABLE), "WRITE": write()}
    with pytest.raises(NotFound, match=r"cifar\.lance"):
        getattr(store, verb)(
            LOCATION, *(given.get(each, each) if isinstance(each, str) else each for each in arguments)
        )
    assert store.latest(LOCATION) is None


@pytest.mark.parametrize("version", [2, 99])
def test_a_missing_version_is_not_found(store, source, write, version):
    """Opening, describing and restoring a version that is not there names the version."""
    store.create(LOCATION, source(TABLE), write())
    for verb in (
        lambda: store.open(LOCATION, version),
        lambda: store.snapshot(LOCATION, version, {}),
        lambda: store.restore(LOCATION, version, write()),
    ):
        with pytest.raises(NotFound, match=f"version {version} of"):
            verb()


OUTSIDE = ["/etc/x.lance", "../x.lance", "a/../../x.lance", "", "a//b", ".", "a/\0b", "a\\b"]
CASES = [*product(["folder"], OUTSIDE), *product(["alluxio", "alluxio-s3"], ["../x.lance", ""])]


@pytest.mark.parametrize(("ground", "location"), CASES, indirect=["ground"])
def test_a_location_stays_below_the_root(store, write, source, location):
    """Absolute paths, parents and empty parts are refused before anything is touched."""
    with pytest.raises(InvalidArgument, match="location"):
        store.create(location, source(TABLE), write())
    with pytest.raises(InvalidArgument, match="location"):
        store.drop(location)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (pa.schema([]), "no columns"),
        (pa.schema([("a", pa.int32()), ("a", pa.int64())]), "two columns with the name 'a'"),
        (pa.schema([("a.b", pa.int32())]), "'a.b'"),
        (pa.schema([("_rowid", pa.int32())]), "reserved"),
        (pa.schema([("a", pa.month_day_nano_interval())]), "Interval"),
    ],
)
def test_impossible_columns_are_refused(store, write, source, schema, sentence):
    """A schema that Lance cannot hold is an invalid argument, with the reason."""
    with pytest.raises(InvalidArgument, match=sentence):
        store.create(LOCATION, source([], schema), write())
    assert store.latest(LOCATION) is None


def test_a_source_that_fails_leaves_no_version(store, write, source, root):
    """The source's own exception is told, ours pass unchanged, and the table is as before."""
    store.create(LOCATION, source(TABLE), write())

    def failing(error):
        yield TABLE.to_batches()[0]
        raise error

    with pytest.raises(InvalidArgument, match=r"the test's stream cannot be read to its end: ZeroDivisionError: boom"):
        store.append(LOCATION, source(failing(ZeroDivisionError("boom")), TABLE.schema), write())
    with pytest.raises(NotFound, match="gone"):
        store.append(LOCATION, source(failing(NotFound("gone")), TABLE.schema), write())
    with pytest.raises(KeyboardInterrupt):
        store.append(LOCATION, source(failing(KeyboardInterrupt()), TABLE.schema), write())
    assert store.latest(LOCATION) == 1
    assert store.sweep(LOCATION, [1]) >= 0
    assert len(list((root / LOCATION / "data").iterdir())) == 1


def test_a_null_where_none_may_be_is_refused(store, write, source):
    """A schema's promise of no nulls is checked against the data."""
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    table = pa.Table.from_arrays([pa.array([1, None])], schema=schema)
    with pytest.raises(InvalidArgument, match=r"'a' .* has a null"):
        store.create(LOCATION, source(table), write())
