"""The mirror of tags."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound

LOCATION = "datasets/a.lance"


@pytest.fixture
def tags(store, write, source, plain):
    """A table with three versions; the function returns its tags."""
    table = pa.table({"a": [1]})
    store.create(LOCATION, source(table), write())
    store.append(LOCATION, source(table), write())
    store.append(LOCATION, source(table), write())
    return lambda: {n: t["version"] for n, t in plain.open(LOCATION).tags.list().items()}


def test_tags_are_set_moved_and_removed(store, tags, plain):
    """Each call states what shall be; what is not named stays."""
    store.mirror_tags(LOCATION, {"active": 1, "1.0.0": 1})
    store.mirror_tags(LOCATION, {"active": 2, "1.1.0": 2, "gone": None})
    assert tags() == {"active": 2, "1.0.0": 1, "1.1.0": 2}
    assert plain.open(LOCATION, "active").count_rows() == 2
    store.mirror_tags(LOCATION, {"active": None, "1.0.0": None})
    assert tags() == {"1.1.0": 2}


def test_right_tags_are_left_alone(store, tags, root):
    """A second call writes nothing."""
    store.mirror_tags(LOCATION, {"active": 1})
    file = root / LOCATION / "_refs/tags/active.json"
    before = file.stat()
    store.mirror_tags(LOCATION, {"active": 1})
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_missing_version_tags_nothing(store, tags):
    """The whole call is checked first."""
    with pytest.raises(NotFound, match="no version 9 to tag"):
        store.mirror_tags(LOCATION, {"active": 1, "1.0.0": 9})
    assert tags() == {}


def test_an_impossible_name_is_refused(store, tags):
    """Lance's tags have letters, digits, dots, dashes."""
    with pytest.raises(InvalidArgument, match="Ref is invalid"):
        store.mirror_tags(LOCATION, {"a b": 1})
