"""Filters: the rows that Lance finds against the same rows computed by pyarrow, and what is refused before Lance sees it."""

from __future__ import annotations

import json
import subprocess
import sys

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alluxio_lance.errors import Corrupt, InvalidArgument
from alluxio_lance.storage.filters import FUNCTIONS, LONGEST, MOST_STEPS, read_filter
from alluxio_lance.storage.reading import LanceTableReader

ROWS = 1000


def make_table() -> pa.Table:
    """Make rows with nulls, strings, a list, a struct, and names that need backticks."""
    number = np.arange(ROWS)
    return pa.table(
        {
            "id": number,
            "small": pa.array([None if i % 11 == 0 else i % 100 - 50 for i in number], pa.int8()),
            "text": pa.array([None if i % 7 == 0 else f"s{i % 5}" for i in number]),
            "real": pa.array(number / 3),
            "flag": pa.array([None if i % 13 == 0 else bool(i % 2) for i in number]),
            "day": pa.array((number % 60).astype("datetime64[D]")),
            "tags": pa.array([[f"t{j}" for j in range(i % 3)] for i in number]),
            "inner": pa.StructArray.from_arrays([pa.array(number % 10), pa.array(["x"] * ROWS)], ["a", "b"]),
            "Odd Name": number * 2,
        }
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Open a table of four files; rows were deleted in three of them, one of which has none left."""
    path = tmp_path_factory.mktemp("selection") / "t.lance"
    dataset = lance.write_dataset(make_table(), str(path), max_rows_per_file=250)
    dataset.delete("id % 10 = 3 AND id < 300")
    dataset.delete("id >= 500 AND id < 750")
    dataset.delete("id = 999")
    with LanceTableReader(lance.dataset(str(path)), "the table") as found:
        yield found


@pytest.fixture(scope="module")
def rows(reader) -> pa.Table:
    """Give the rows as a reader of the whole table gets them."""
    names = reader.schema.names
    return pa.Table.from_batches(reader.batches(names)).combine_chunks()


def matching(reader, filter: str) -> list[int]:
    """Find rows, all in one list."""
    parts = list(reader.matching(filter))
    assert all(part.dtype == np.uint64 for part in parts)
    return [int(row) for part in parts for row in part]


def where(mask) -> list[int]:
    """Return the places where a mask of pyarrow is true; null is not."""
    return np.flatnonzero(pc.fill_null(mask, fill_value=False).to_numpy(zero_copy_only=False)).tolist()


numbers = st.integers(-60, 1100)
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
COMPUTE = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@st.composite
def conditions(draw, depth=2):
    """Make an expression, and the function that computes it with pyarrow."""
    kinds = ["id", "small", "text", "real", "null", "in", "between", "odd"] + (["and", "or", "not"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind in ("and", "or"):
        (left, left_of), (right, right_of) = draw(conditions(depth=depth - 1)), draw(conditions(depth=depth - 1))
        join = pc.and_kleene if kind == "and" else pc.or_kleene
        return f"({left}) {kind.upper()} ({right})", lambda t: join(left_of(t), right_of(t))
    if kind == "not":
        text, of = draw(conditions(depth=depth - 1))
        return f"NOT ({text})", lambda t: pc.invert(of(t))
    sign = draw(comparisons)
    if kind == "text":
        value = f"s{draw(st.integers(0, 6))}"
        return f"text {sign} '{value}'", lambda t: COMPUTE[sign](t["text"], value)
    if kind == "null":
        name = draw(st.sampled_from(["text", "small", "flag", "id"]))
        return f"{name} IS NULL", lambda t: pc.is_null(t[name])
    if kind == "in":
        values = draw(st.lists(numbers, min_size=1, max_size=5))
        listed = ", ".join(map(str, values))
        return f"id IN ({listed})", lambda t: pc.is_in(t["id"], pa.array(values, pa.int64()))
    if kind == "between":
        low, high = sorted((draw(numbers), draw(numbers)))
        return f"id BETWEEN {low} AND {high}", lambda t: pc.and_(
            pc.greater_equal(t["id"], low), pc.less_equal(t["id"], high)
        )
    name = {"odd": "Odd Name"}.get(kind, kind)
    value = draw(st.integers(-100, 100)) if kind == "small" else draw(numbers)
    column = f"`{name}`" if kind == "odd" else name
    return f"{column} {sign} {value}", lambda t: COMPUTE[sign](t[name], value)


@settings(max_examples=80)
@given(condition=conditions())
def test_the_rows_are_those_that_pyarrow_computes(reader, rows, condition):
    """With deleted rows, files without any, nulls and strings; row numbers are places in the whole scan."""
    text, of = condition
    assert matching(reader, text) == where(of(rows))


@pytest.mark.parametrize(
    ("filter", "of"),
    [
        ("true", lambda t: pc.is_valid(t["id"])),
        ("id < 0", lambda t: pc.less(t["id"], 0)),
        ("flag", lambda t: t["flag"]),
        ("NOT flag", lambda t: pc.invert(t["flag"])),
        ("text LIKE 's1%'", lambda t: pc.starts_with(t["text"], "s1")),
        ("text = 'it''s; -- not'", lambda t: pc.equal(t["text"], "it's; -- not")),
        ("regexp_like(text, '[13]$')", lambda t: pc.is_in(t["text"], pa.array(["s1", "s3"]))),
        ("upper(text) = 'S2'", lambda t: pc.equal(t["text"], "s2")),
        ("coalesce(text, 'none') = 'none'", lambda t: pc.is_null(t["text"])),
        ("day >= date '1970-01-31'", lambda t: pc.greater_equal(pc.cast(t["day"], pa.int32()), 30)),
        ("array_has(tags, 't1')", lambda t: pc.equal(pc.list_value_length(t["tags"]), 2)),
        ("inner.a = 3", lambda t: pc.equal(pc.struct_field(t["inner"], "a"), 3)),
        ("cast(id as string) = '42'", lambda t: pc.equal(t["id"], 42)),
        ("id % 3 = 0 AND -id > -10.5e0", lambda t: pc.is_in(t["id"], pa.array([0, 6, 9]))),
        ("cast(id as decimal(38, 2)) = -1 + 6", lambda t: pc.equal(t["id"], 5)),
        ("ID = 5", lambda t: pc.equal(t["id"], 5)),
    ],
)
def test_what_the_language_has(reader, rows, filter, of):
    """Each form of an expression that the documentation names."""
    assert matching(reader, filter) == where(of(rows))


def test_a_table_without_rows(tmp_path):
    """Nothing matches, and a wrong expression is refused all the same."""
    schema = pa.schema([("id", pa.int64())])
    dataset = lance.write_dataset(pa.table({"id": pa.array([], pa.int64())}), str(tmp_path / "e.lance"), schema=schema)
    with LanceTableReader(dataset, "the table") as reader:
        assert matching(reader, "id = 1") == []
        with pytest.raises(InvalidArgument, match="nope"):
            matching(reader, "nope = 1")


def test_not_a_number(tmp_path):
    """It is larger than every number and equals itself; null is neither."""
    table = pa.table({"f": pa.array([1.0, float("nan"), None, -1.0])})
    with LanceTableReader(lance.write_dataset(table, str(tmp_path / "f.lance")), "the table") as reader:
        assert matching(reader, "f > 0.5") == [0, 1]
        assert matching(reader, "f = f") == [0, 1, 3]
        assert matching(reader, "isnan(f)") == [1]


@pytest.mark.parametrize(
    ("filter", "reason"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("id =", "cannot be evaluated.*its columns are id"),
        ("nope = 1", "asks for nope, which is no column; its columns are id, small"),
        ("inner.nope = 1", "nope"),
        ("id", "does not return a boolean"),
        ("id = 'x'", "could not convert"),
        ("id / 0 = 1", "[Dd]ivide by zero"),
        ("cast(text as int) = 1", "Cannot cast string"),
        ("id IN (SELECT 1)", "SELECT, which is no column"),
        ("id = 1; DROP TABLE t", "no filter needs.*character 7"),
        ("id = 1 -- and more", "no filter needs"),
        ("id = 1 /* and more */", "no filter needs"),
        ('"id" = 1', "double quote.*backticks"),
        ("text = 's1", "does not end"),
        ("id = 0x10", "a number that is none"),
        ("id = 1.2.3", "a number that is none"),
        ("cast(id as decimal(39, 2)) = 1", "impossible decimal.*at most 38"),
        ("cast(id as decimal (000000000000099,2)) = 1", "impossible decimal"),
        ("cast(id as Decimal(5, -2)) = 1", "impossible decimal.*at least 0"),
        ("text LIKE 's1%' ESCAPE '%'", "escape_char"),
        ("random() < 0.5", "calls random; it may call abs"),
        ("repeat(text, 100000000) = 'x'", "calls repeat"),
        ("read_text ('/etc/passwd') = ''", "calls read_text"),
        ("sum(id) > 1", "calls sum"),
        ("text || text = 'x'", "no filter needs"),
        ("_rowid = 1", "_rowid, which is no column"),
        ("_rowoffset = 1", "no column"),
        ("_ROWADDR = 1", "no column"),
        ("`_rowid` = 1", "no column"),
        ("`repeat`(text, 100000000) = 'x'", "calls `repeat`"),
        ("current_timestamp > timestamp '2020-01-01'", "current_timestamp, which is no column"),
        ("current_date > date '2020-01-01'", "no column"),
        ("day > now", "no column"),
        ("id = @@version", "no filter needs"),
        ("+".join(["1"] * (MOST_STEPS + 1)) + " = id", f"may have {MOST_STEPS}"),
        ("(" * (MOST_STEPS + 1) + "id = 1" + ")" * (MOST_STEPS + 1), f"may have {MOST_STEPS}"),
        ("id = " + "1" * LONGEST, f"may have {LONGEST}"),
    ],
)
def test_bad_expressions_are_refused_with_the_reason(reader, filter, reason):
    """As an argument that can be corrected, never as a fault of the table."""
    with pytest.raises(InvalidArgument, match=reason):
        matching(reader, filter)


def test_a_quoted_name_counts_with_its_case(reader):
    """The sentence names the column that is meant, and gives no advice that is refused here."""
    with pytest.raises(InvalidArgument, match="Did you mean 'Odd Name'") as caught:
        matching(reader, "`odd name` > 1")
    assert "double quotes" not in caught.value.message


def test_a_hidden_name_that_is_a_column_may_be_asked_for():
    """A table may have a column of such a name; elsewhere it is Lance's own."""
    assert read_filter("_rowid = 1", ["_rowid"]).columns == ("_rowid",)
    with pytest.raises(InvalidArgument):
        read_filter("_rowid = 1", ["id"])


def test_the_columns_of_an_expression():
    """Names count in any case, in backticks too; text and functions do not."""
    found = read_filter("`Odd Name` > 1 AND upper(TEXT) = 'small'", ["id", "small", "text", "Odd Name"])
    assert found.columns == ("text", "Odd Name")


LARGEST = {
    "sums": "id = " + " + ".join(["1"] * (MOST_STEPS - 1)),
    "alternatives": " OR ".join(["flag"] * MOST_STEPS),
    "negations": "NOT " * (MOST_STEPS - 1) + "flag",
    "calls": "abs(" * 40 + "id" + ")" * 40 + " = 1",
    "keys": "id IN (" + ",".join(map(str, range(10_000))) + ")",
    "repetitions": "regexp_like(text, '((a{99}){99}){99}')",
    "pattern": "text LIKE '" + "%a" * 10_000 + "'",
    "digits": "id = " + "1" * 60_000 + "x",
    "fractions": "id = " + "1" * 30_000 + "." + "1" * 30_000 + ".",
}


def test_the_largest_expressions_end_no_process(tmp_path):
    """In a process of its own: it answers or refuses each, and does not run out of stack, memory or time."""
    code = (
        "import json, sys, lance, pyarrow as pa\n"
        "from alluxio_lance.errors import InvalidArgument\n"
        "from alluxio_lance.storage.reading import LanceTableReader\n"
        "table = pa.table({'id': [1, 2], 'text': ['a', 'b'], 'flag': [True, False]})\n"
        "with LanceTableReader(lance.write_dataset(table, sys.argv[1]), 'the table') as reader:\n"
        "    for name, filter in json.load(sys.stdin).items():\n"
        "        try:\n"
        "            list(reader.matching(filter))\n"
        "        except InvalidArgument:\n"
        "            pass\n"
        "        print(name, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "t.lance")]
    done = subprocess.run(command, input=json.dumps(LARGEST), text=True, capture_output=True, check=False, timeout=100)
    assert done.stdout.split() == list(LARGEST), done.stderr[-500:]


def test_every_function_of_the_list_is_known_to_lance(reader):
    """A name on the list that Lance does not know would only be a worse message."""
    unknown = []
    for name in sorted(FUNCTIONS - {"cast"}):
        try:
            matching(reader, f"{name}() = 1")
        except InvalidArgument as error:
            if "Invalid function" in error.message or "not supported SQL" in error.message:
                unknown.append(name)
    assert unknown == []


def test_a_missing_file_is_not_the_fault_of_the_filter(tmp_path):
    """It is reported as what it is."""
    path = tmp_path / "t.lance"
    lance.write_dataset(pa.table({"id": [1, 2]}), str(path))
    with LanceTableReader(lance.dataset(str(path)), "the table") as reader:
        for file in (path / "data").iterdir():
            file.unlink()
        with pytest.raises(Corrupt):
            matching(reader, "id = 1")
