"""A version that is larger than a sidecar's budget, with a column of every kind, and what its orders should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tests.conftest import Node, _running
from tests.frameworks.conftest import make_every_kind

from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.streamed import StreamedVersion

ROWS = 20_500
UNIT = 4096
"""Rows of 2 KiB: units of 8 MiB, of which the sixth is short."""
KINDS = 9000
"""Rows after which most columns begin again."""
URI = "alluxio://datasets/large"
SMALL = ("--memory-budget", "20MiB", "--disk-budget", "0")
"""Room for two units of all columns."""


def large(rows: int = ROWS) -> pa.Table:
    """Make a table of about 45 MiB: ``f64`` is the number of a row, ``wide`` too, other columns repeat themselves."""
    number = np.arange(rows)
    table = make_every_kind(KINDS).take(number % KINDS)
    table = table.set_column(table.column_names.index("f64"), "f64", pa.array(number.astype(np.float64)))
    wide = np.repeat(number.astype(np.float32), 512)
    return table.append_column("wide", pa.FixedSizeListArray.from_arrays(pa.array(wide), 512))


@contextmanager
def small_node() -> Iterator[Node]:
    """Start a sidecar whose budget is less than half of the version."""
    with _running(*SMALL) as node:
        node.register("large", large())
        yield node


def numbers(dataset: Any) -> list[int]:
    """Read an epoch of batches; each row of the wide column must be the one that its number says."""
    found: list[int] = []
    for batch in dataset:
        assert (batch["wide"].numpy() == batch["f64"].numpy()[:, None]).all()
        found += batch["f64"].numpy().astype(int).tolist()
    return found


def keys(seed: int | None, epochs: int) -> list[int]:
    """Draw the keys of the first epochs, as the documentation says."""
    drawn = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(2)
    pairs = [[int(number) for number in drawn] for _ in range(epochs)]
    return [(high % (1 << 31) << 32) + low for high, low in pairs]


def planned(node: Node, key: int, window_units: int = 1, uri: str = URI, *, shuffle: bool = True) -> list[int]:
    """Compute an order."""
    with StreamedVersion.open(uri, address=node.at) as stream:
        plan = EpochPlan(
            stream.layout.content_hash, stream.rows, stream.unit_rows, window_units, shuffle, seed=0, epoch=key
        )
    return [int(row) for window in plan.windows for row in plan.row_numbers(window, plan.order(window))]
