"""What differs between two versions of a model: against numpy on whole arrays, for every element type."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from alluxio_lance.client.models import comparing
from alluxio_lance.client.models.comparing import compare
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.numbers import as_numbers
from alluxio_lance.client.models.plotting import plot_diff
from alluxio_lance.errors import Unavailable
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import Notes

TYPES = {
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "U32": np.uint32,
    "I32": np.int32,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "F64": np.float64,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}


@pytest.fixture
def make(make_lease):
    """Return a function that maps a model of arrays: ``{name: (type, array)}``."""

    def made(arrays, files=None, notes=None):
        specs = {
            TensorSpec(name=name, dtype=dtype, shape=array.shape): array.tobytes()
            for name, (dtype, array) in arrays.items()
        }
        return MappedModel(make_lease(specs, files or {}, notes))

    return made


@pytest.mark.parametrize("dtype", TYPES)
def test_norms_are_those_of_numpy(make, monkeypatch, dtype):
    """Of blocks that are smaller than the tensor, some of which have not changed."""
    monkeypatch.setattr(comparing, "_BLOCK", 1024)
    random = np.random.default_rng(7)
    old = random.integers(1, 100, 3000).astype(TYPES[dtype])
    new = old.copy()
    moved = random.choice(np.arange(1000, 2000), 50, replace=False)
    new[moved] = random.integers(1, 100, 50).astype(TYPES[dtype])
    (changed,) = compare(make({"x": (dtype, old)}), make({"x": (dtype, new)})).changed
    before, after = old.astype(np.float64), new.astype(np.float64)
    assert changed.change.elements == int((old.view(np.uint8) != new.view(np.uint8)).reshape(3000, -1).any(1).sum())
    assert changed.change.l2 == pytest.approx(np.linalg.norm(after - before), rel=1e-12)
    assert changed.change.relative_l2 == pytest.approx(
        np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-12
    )
    assert changed.change.max == np.abs(after - before).max()
    assert changed.change.relative_max == changed.change.max / np.abs(before).max()
    assert changed.change.not_finite == 0


@pytest.mark.parametrize("dtype", [dtype for dtype in TYPES if dtype.startswith(("F8", "BF16", "F16"))])
def test_every_pattern_of_bits_is_the_number_that_it_is(dtype):
    """Beside another implementation of the formats, subnormal numbers and those that are none, too."""
    width = np.dtype(TYPES[dtype]).itemsize
    patterns = np.arange(256**width, dtype=f"u{width}").view(np.uint8)
    with np.errstate(invalid="ignore"):
        expected = patterns.view(TYPES[dtype]).astype(np.float64)
    np.testing.assert_array_equal(as_numbers(dtype, patterns), expected)


def test_complex_numbers_count_as_pairs(make):
    """Their norm is the same."""
    old, new = np.array([3 + 4j, 1], np.complex64), np.array([3 + 4j, 1 + 2j], np.complex64)
    (changed,) = compare(make({"x": ("C64", old)}), make({"x": ("C64", new)})).changed
    assert (changed.change.elements, changed.change.l2) == (1, 2.0)


def test_values_that_are_not_finite_are_in_no_norm(make):
    """They are counted where they have changed, and are no change where they have not."""
    old = np.array([1, np.nan, np.inf, 2, np.inf, 0], np.float32)
    new = np.array([1, np.nan, np.inf, 4, 5, np.nan], np.float32)
    (changed,) = compare(make({"x": ("F32", old)}), make({"x": ("F32", new)})).changed
    change = changed.change
    assert (change.elements, change.not_finite, change.l2, change.max) == (3, 2, 2.0, 2.0)
    assert change.relative_l2 == pytest.approx(2 / np.sqrt(5))


def test_a_change_from_zero_has_no_relative_size(make):
    """Nothing is divided by zero; a change of the sign of zero is one of no size."""
    old, new = np.zeros(4, np.float64), np.array([0, 0, 0, -0.0])
    (changed,) = compare(make({"x": ("F64", old)}), make({"x": ("F64", new)})).changed
    assert (changed.change.elements, changed.change.l2, changed.change.relative_l2, changed.change.relative_max) == (
        1,
        0.0,
        None,
        None,
    )


def test_numbers_too_large_for_a_square_do_not_fail(make):
    """Their norm is infinite, and the largest change is still right."""
    old, new = np.array([1e300, 1.0]), np.array([-1e300, 1.0])
    (changed,) = compare(make({"x": ("F64", old)}), make({"x": ("F64", new)})).changed
    assert (changed.change.l2, changed.change.max) == (float("inf"), 2e300)


OLD = {
    "same": ("F32", np.ones(3, np.float32)),
    "empty": ("F16", np.zeros((0, 4), np.float16)),
    "gone": ("I64", np.zeros(2, np.int64)),
    "retyped": ("F32", np.ones(2, np.float32)),
    "reshaped": ("F32", np.ones((2, 3), np.float32)),
    "moved": ("F32", np.ones(4, np.float32)),
}
NEW = {name: array for name, array in OLD.items() if name != "gone"} | {
    "come": ("BOOL", np.ones(1, np.uint8)),
    "retyped": ("F16", np.ones(2, np.float16)),
    "reshaped": ("F32", np.ones((3, 2), np.float32)),
    "moved": ("F32", np.full(4, 1.5, np.float32)),
}


@pytest.fixture
def two(make):
    """Give two versions that differ in everything."""
    old = make(OLD, {"a": b"1", "b": b"2", "c": b"3"}, Notes(tied={"t": "same"}))
    new = make(NEW, {"a": b"1", "b": b"22", "d": b"4"}, Notes(extra={"e": 1}))
    return old, new


def test_what_came_went_and_changed_is_told_apart(two):
    """Tensors, files, notes and metadata."""
    diff = compare(*two, ({"rate": 1, "kept": 0}, {"rate": 2, "kept": 0}))
    assert [spec.name for spec in diff.added] == ["come"]
    assert [spec.name for spec in diff.removed] == ["gone"]
    assert [each.name for each in diff.changed] == ["moved", "reshaped", "retyped"]
    assert [each.name for each in diff.changed if each.change is None] == ["reshaped", "retyped"]
    assert (diff.same, diff.is_empty) == (2, False)
    assert [(each.key, each.old, each.new) for each in diff.files] == [("b", 1, 2), ("c", 1, None), ("d", None, 1)]
    assert [(each.key, each.old, each.new) for each in diff.notes] == [
        ("extra.e", None, 1),
        ("tied.t", "same", None),
    ]
    assert [(each.key, each.old, each.new) for each in diff.metadata] == [("rate", 1, 2)]
    text = str(diff)
    for line in (
        "+ tensor come  BOOL [1]",
        "- tensor gone  I64 [2]",
        "~ tensor moved  4 elements, L2 1 (0.5 of the old), max 0.5",
        "~ tensor retyped  F32 [2] → F16 [2]",
        "~ file b: 1 → 2 bytes",
        "- note tied.t: same",
    ):
        assert line in text.splitlines()


def test_numbers_of_four_bits_are_compared_by_their_bits(make_lease):
    """There is no arithmetic for them here: that they differ is all that is said."""
    spec = TensorSpec(name="x", dtype="F4", shape=(8,))
    models = [MappedModel(make_lease({spec: data}, {})) for data in (b"\0\0\0\0", b"\0\0\0\1")]
    (changed,) = compare(*models).changed
    assert (changed.change, str(compare(*models)).splitlines()[1]) == (None, "~ tensor x  F4 [8]  other bits")


def test_a_version_is_the_same_as_itself(two):
    """And says so."""
    diff = compare(two[0], two[0])
    assert (diff.is_empty, diff.same) == (True, len(OLD))
    assert str(diff).endswith("the same, bit for bit")


def test_memory_grows_with_the_block_and_not_with_the_model(make):
    """Nothing of the size of the tensor is made."""
    old = np.ones(16 << 20, np.uint8)
    models = make({"x": ("U8", old)}), make({"x": ("U8", old + 1)})
    del old
    tracemalloc.start()
    try:
        (changed,) = compare(*models).changed
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert changed.change.elements == 16 << 20


@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_picture_has_at_most_forty_bars(make, tmp_path, monkeypatch, count):
    """Of the largest relative changes; without any change it says that."""
    from matplotlib.figure import Figure

    drawn = []
    kept = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **how: (drawn.append(self), kept(self, *args, **how))[1])
    ones = np.ones(4, np.float32)
    old = make({f"layers.{at}.weight" * (1 + at % 4): ("F32", ones) for at in range(100)})
    new = make(
        {
            f"layers.{at}.weight" * (1 + at % 4): ("F32", ones * (1 + 10.0 ** -(at / 20)) if at < count else ones)
            for at in range(100)
        }
    )
    plot_diff(compare(old, new), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(drawn[0].axes[0].patches) == min(count, 40)


def test_without_matplotlib_the_sentence_says_what_to_install(two, tmp_path, monkeypatch):
    """A picture is the only thing that needs it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Unavailable, match="alluxio-lance\\[plot\\]"):
        plot_diff(compare(*two), tmp_path / "p.png")


def test_the_values_are_frozen(two):
    """As all values are that are handed out."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        compare(*two).same = 0
