"""Tensors of numpy and their bytes."""

from __future__ import annotations

import numpy as np
import pytest

from alluxio_lance.client.models.elements import NUMPY, as_array, as_bytes, element_name
from alluxio_lance.client.models.patterns import matching
from alluxio_lance.errors import InvalidArgument, NotFound


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_arrays_come_back_as_they_were(name, shape):
    """Every element type that both sides have, in every shape; the array looks at the bytes themselves."""
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(NUMPY[name])
    assert element_name(values.dtype) == name
    data = memoryview(bytearray(as_bytes(values)))
    array = as_array(data, name, shape)
    assert array.dtype == values.dtype
    np.testing.assert_array_equal(array, values)
    if array.size:
        data[:] = bytes(len(data))
        assert not array.any()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f4", "i8", "c8", "u2"])
def test_bytes_are_little_endian_and_row_major(order, kind):
    """Whatever the order in memory."""
    values = np.arange(24).reshape(4, 6).astype(order + kind)
    for view in (values, values.T, values[::2, ::3], np.asfortranarray(values)):
        assert element_name(view.dtype) is not None
        assert bytes(as_bytes(view)) == view.astype("<" + kind).tobytes()


def test_what_is_dense_is_not_copied():
    """Its bytes are looked at."""
    values = np.zeros(4, "<f4")
    data = as_bytes(values)
    values[0] = 1
    assert data[3] == 0x3F


@pytest.mark.parametrize(
    ("name", "shape", "size", "dtype", "seen"),
    [
        ("BF16", (2, 3), 12, np.uint16, (2, 3)),
        ("F8_E4M3", (2, 3), 6, np.uint8, (2, 3)),
        ("F8_E8M0", (), 1, np.uint8, ()),
        ("F4", (2, 4), 4, np.uint8, (4,)),
        ("F6_E2M3", (4,), 3, np.uint8, (3,)),
    ],
)
def test_what_numpy_lacks_comes_as_bits(name, shape, size, dtype, seen):
    """In the tensor's shape where an element has whole bytes."""
    array = as_array(memoryview(bytes(range(size))), name, shape)
    assert (array.dtype, array.shape) == (dtype, seen)
    assert array.tobytes() == bytes(range(size))


@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_complex128_is_pairs(shape):
    """As torch and TensorFlow store it."""
    values = (np.arange(int(np.prod(shape))) + 1j).reshape(shape)
    array = as_array(as_bytes(values), "F64", (*shape, 2), "complex128")
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("dtype", ["U4", "S3", "O", "M8[s]", "c16", "g"])
def test_other_types_have_no_name(dtype):
    """Texts, objects, moments, and what is wider."""
    assert element_name(np.dtype(dtype)) is None


def test_patterns():
    """In the order of the names; what matches nothing is told with names like it, a bare text is a mistake."""
    names = ["encoder.0.weight", "encoder.1.weight", "head.bias"]
    assert matching(names, None, "u") == names
    assert matching(names, ["*.bias", "encoder.?.*"], "u") == names
    assert matching(names, [], "u") == []
    with pytest.raises(NotFound, match=r"matches 'haed\.bias': it has 'head\.bias'"):
        matching(names, ["head.bias", "haed.bias"], "u")
    with pytest.raises(InvalidArgument, match=r"\['head\.bias'\]"):
        matching(names, "head.bias", "u")
