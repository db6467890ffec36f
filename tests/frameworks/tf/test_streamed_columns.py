"""What a streamed tf.data.Dataset makes of nulls, pictures, failures and versions without rows."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tests.conftest import Node, _running

from alluxio_lance.errors import InvalidArgument

tf = pytest.importorskip("tensorflow")

pytestmark = [pytest.mark.tf, pytest.mark.timeout(300)]

WIDTH = 16384
UNIT = 512
"""Rows of 16 KiB: units of 8 MiB."""
ROWS = 1300
PICTURES = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), dtype=np.uint8)
BUDGET = ("--memory-budget", "20MiB", "--disk-budget", "0")


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar with room for two units."""
    with _running(*BUDGET) as node:
        yield node


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """An error that a test expects keeps the iterator that raised it, and so a window, until it is collected."""
    yield
    gc.collect()


def opened(node: Node, name: str, **options: Any) -> Any:
    """Stream a version by its name."""
    from alluxio.tf import Dataset

    return Dataset(f"alluxio://datasets/{name}", address=node.at, **{"stream": True, "batch_size": 100, **options})


def registered(node: Node, name: str, columns: dict[str, Any]) -> None:
    """Register columns beside one that makes units of 512 rows."""
    wide = pa.array(np.zeros(ROWS * WIDTH, np.uint8))
    node.register(name, pa.table({**columns, "wide": pa.FixedSizeListArray.from_arrays(wide, WIDTH)}))


def photos(wrong: int | None = None) -> pa.Array:
    """Write pictures that repeat themselves; one may be none."""
    files = []
    for pixels in PICTURES:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return pa.array([b"no picture" if row == wrong else files[row % 7] for row in range(ROWS)], pa.binary())


def with_holes(holes: list[int]) -> dict[str, pa.Array]:
    """Make columns of numbers whose rows in ``holes`` are null."""
    number = np.arange(ROWS)
    mask = np.isin(number, holes)
    return {
        "i": pa.array(number, mask=mask),
        "f": pa.array(number.astype(np.float64), mask=mask),
        "when": pa.array(number.astype("datetime64[us]"), mask=mask),
        "text": pa.array([str(row) for row in range(ROWS)], mask=mask),
        "list": pa.array([None if row in holes else [row] * (row % 3) for row in range(ROWS)], pa.list_(pa.int64())),
    }


@pytest.fixture(scope="module")
def holes(small) -> str:
    """Register a version whose only null row is in its second unit."""
    registered(small, "holes", with_holes([700]))
    return "holes"


def test_nulls_that_nothing_stands_in_for(small, holes):
    """They are said when their window comes, with the column and what to give; floats and moments need nothing."""
    batches = iter(opened(small, holes, columns=["i", "wide"], window_units=1))
    assert [int(next(batches)["i"][0]) for _ in range(4)] == [0, 100, 200, 300]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"column 'i' .* has nulls.*fill_null="):
        list(batches)
    rows = [
        row
        for batch in opened(small, holes, columns=["f", "when", "wide"])
        for row in zip(batch["f"], batch["when"], strict=True)
    ]
    assert np.isnan(rows[700][0])
    assert rows[700][1] == np.iinfo(np.int64).min
    assert [float(row[0]) for row in rows[:700]] == list(range(700))


def test_nulls_are_filled(small, holes):
    """With the values that stand in for them, in windows with nulls and in those without."""
    fill = {"i": -1, "f": -2.0, "when": 5, "text": "none", "list": [9, 9]}
    (batch,) = opened(small, holes, batch_size=ROWS, fill_null=fill, window_units=1)
    expected = [-1 if row == 700 else row for row in range(ROWS)]
    assert batch["i"].numpy().tolist() == expected
    assert batch["f"].numpy().tolist() == [-2 if row < 0 else row for row in expected]
    assert batch["when"].numpy().tolist() == [5 if row < 0 else row for row in expected]
    assert batch["text"].numpy().tolist() == [b"none" if row < 0 else b"%d" % row for row in expected]
    assert batch["list"].to_list() == [[9, 9] if row < 0 else [row] * (row % 3) for row in expected]


