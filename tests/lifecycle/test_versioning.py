"""Semantic versions: reading, bumping, compatibility."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.errors import AlreadyExists, InvalidArgument
from alluxio_lance.lifecycle.versioning import chosen_version, is_compatible, natural_bump, next_version, parse_version

BASE = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("x", pa.float32())])


@pytest.mark.parametrize(
    "text", ["1", "1.2", "v1.2.3", "1.2.3-rc1", "1.2.3+abc", "01.2.3", "a.b.c", "", "1.2.9999999999"]
)
def test_what_is_no_plain_semantic_version_is_refused(text):
    """Only MAJOR.MINOR.PATCH is a version of a resource."""
    with pytest.raises(InvalidArgument, match=r"MAJOR\.MINOR\.PATCH|above"):
        parse_version(text)


@pytest.mark.parametrize(
    ("base", "bump", "taken", "expected"),
    [
        ((1, 0, 0), "minor", [(1, 0, 0)], (1, 1, 0)),
        ((1, 0, 0), "major", [(1, 0, 0)], (2, 0, 0)),
        ((1, 0, 0), "patch", [(1, 0, 0)], (1, 0, 1)),
        # after a rollback to 1.0.0 the numbers of 1.1.0 and 1.2.3 are taken
        ((1, 0, 0), "minor", [(1, 0, 0), (1, 1, 0), (1, 2, 3)], (1, 3, 0)),
        ((1, 0, 0), "major", [(1, 0, 0), (2, 5, 0)], (3, 0, 0)),
        ((1, 0, 0), "patch", [(1, 0, 0), (1, 0, 7), (1, 1, 9)], (1, 0, 8)),
        ((1, 4, 2), "minor", [(1, 4, 2), (2, 9, 0)], (1, 5, 0)),
    ],
)
def test_the_next_version_is_the_bumped_one_or_the_next_free_of_its_line(base, bump, taken, expected):
    """A bump never lands on a version that exists."""
    assert next_version(base, bump, taken) == expected


TRIPLES = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))


@given(TRIPLES, st.sampled_from(["major", "minor", "patch"]), st.lists(TRIPLES))
def test_the_next_version_is_free_and_above_its_base(base, bump, taken):
    """Whatever is taken, the result is new and higher than what it continues from."""
    result = next_version(base, bump, taken)
    assert result not in taken
    assert result > base


@pytest.mark.parametrize(
    ("new", "compatible"),
    [
        (BASE, True),
        (BASE.append(pa.field("y", pa.string())), True),
        (pa.schema([BASE.field("x"), BASE.field("id")]), True),
        (pa.schema([BASE.field("id")]), False),
        (pa.schema([BASE.field("id"), pa.field("x", pa.float64())]), False),
        (pa.schema([pa.field("id", pa.int64(), nullable=True), BASE.field("x")]), False),
    ],
)
def test_a_schema_is_compatible_when_old_readers_can_read_it(new, compatible):
    """Columns may be added or moved; not removed, retyped, or made nullable."""
    assert is_compatible(BASE, new) is compatible
    assert natural_bump("overwrite", BASE, new) == ("minor" if compatible else "major")


def test_metadata_alone_bump_the_patch():
    """No row changed: only the patch number moves."""
    assert natural_bump(None, BASE, BASE) == "patch"


def test_a_chosen_version_that_is_taken_is_refused():
    """Versions never change, so a number is given once."""
    with pytest.raises(AlreadyExists, match=r"1\.2\.3 exists already"):
        chosen_version("1.2.3", [(1, 2, 3)])
    assert chosen_version("1.2.4", [(1, 2, 3)]) == (1, 2, 4)
