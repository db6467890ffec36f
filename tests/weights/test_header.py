"""Heads of safetensors files: every malformed one is refused with a sentence, and what is accepted others accept, too."""

from __future__ import annotations

import json
import struct

import pytest
import safetensors
from hypothesis import example, given
from hypothesis import strategies as st

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights import header
from alluxio_lance.weights.elements import ELEMENT_BITS
from alluxio_lance.weights.header import ALIGNMENT, TensorSpec, make_head, parse_head

WHAT = "the file a.safetensors"


def entry(dtype="U8", shape=(4,), offsets=(0, 4), **more):
    """Describe a tensor as the format does."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def made(text, data=b"abcd", length=None):
    """Make a file of the text of a head and its data, which may say that its head has another length."""
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


MALFORMED = {
    # The start
    "empty": (b"", "no safetensors file"),
    "a byte": (b"\x01", "no safetensors file"),
    "seven bytes": (b"\x00" * 7, "no safetensors file"),
    "no head": (b"\x00" * 8, "no JSON"),
    "a pickle": (b"\x80\x02}q\x00.".ljust(64, b"\0"), "cut short"),
    "a zip file": (b"PK\x03\x04".ljust(64, b"\xff"), "cut short"),
    "length of all ones": (b"\xff" * 64, "cut short"),
    "length above the file": (made({"a": entry()}, length=1000), "cut short"),
    "length below the text": (made({"a": entry()}, length=20), "no JSON"),
    "length of 100 MB and one": (made({"a": entry()}, length=100_000_001), "cut short"),
    "length in big-endian": (struct.pack(">Q", 2) + b"{}", "cut short"),
    # The text
    "no object": (made([1, 2]), "no JSON object"),
    "a number": (made(b"1"), "no JSON object"),
    "a text": (made(b'"a"'), "no JSON object"),
    "null": (made(b"null"), "no JSON object"),
    "cut JSON": (made(b'{"a": '), "no JSON"),
    "more behind": (made(b"{} {}"), "no JSON"),
    "single quotes": (made(b"{'a': 1}"), "no JSON"),
    "Latin-1": (made('{"é": 1}'.encode("latin-1")), "no JSON"),
    "UTF-16": (made('{"a": 1}'.encode("utf-16")), "no JSON"),
    "byte order mark": (made(b"\xef\xbb\xbf{}"), "no JSON"),
    "NUL in it": (made(b"{}\0"), "no JSON"),
    "control character in a name": (made(b'{"a\n": 1}'), "no JSON"),
    "deep lists": (made(b"[" * 100_000), "too deeply"),
    "deep objects": (made(b'{"a":' * 100_000), "too deeply"),
    "NaN": (made(b'{"a": NaN}'), "NaN"),
    "infinity": (made(b'{"a": {"dtype": "U8", "shape": [-Infinity], "data_offsets": [0, 4]}}'), "Infinity"),
    "a name twice": (made(b'{"a": {"dtype": "U8"}, "a": {"dtype": "I8"}}'), "'a' comes twice"),
    "metadata twice": (made(b'{"__metadata__": {}, "__metadata__": {}}'), "comes twice"),
    "a key twice": (made(b'{"a": {"shape": [4], "shape": [2]}}'), "comes twice"),
    "half a character as name": (made(b'{"\\ud800": {"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'), "no UTF-8"),
    # Metadata
    "metadata list": (made({"__metadata__": [], "a": entry()}), "metadata that are no texts"),
    "metadata number": (made({"__metadata__": {"a": 1}, "b": entry()}), "metadata that are no texts"),
    "metadata nested": (made({"__metadata__": {"a": {}}, "b": entry()}), "metadata that are no texts"),
    "half a character as metadata": (made(b'{"__metadata__": {"a": "\\udfff"}}', b""), "metadata that are no texts"),
    # What a tensor is
    "entry null": (made({"a": None}), "not described"),
    "entry list": (made({"a": []}), "not described"),
    "entry text": (made({"a": "U8"}), "not described"),
    "no dtype": (made({"a": {"shape": [4], "data_offsets": [0, 4]}}), "not described"),
    "no shape": (made({"a": {"dtype": "U8", "data_offsets": [0, 4]}}), "not described"),
    "no offsets": (made({"a": {"dtype": "U8", "shape": [4]}}), "not described"),
    "more keys": (made({"a": entry(stride=[1])}), "not described"),
    "dtype unknown": (made({"a": entry("U7")}), "element type 'U7'"),
    "dtype in small letters": (made({"a": entry("u8")}), "element type"),
    "dtype long": (made({"a": entry("F" * 100_000)}), "element type"),
    "dtype number": (made({"a": entry(8)}), "other things"),
    "dtype list": (made({"a": entry(["U8"])}), "other things"),
    "shape number": (made({"a": {"dtype": "U8", "shape": 4, "data_offsets": [0, 4]}}), "other things"),
    "shape null": (made({"a": {"dtype": "U8", "shape": None, "data_offsets": [0, 4]}}), "other things"),
    "shape of texts": (made({"a": entry(shape=["4"])}), "other things"),
    "shape of fractions": (made({"a": entry(shape=[4.0])}), "other things"),
    "shape of truth": (made({"a": entry(shape=[True, 4])}), "other things"),
    "shape negative": (made({"a": entry(shape=[-4])}), "no length"),
    "shape minus zero": (made(b'{"a": {"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', b""), "no length"),
    "shape huge": (made({"a": entry(shape=[1 << 63])}), "no memory"),
    "shape overflowing": (made({"a": entry(shape=[1 << 32, 1 << 32])}), "no memory"),
    "shape overflowing to 4": (made({"a": entry(shape=[1 << 62, 4, 1 << 62, 4])}), "no memory"),
    "shape huge and empty": (made({"a": entry(shape=[1 << 62, 1 << 62, 0], offsets=[0, 0])}, b""), "no memory"),
    "shape of 10,000 digits": (made(b'{"a": {"shape": [' + b"9" * 10_000 + b"]}}"), "no length"),
    "shape of 65 dimensions": (made({"a": entry(shape=[1] * 64 + [4])}), "65 dimensions"),
    "half a byte": (made({"a": entry("F4", [3], [0, 1])}, b"a"), "no whole bytes"),
    "three quarters of a byte": (made({"a": entry("F6_E2M3", [1], [0, 1])}, b"a"), "no whole bytes"),
    # Where it lies
    "offsets text": (made({"a": entry(offsets=["0", "4"])}), "other things"),
    "one offset": (made({"a": entry(offsets=[4])}), "other things"),
    "three offsets": (made({"a": entry(offsets=[0, 2, 4])}), "other things"),
    "offsets negative": (made({"a": entry(offsets=[-4, 0])}), "no length"),
    "offsets backwards": (made({"a": entry(offsets=[4, 0])}), "has 4 bytes by its shape"),
    "offsets shorter": (made({"a": entry(offsets=[0, 3])}, b"abc"), "has 4 bytes by its shape"),
    "offsets longer": (made({"a": entry(offsets=[0, 5])}, b"abcde"), "has 4 bytes by its shape"),
    "offsets of 300 digits": (made(b'{"a": {"data_offsets": [0, ' + b"4" * 300 + b"]}}"), "no length"),
    "offsets near 2^64": (made({"a": entry(offsets=[(1 << 64) - 5, (1 << 64) - 1])}), "after a hole"),
    "beyond the end": (made({"a": entry()}, b"abc"), "cut short"),
    "without data": (made({"a": entry()}, b""), "cut short"),
    "data behind": (made({"a": entry()}, b"abcde"), "cut short or damaged"),
    "data of nobody": (made({}), "cut short or damaged"),
    "hole at the start": (made({"a": entry(offsets=[1, 5])}, b"abcde"), "after a hole"),
    "hole between": (made({"a": entry(), "b": entry(offsets=[5, 9])}, b"abcdefghi"), "after a hole"),
    "overlapping": (made({"a": entry(), "b": entry(offsets=[2, 6])}, b"abcdef"), "overlaps"),
    "one above the other": (made({"a": entry(), "b": entry()}), "overlaps"),
    "one in the other": (
        made({"a": entry(shape=[8], offsets=[0, 8]), "b": entry(offsets=[2, 6])}, b"a" * 8),
        "overlaps",
    ),
    "empty one inside": (made({"a": entry(), "b": entry(shape=[0], offsets=[2, 2])}), "overlaps"),
}


@pytest.mark.parametrize(("data", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_head_is_refused_with_a_sentence(data, message):
    """No exception but ours, and a message that names the file, is of one line, and not too long to be read."""
    with pytest.raises(InvalidArgument, match=message) as refusal:
        parse_head(data, len(data), WHAT)
    assert WHAT in refusal.value.message
    assert len(refusal.value.message) < 1000
    assert refusal.value.message.isprintable()


def test_a_head_that_was_not_read_to_its_end_is_told_from_a_damaged_one():
    """Who reads a part of a large file hears how much of it the head takes."""
    data = made({"a": entry()})
    with pytest.raises(InvalidArgument, match="was read to byte 20 only"):
        parse_head(data[:20], len(data), WHAT)


SPECS = [
    TensorSpec(name=f"{dtype}.{number}", dtype=dtype, shape=shape)
    for dtype in ELEMENT_BITS
    for number, shape in enumerate([(8,), (), (0,), (3, 8, 5), (64, 64), (0, 7)])
    if shape or ELEMENT_BITS[dtype] >= 8  # less than a byte cannot lie alone
]


@pytest.mark.parametrize("unit", [None, 4096, 2 << 20])
def test_a_file_that_we_lay_out_is_read_by_others(unit):
    """Every type and shape: safetensors finds the same tensors with the same bytes, and what its reader maps is aligned."""
    head = make_head(SPECS, {"format": "pt", "ü": "é"}, unit=unit)
    data = bytes(number % 251 for number in range(head.length - head.data))
    file = head.raw + data
    assert len(file) == head.length
    assert unit is None or head.length % unit == 0
    found = dict(safetensors.deserialize(file))
    assert found.keys() == {spec.name for spec in SPECS} == head.tensors.keys()
    for name, placed in head.tensors.items():
        other = found[name]
        assert (other["dtype"], tuple(other["shape"])) == (placed.spec.dtype, placed.spec.shape)
        assert bytes(other["data"]) == file[placed.offset : placed.offset + placed.size]
        bits = ELEMENT_BITS[placed.spec.dtype]
        assert placed.offset % (ALIGNMENT if placed.size % ALIGNMENT == 0 else max(1, bits // 8)) == 0
    again = parse_head(file, len(file), WHAT)
    assert (again.tensors, again.metadata, again.data) == (head.tensors, head.metadata, head.data)


def test_the_order_of_the_tensors_does_not_matter():
    """The same tensors give the same file."""
    assert make_head(SPECS[:9]).raw == make_head(reversed(SPECS[:9])).raw


REFUSED = {
    "twice": ([TensorSpec(name="a", dtype="U8", shape=())] * 2, {}, "comes twice"),
    "reserved": ([TensorSpec(name="__metadata__", dtype="U8", shape=())], {}, "reserved"),
    "half a character": ([TensorSpec(name="\ud800", dtype="U8", shape=())], {}, "no UTF-8"),
    "metadata of half a character": ([], {"a": "\ud800"}, "no UTF-8"),
    "unknown type": ([TensorSpec(name="a", dtype="complex", shape=())], {}, "element type"),
    "negative": ([TensorSpec(name="a", dtype="U8", shape=(-1,))], {}, "negative dimension"),
    "half a byte": ([TensorSpec(name="a", dtype="F4", shape=())], {}, "no whole bytes"),
    "long names": ([TensorSpec(name="a" * 100_000_000, dtype="U8", shape=())], {}, "readers take at most"),
}


@pytest.mark.parametrize(("specs", "metadata", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_file_can_have_is_not_laid_out(specs, metadata, message):
    """A name, type or shape that readers of the format refuse."""
    with pytest.raises(InvalidArgument, match=message):
        make_head(specs, metadata)


def read(data):
    """Read a file: its head, or the sentence that refuses it."""
    try:
        return parse_head(data, len(data), WHAT)
    except InvalidArgument as error:
        return error.message


def closely(data):
    """Read a file without the short way for heads that are plainly right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header, "_plain_head", lambda *_: None)
        return read(data)


