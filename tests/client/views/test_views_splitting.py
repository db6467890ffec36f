"""Splits: the part of a row is decided by its key alone, for ever."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.client.views.hashing import derived, hash_bytes, hash_integers
from alluxio_lance.client.views.keys import hashed_keys
from alluxio_lance.client.views.splitting import NO_PART, parts_of, shares
from alluxio_lance.errors import InvalidArgument, NotFound


def test_hashes_are_the_same_for_ever():
    """Written down: a change of these numbers would move rows between the splits of users."""
    assert [f"{number:016x}" for number in hash_integers(np.array([0, 1, -1, 2**62]), 0)] == INTEGERS
    assert f"{hash_integers(np.array([1]), 7)[0]:016x}" == SEEDED
    assert [f"{number:016x}" for number in hash_bytes([b"", b"abc", "ä".encode()], 0)] == BYTES
    assert derived(0, 1, 2) == DERIVED


INTEGERS = ["e220a8397b1dcdaf", "d300120a5ea35cac", "379c1e9f8d23af2a", "2b156fe9a6527097"]
SEEDED = "34cac5489fdc078a"
BYTES = ["42b13db4026da589", "b8f4361f251062c2", "91736438d38fbe15"]
DERIVED = 4639954796258514864


@pytest.mark.parametrize("type_", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_the_type_of_an_integer_does_not_matter(type_):
    """A column may become wider from version to version."""
    values = np.arange(100, dtype=type_)
    assert np.array_equal(hash_integers(values, 3), hash_integers(np.arange(100), 3))


@pytest.mark.parametrize("seed", [0, 1, -5, 2**70])
def test_proportions_are_near_the_fractions(seed):
    """For neighbouring numbers, the usual keys, and whatever integer the seed is."""
    parts = parts_of(hash_integers(np.arange(100_000), seed), shares({"a": 0.7, "b": 0.2, "c": 0.05}))
    counts = np.bincount(parts, minlength=256)
    assert counts[3:NO_PART].sum() == 0
    for found, wanted in zip(counts[[0, 1, 2, NO_PART]], (70_000, 20_000, 5_000, 5_000), strict=True):
        # Five standard deviations of a binomial.
        assert abs(found - wanted) < 5 * np.sqrt(wanted)


def test_seeds_are_independent():
    """Of the rows in one part by one seed, the usual share is in it by another."""
    ends = shares({"a": 0.5})
    one, other = (parts_of(hash_integers(np.arange(100_000), seed), ends) == 0 for seed in (0, 1))
    assert abs(int((one & other).sum()) - 25_000) < 1000


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_shares_end_where_they_add_up(sizes):
    """Parts are in order; what adds up to 1 but for rounding is all."""
    total = sum(sizes)
    fractions = {str(place): size / max(total, 1) for place, size in enumerate(sizes)}
    ends = shares(fractions)
    assert (np.diff(ends) >= 0).all()
    assert ends[-1] == pytest.approx(min(total, 1))
    if total >= 1:
        assert ends[-1] == 1


def test_a_whole_split_leaves_nobody_out():
    """Neither the smallest hash nor the largest, with empty parts before and behind."""
    extremes = np.array([0, 2**64 - 1], np.uint64)
    assert parts_of(extremes, shares({"none": 0, "a": 0.7, "b": 0.2, "c": 0.1, "no more": 0.0})).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("fractions", "reason"),
    [
        ({}, "1 to 254 parts"),
        ({"a": 0.9, "b": 0.2}, "1.1 together"),
        ({"a": -0.1}, "from 0 to 1, not -0.1"),
        ({"a": float("nan")}, "not nan"),
        ({"a": 2}, "not 2"),
        ({"a": True}, "not True"),
        ({"a": "0.5"}, "not '0.5'"),
    ],
)
def test_fractions_that_are_none(fractions, reason):
    """Each is refused with what it is."""
    with pytest.raises(InvalidArgument, match=reason):
        shares(fractions)


KEYS = {
    "whole": pa.array([5, 6, 7]),
    "text": pa.array(["5", "6", "ä"]),
    "large": pa.array(["5", "6", "ä"], pa.large_string()),
    "bytes": pa.array([b"5", b"6", "ä".encode()]),
    "fixed": pa.array([b"ab", b"c\0", b"ef"], pa.binary(2)),
    "flag": pa.array([True, False, True]),
    "moment": pa.array([5, 6, 7], pa.timestamp("us")),
    "span": pa.array([5, 6, 7], pa.duration("s")),
    "real": pa.array([1.0, 2.0, 3.0]),
    "list": pa.array([[1], [2], [3]]),
    "inner": pa.array([{"a": 1}] * 3),
    "vector": pa.FixedSizeListArray.from_arrays(pa.array(range(6)), 2),
    "gap": pa.array([1, None, 3]),
    "text gap": pa.array(["1", None, "3"]),
}


def test_keys_of_all_kinds(make_table):
    """Numbers by their value, text and bytes by their bytes, whatever the type is called."""
    table = make_table(pa.table(KEYS))
    rows = np.array([2, 0, 1])

    def hashed(key):
        return hashed_keys(table, rows, key, 9).tolist()

    numbers = hash_integers(np.array([7, 5, 6]), 9).tolist()
    assert hashed("whole") == hashed("moment") == hashed("span") == numbers
    assert hashed("text") == hashed("large") == hashed("bytes") == hash_bytes(["ä".encode(), b"5", b"6"], 9).tolist()
    assert hashed("fixed") == hash_bytes([b"ef", b"ab", b"c\0"], 9).tolist()
    assert hashed("flag") == hash_integers(np.array([1, 1, 0]), 9).tolist()
    assert hashed(None) == hash_integers(rows, 9).tolist()
    assert hashed_keys(table, rows[:0], "whole", 9).tolist() == []


@pytest.mark.parametrize("key", ["real", "list", "inner", "vector"])
def test_other_values_are_no_keys(make_table, key):
    """They are named."""
    table = make_table(pa.table(KEYS))
    with pytest.raises(InvalidArgument, match=f"'{key}'.*no keys"):
        hashed_keys(table, np.arange(3), key, 0)


@pytest.mark.parametrize("key", ["gap", "text gap"])
def test_rows_without_a_key_have_no_part(make_table, key):
    """They are refused with the filter that leaves them out; other rows of the column are fine."""
    table = make_table(pa.table(KEYS))
    with pytest.raises(InvalidArgument, match=f"`{key}` IS NOT NULL"):
        hashed_keys(table, np.arange(3), key, 0)
    assert len(hashed_keys(table, np.array([0, 2]), key, 0)) == 2


def test_long_columns_are_hashed_in_pieces(make_table):
    """More rows than are taken at a time, over several segments."""
    table = make_table(pa.table({"id": np.arange(150_000), "text": [str(i) for i in range(150_000)]}))
    rows = np.arange(150_000)[::-1]
    assert np.array_equal(hashed_keys(table, rows, "id", 1), hash_integers(rows, 1))
    texts = hash_bytes((str(i).encode() for i in rows), 1)
    assert np.array_equal(hashed_keys(table, rows, "text", 1), texts)


def test_a_key_that_is_not_there(node):
    """Neither open nor in the version: the message has what there is."""
    from alluxio_lance.client.table import Table

    uri = node.register("views/keys", pa.table({"id": [1], "x": [2]})).uri
    with Table.open(uri, ["x"], node.at) as table:
        assert hashed_keys(table, np.arange(1), "id", 0).tolist() == hash_integers(np.array([1]), 0).tolist()
        with pytest.raises(NotFound, match="nope"):
            hashed_keys(table, np.arange(1), "nope", 0)
