"""What both managers promise: the embedded one in this process, and the one connected to a sidecar."""

import time

import pyarrow as pa
import pytest

from alluxio_lance.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    InvalidURI,
    NotActive,
    NotFound,
)
from alluxio_lance.values import Kind, State, Verb


def table(n, start=0):
    """Make n rows."""
    return pa.table({"id": pa.array(range(start, start + n), pa.int64()), "x": pa.array([float(i) for i in range(n)])})


def ids(manager, type, name, selector=None):
    """Read the id column of a version, in order."""
    return manager.get_resource(type, name, selector).to_lance().to_table()["id"].to_pylist()


def test_a_registered_resource_is_version_1_0_0_and_active(manager):
    """Register brings the data in, names the version and makes it active."""
    version = manager.register_resource(
        "datasets", "a/b", table(10), message="first", metadata={"k": [1, {"z": None}]}, provenance={"from": "here"}
    )
    assert (version.semver, version.state, version.num_rows, version.version) == ("1.0.0", State.ACTIVE, 10, 1)
    assert str(version) == f"1.0.0+{version.content_hash[:8]}"
    handle = manager.get_resource("datasets", "a/b")
    assert handle.info == version
    assert handle.metadata == {"k": [1, {"z": None}]}
    assert handle.info.provenance == {"from": "here"}
    assert handle.schema.names == ["id", "x"]
    assert (handle.semver, handle.version, handle.num_rows, handle.state) == ("1.0.0", 1, 10, State.ACTIVE)
    assert handle.uri == "alluxio://datasets/a/b@v1"
    assert handle.content_hash == version.content_hash
    assert ids(manager, "datasets", "a/b") == list(range(10))


def test_the_same_data_have_the_same_content_hash(manager):
    """The hash names the content, not the resource."""
    one = manager.register_resource("datasets", "one", table(100))
    two = manager.register_resource("datasets", "two", table(100))
    other = manager.register_resource("datasets", "other", table(101))
    assert one.content_hash == two.content_hash != other.content_hash


@pytest.mark.parametrize(
    ("arguments", "semver"),
    [
        ({"mode": "append"}, "1.1.0"),
        ({"mode": "overwrite"}, "1.1.0"),
        ({"mode": "upsert", "on": "id"}, "1.1.0"),
        ({"mode": "append", "bump": "major"}, "2.0.0"),
        ({"mode": "append", "bump": "patch"}, "1.0.1"),
        ({"mode": "append", "version": "3.2.1"}, "3.2.1"),
    ],
)
def test_an_update_makes_the_next_version_active(manager, arguments, semver):
    """The mode bumps the minor version; bump and version override it."""
    manager.register_resource("datasets", "a", table(4))
    version = manager.update_resource("datasets", "a", table(4, start=2), **arguments)
    assert (version.semver, version.state) == (semver, State.ACTIVE)
    expected = {"append": [0, 1, 2, 3, 2, 3, 4, 5], "overwrite": [2, 3, 4, 5], "upsert": [0, 1, 2, 3, 4, 5]}
    assert sorted(ids(manager, "datasets", "a")) == sorted(expected[arguments["mode"]])
    assert ids(manager, "datasets", "a", "1.0.0") == [0, 1, 2, 3]


def test_an_overwrite_with_an_incompatible_schema_bumps_the_major_version(manager):
    """Old readers cannot read it: the number says so."""
    manager.register_resource("datasets", "a", table(4))
    version = manager.update_resource("datasets", "a", pa.table({"y": [1, 2]}), mode="overwrite")
    assert version.semver == "2.0.0"


def test_an_update_without_data_changes_metadata_only(manager):
    """A patch: the same rows, the metadata laid over the old."""
    first = manager.register_resource("datasets", "a", table(4), metadata={"a": 1, "b": 2})
    second = manager.update_resource("datasets", "a", metadata={"b": None, "c": 3})
    assert second.semver == "1.0.1"
    assert second.content_hash == first.content_hash
    assert dict(second.metadata) == {"a": 1, "c": 3}
    assert ids(manager, "datasets", "a") == [0, 1, 2, 3]


def test_a_version_may_come_in_without_becoming_active(manager):
    """Registered versions wait for their activation; the pointer stays."""
    manager.register_resource("datasets", "a", table(1), activate=False)
    with pytest.raises(NotActive, match="activate"):
        manager.get_resource("datasets", "a")
    assert manager.get_resource("datasets", "a", "1.0.0").state is State.REGISTERED
    assert manager.activate_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    second = manager.update_resource("datasets", "a", table(1), activate=False)
    assert second.state is State.REGISTERED
    assert manager.get_resource("datasets", "a").semver == "1.0.0"