def check(data):
    """Read a file; what we accept safetensors accepts, with the same names, and a closer look finds the same."""
    head = read(data)
    assert head == closely(data)
    if isinstance(head, str):
        return
    assert head.tensors.keys() == dict(safetensors.deserialize(data)).keys()


VALID = made({"a": entry(), "b": entry("F32", [1], [4, 8]), "__metadata__": {"c": "d"}}, b"abcdefgh")


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data):
    """Fuzz: bytes of any kind."""
    check(data)


@given(st.binary(max_size=200), st.binary(max_size=8))
def test_no_text_of_a_head_makes_it_fail_otherwise(text, data):
    """Fuzz: the length is right, the text is anything."""
    check(made(text, data))


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255), st.integers(0, len(VALID)))
def test_no_damage_makes_it_fail_otherwise(place, value, length):
    """Fuzz: one byte of a good file is another one, and it may be cut."""
    check((VALID[:place] + bytes([value]) + VALID[place + 1 :])[:length])


WHOLE = st.integers(-(1 << 65), 1 << 65) | st.integers(0, 9)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats() | st.text(max_size=4) | st.sampled_from(sorted(ELEMENT_BITS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(sorted(ELEMENT_BITS)) | JSON,
        "shape": st.lists(WHOLE, max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(0, 9), min_size=2, max_size=2) | JSON,
    }
)