def test_types_without_a_tensor(small):
    """A column that TensorFlow cannot hold is named at once; lists with null items when their window comes."""
    lists = [[row, None] if row == 600 else [row] for row in range(ROWS)]
    registered(small, "struct", {"s": [{"x": row} for row in range(ROWS)], "list": pa.array(lists)})
    with pytest.raises(InvalidArgument, match=r"column 's' .* struct<x: int64>.* columns="):
        opened(small, "struct")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"column 'list' .* list<.*columns="):
        list(opened(small, "struct", columns=["list", "wide"], window_units=1))


@pytest.mark.parametrize("shuffle", [False, True])
def test_pictures(small, shuffle):
    """They are decoded from the windows' memory and put into batches across their borders."""
    name = f"photos{shuffle}"
    registered(small, name, {"photo": photos(), "number": np.arange(ROWS)})
    dataset = opened(small, name, decode="image", columns=["photo", "number", "wide"], shuffle=shuffle, window_units=1)
    assert dataset.cardinality() == 13
    seen: list[int] = []
    for batch in dataset:
        numbers = batch["number"].numpy()
        assert (batch["photo"].numpy() == PICTURES[numbers % 7]).all()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(ROWS))
    assert (seen != sorted(seen)) is shuffle


def test_what_is_no_picture_is_said_with_its_row_of_the_version(small):
    """Whatever its place in the window is."""
    registered(small, "torn", {"photo": photos(wrong=900)})
    dataset = opened(small, "torn", batch_size=None, decode="image", shuffle=True, seed=1, window_units=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[row\] \[900\] \[of column .*photo.* no whole"):
        list(dataset.map(lambda row: row["photo"]))


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_rows(small, shuffle):
    """A version without rows is an empty dataset."""
    schema = pa.schema([("a", pa.int32()), ("s", pa.string()), ("l", pa.list_(pa.float32()))])
    small.register(f"empty{shuffle}", schema.empty_table())
    dataset = opened(small, f"empty{shuffle}", shuffle=shuffle)
    assert list(dataset) == []
    assert dataset.cardinality() == 0


def test_a_sidecar_that_ends(make_node):
    """What is held is read to its end; the next window says what has happened, and a new dataset works again."""
    node = make_node(*BUDGET)
    registered(node, "x", {"i": np.arange(ROWS)})
    dataset = opened(node, "x", window_units=1)
    batches = iter(dataset)
    found = [int(next(batches)["i"][0])]
    node.kill()
    with pytest.raises(tf.errors.UnknownError, match="Unavailable: "):
        found.extend(int(batch["i"][0]) for batch in batches)
    assert found == [0, 100, 200, 300, 400]
    node.start()
    assert len(list(opened(node, "x"))) == 13


def test_one_operation_is_in_python(small, holes):
    """The graph has one, which takes windows; nothing else calls back."""
    dataset = opened(small, holes, columns=["f", "wide"], shuffle=True)
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert [node.op for node in nodes if "PyFunc" in node.op or "Generator" in node.op] == ["EagerPyFunc"]


_SCRIPT = """
import sys, threading
from alluxio.tf import Dataset
from alluxio_lance.frameworks.tf.streamed_windows import Windows

dataset = Dataset("alluxio://datasets/x", 16, columns=["f", "wide"], stream=True, window_units=1, address=sys.argv[1])
iterators = [iter(dataset) for _ in range(3)]
next(iterators[0]), next(iterators[1])
asked, window = threading.Event(), Windows.window

def noted(self, key, number):
    asked.set()
    return window(self, key, number)

Windows.window = noted
threading.Thread(target=next, args=iterators[2:], daemon=True).start()
assert asked.wait(100)
"""


def test_a_process_may_end_in_the_middle(make_node):
    """With iterators that hold windows, and one that waits for memory which nobody will free."""
    node = make_node(*BUDGET)
    registered(node, "x", with_holes([]))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, node.at], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