def test_after_a_rollback_the_next_update_continues_from_the_active_version(manager):
    """The rows of the version rolled back from are not in the next one, and its number is not given twice."""
    manager.register_resource("datasets", "a", table(2))
    manager.update_resource("datasets", "a", table(2, start=100))
    back = manager.rollback_resource("datasets", "a", message="bad rows")
    assert (back.semver, back.state) == ("1.0.0", State.ACTIVE)
    assert ids(manager, "datasets", "a") == [0, 1]
    third = manager.update_resource("datasets", "a", table(1, start=7))
    assert third.semver == "1.2.0"
    assert ids(manager, "datasets", "a") == [0, 1, 7]
    assert ids(manager, "datasets", "a", "1.1.0") == [0, 1, 100, 101]
    fourth = manager.update_resource("datasets", "a", table(1, start=8))
    assert ids(manager, "datasets", "a") == [0, 1, 7, 8]
    assert fourth.semver == "1.3.0"


def test_rollback_names_a_version_or_means_the_one_before(manager):
    """Twice without a name comes back to where it was."""
    manager.register_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(1))
    assert manager.rollback_resource("datasets", "a", "1.0.0").semver == "1.0.0"
    assert manager.rollback_resource("datasets", "a").semver == "1.2.0"
    assert manager.rollback_resource("datasets", "a").semver == "1.0.0"


def test_a_rollback_with_nothing_before_is_refused(manager):
    """The message says what to do instead."""
    manager.register_resource("datasets", "a", table(1))
    with pytest.raises(NotActive, match="no version that was active before"):
        manager.rollback_resource("datasets", "a")


@pytest.mark.parametrize("selector", ["1.1.0", "1.1", "1", "v2", "@1.1"])
def test_selectors_find_versions(manager, selector):
    """A prefix means the highest version that begins with it."""
    manager.register_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(2))
    manager.update_resource("datasets", "a", table(1), version="2.0.0")
    assert manager.get_resource("datasets", "a", selector).semver == "1.1.0"


def test_a_content_hash_finds_its_version(manager):
    """A prefix of eight digits is enough."""
    first = manager.register_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(2))
    assert manager.get_resource("datasets", "a", f"sha-{first.content_hash[:8]}").semver == "1.0.0"


def test_deprecating_the_active_version_leaves_none_active(manager):
    """Reading by name still works; the plain URI says what to do."""
    manager.register_resource("datasets", "a", table(1))
    assert manager.deprecate_resource("datasets", "a", "1.0.0").state is State.DEPRECATED
    with pytest.raises(NotActive):
        manager.get_resource("datasets", "a")
    assert manager.get_resource("datasets", "a", "1.0.0").state is State.DEPRECATED
    assert manager.activate_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    manager.deprecate_resource("datasets", "a", "1.0.0")
    with pytest.raises(InvalidArgument, match="is deprecated already"):
        manager.deprecate_resource("datasets", "a", "1.0.0")


def test_an_update_without_an_active_version_continues_from_the_newest(manager):
    """Deprecating everything does not lock a resource."""
    manager.register_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(1, start=5))
    manager.deprecate_resource("datasets", "a", "1.1.0")
    version = manager.update_resource("datasets", "a", table(1, start=9))
    assert (version.semver, version.state) == ("1.2.0", State.ACTIVE)
    assert ids(manager, "datasets", "a") == [0, 5, 9]


def test_lists_are_sorted_and_complete(manager):
    """Resources by type and name, versions highest first."""
    for type, name in (("datasets", "b"), ("datasets", "a"), ("corpora", "z")):
        manager.register_resource(type, name, table(1))
    manager.update_resource("datasets", "a", table(1))
    resources = manager.list_resources()
    assert [(r.type, r.name, r.versions, r.kind) for r in resources] == [
        ("corpora", "z", 1, Kind.DATASET),
        ("datasets", "a", 2, Kind.DATASET),
        ("datasets", "b", 1, Kind.DATASET),
    ]
    assert resources[1].active is not None
    assert resources[1].active.semver == "1.1.0"
    assert [r.name for r in manager.list_resources("corpora")] == ["z"]
    assert [v.semver for v in manager.list_versions("datasets", "a")] == ["1.1.0", "1.0.0"]


def test_history_tells_what_was_done_and_where_the_pointer_stood(manager):
    """One event a verb, oldest first, with the full names before and after."""
    one = manager.register_resource("datasets", "a", table(1), message="m1")
    two = manager.update_resource("datasets", "a", table(1), message="m2")
    manager.rollback_resource("datasets", "a", "1.0.0", message="m3")
    manager.deprecate_resource("datasets", "a", "1.1.0", message="m4")
    events = manager.history("datasets", "a")
    assert [(e.verb, e.before, e.after, e.semver, e.message) for e in events] == [
        (Verb.REGISTER, None, str(one), "1.0.0", "m1"),
        (Verb.UPDATE, str(one), str(two), "1.1.0", "m2"),
        (Verb.ROLLBACK, str(two), str(one), "1.0.0", "m3"),
        (Verb.DEPRECATE, str(one), str(one), "1.1.0", "m4"),
    ]
    assert all("@" in event.actor for event in events)
    assert [e.sequence for e in events] == sorted(e.sequence for e in events)


