"""Views in the workers of DataLoaders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, arena_statistics, concat, mix
from alluxio_lance.errors import InvalidArgument

pytestmark = [
    pytest.mark.torch,
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ONE, TWO = range(9000), range(20_000, 21_000)


def rows(numbers) -> pa.Table:
    """Make rows whose every column tells their number."""
    numbers = np.asarray(numbers)
    wide = np.repeat(numbers.astype(np.float32)[:, None], 4, axis=1)
    return pa.table(
        {
            "i": pa.array(numbers),
            "text": [f"s{i}" for i in numbers],
            "x": pa.FixedShapeTensorArray.from_numpy_ndarray(wide),
        }
    )


@pytest.fixture(scope="module")
def uris(node):
    """Register two resources of the same columns."""
    parts = (("one", ONE), ("two", TWO))
    return tuple(node.register(f"views/workers/{name}", rows(numbers)).uri for name, numbers in parts)


@pytest.fixture
def one(node, uris):
    """Open the larger one."""
    with Dataset(uris[0], address=node.at) as dataset:
        yield dataset


@pytest.fixture
def two(node, uris):
    """Open the smaller one."""
    with Dataset(uris[1], address=node.at) as dataset:
        yield dataset


def test_workers_do_not_filter(one):
    """That would load gRPC there, in each of them."""
    for call in (lambda _: one.filter("true"), lambda _: one.split({"a": 1.0})):
        one.transform = call
        with pytest.raises(InvalidArgument, match="call it in the main process"):
            next(iter(DataLoader(one, num_workers=1, multiprocessing_context="fork")))


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_epochs_of_views(one, two, node, start_method):
    """Views of all kinds, in order and shuffled, with workers, which load neither Lance nor gRPC themselves."""
    script = Path(__file__).with_name("views_epochs.py")
    command = [sys.executable, "-P", "-W", "error", str(script), node.at, start_method]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    part = one.split({"train": 0.8, "val": 0.2}, key="i")["val"].tensor("i").tolist()
    mixed = mix([one, two], [1, 3], seed=4).tensor("i").tolist()
    want = [*range(0, 9000, 3), *range(0, 9000, 4), *part, *mixed]
    assert found["every"] == {"numbers": want, "modules": [], "right": True}
    if start_method == "fork":
        assert found["shuffled"]["numbers"] != want
        assert sorted(found["shuffled"].pop("numbers")) == sorted(want)
        assert found["shuffled"] == {"modules": [], "right": True}
        assert found["doubled"] == [2 * i for i in want]
        assert found["plus one"] == [i + 1 for i in want]


def test_a_batch_of_workers_lies_in_the_arena(uris, node):
    """Also one with rows of two datasets: its tensors come through one slot."""
    names = ["i", "x"]
    with Dataset(uris[0], names, address=node.at) as first, Dataset(uris[1], names, address=node.at) as second:
        before = arena_statistics().handed_over
        loader = DataLoader(
            concat([first, second]), batch_size=100, shuffle=True, num_workers=2, multiprocessing_context="fork"
        )
        assert sum(len(batch["i"]) for batch in loader) == len(ONE) + len(TWO)
        assert arena_statistics().handed_over - before == (len(ONE) + len(TWO)) // 100