@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), ENTRY | JSON, max_size=3), st.binary(max_size=9))
@example({"": entry()}, b"abcd")
def test_no_description_makes_it_fail_otherwise(head, data):
    """Fuzz: descriptions of tensors of which each part may be anything."""
    check(made(head, data))


PLAIN = {
    "as we write it": {"a": entry(), "__metadata__": {"b": "c"}},
    "two": {"a": entry(offsets=(0, 2), shape=(2,)), "b": entry(offsets=(2, 4), shape=(2,))},
    "out of order": {"a": entry(offsets=(2, 4), shape=(2,)), "b": entry(offsets=(0, 2), shape=(2,))},
    "without bytes": {"a": entry(), "b": entry(offsets=(4, 4), shape=(0,))},
    "a scalar": {"a": entry("F32", ())},
    "letters of others": {"é": entry()},
    "half a character": {"\ud800": entry()},
    "nine dimensions": {"a": entry(shape=(1,) * 8 + (4,))},
    "a hole": {"a": entry(offsets=(0, 1), shape=(1,)), "b": entry(offsets=(2, 4), shape=(2,))},
    "two dimensions below 0": {"a": entry(shape=(-2, -2))},
    "a minus in front of 0": made(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[-0,4]}}'),
    "a number that ends in .0": made(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4.0]}}'),
    "a truth": made(b'{"a":{"dtype":"U8","shape":[true,4],"data_offsets":[false,4]}}'),
    "one key more": {"a": entry(more=1)},
    "half a byte": {"a": entry("F4", (9,))},
    "halves of bytes": {"a": entry("F4", (8,))},
    "metadata that are none": {"a": entry(), "__metadata__": None},
    "5000 digits": made(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,' + b"4" * 5000 + b"]}}"),
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_the_short_way_finds_what_a_closer_look_finds(text):
    """Whether it is taken or not; a refusal is the same sentence."""
    check(text if isinstance(text, bytes) else made(text))


@pytest.mark.parametrize("spaces", [0, 1, 8191, 8192, 8193, 16_384, 3 << 20])
def test_any_number_of_spaces_behind_the_head(spaces):
    """On reserved huge pages there are megabytes of them; they are not part of it."""
    specs = [TensorSpec(name="a b  ", dtype="U8", shape=(3,))]
    text = make_head(specs).raw[8:].rstrip(b" ") + b" " * spaces
    file = len(text).to_bytes(8, "little") + text + b"abc"
    for start in (file, memoryview(file)):
        head = parse_head(start, len(file), "it")
        assert head.data == len(file) - 3
        assert [(name, placed.offset) for name, placed in head.tensors.items()] == [("a b  ", head.data)]


def test_a_head_of_spaces_is_none():
    """However many there are."""
    file = (1 << 20).to_bytes(8, "little") + b" " * (1 << 20)
    with pytest.raises(InvalidArgument, match="its head is no JSON"):
        parse_head(file, len(file), "it")