def test_a_second_call_with_the_same_request_id_returns_the_first_result(manager):
    """A client that lost the answer may ask again."""
    first = manager.register_resource("datasets", "a", table(1), request_id="r1")
    assert manager.register_resource("datasets", "a", table(1), request_id="r1") == first
    second = manager.update_resource("datasets", "a", table(1), request_id="r2")
    assert manager.update_resource("datasets", "a", table(1), request_id="r2") == second
    assert len(manager.list_versions("datasets", "a")) == 2
    with pytest.raises(Conflict, match="r2"):
        manager.activate_resource("datasets", "a", "1.0.0", request_id="r2")


def test_watch_yields_what_happens_from_a_place_on(manager):
    """A watcher misses nothing between two looks."""
    manager.register_resource("datasets", "a", table(1))
    start = manager.history("datasets", "a")[-1].sequence
    manager.update_resource("datasets", "a", table(1))
    manager.rollback_resource("datasets", "a", "1.0.0")
    events = manager.watch(after=start)
    assert [next(events).verb, next(events).verb] == [Verb.UPDATE, Verb.ROLLBACK]
    events.close()


BAD_CALLS = [
    (AlreadyExists, lambda m: m.register_resource("datasets", "a", table(1))),
    (InvalidURI, lambda m: m.register_resource("datasets", "a b", table(1))),
    (InvalidArgument, lambda m: m.register_resource("datasets", "b", table(1), version="1.0")),
    (InvalidArgument, lambda m: m.register_resource("datasets", "b", table(1), metadata={"x": object()})),
    (InvalidArgument, lambda m: m.register_resource("datasets", "b", table(1), metadata={"x": float("nan")})),
    (InvalidArgument, lambda m: m.register_resource("models", "b", table(1))),
    (InvalidArgument, lambda m: m.register_resource("datasets", "b", 7)),
    (NotFound, lambda m: m.register_resource("datasets", "b", "/no/such/file.parquet")),
    (NotFound, lambda m: m.update_resource("datasets", "nope", table(1))),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", table(1), mode="merge")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", table(1), mode="upsert")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", table(1), on="id")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", table(1), bump="mega")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", table(1), bump="minor", version="9.0.0")),
    (InvalidArgument, lambda m: m.update_resource("datasets", "a", pa.table({"other": [1]}))),
    (AlreadyExists, lambda m: m.update_resource("datasets", "a", table(1), version="1.0.0")),
    (NotFound, lambda m: m.activate_resource("datasets", "a", "9.9.9")),
    (InvalidURI, lambda m: m.activate_resource("datasets", "a", "§")),
    (NotFound, lambda m: m.get_resource("datasets", "a", "@production")),
    (NotFound, lambda m: m.get_resource("datasets", "nope")),
    (NotFound, lambda m: m.list_versions("datasets", "nope")),
    (NotFound, lambda m: m.history("datasets", "nope")),
    (NotFound, lambda m: m.delete_resource("datasets", "nope")),
]


@pytest.mark.parametrize(("error", "call"), BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_a_bad_call_is_refused_and_changes_nothing(manager, error, call):
    """The right error, and afterwards everything is as it was."""
    manager.register_resource("datasets", "a", table(3))
    before = (manager.list_resources(), manager.list_versions("datasets", "a"), manager.history("datasets", "a"))
    with pytest.raises(error):
        call(manager)
    assert (
        manager.list_resources(),
        manager.list_versions("datasets", "a"),
        manager.history("datasets", "a"),
    ) == before
    assert ids(manager, "datasets", "a") == [0, 1, 2]


def test_plain_lance_finds_the_versions_by_tag(manager):
    """The Lance tags follow the catalog, for people who use lance.dataset alone; a sidecar answers before they have."""
    import lance

    def eventually(holds):
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    manager.register_resource("datasets", "a", table(2))
    manager.update_resource("datasets", "a", table(1))
    location = manager.get_resource("datasets", "a").info.location
    assert lance.dataset(location, version="active").count_rows() == 3
    assert lance.dataset(location, version="1.0.0").count_rows() == 2
    manager.rollback_resource("datasets", "a")
    eventually(lambda: lance.dataset(location, version="active").count_rows() == 2)
    manager.deprecate_resource("datasets", "a", "1.0.0")
    eventually(lambda: "active" not in lance.dataset(location).tags.list())
