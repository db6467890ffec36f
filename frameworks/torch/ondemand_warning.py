"""What is said once to those whose map-style dataset does not fit into memory."""

from __future__ import annotations

from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.table import Table
from alluxio_lance.errors import NoSpace

__all__ = ["on_demand"]


def on_demand(opened: Table | OnDemand, shortage: NoSpace) -> str:
    """Say how much too large the data are, what reading them on demand costs, and what to use instead.

    Parameters
    ----------
    shortage
        What the sidecar said when all was to be in memory.
    """
    need, budget = (int(shortage.details.get(name, 0)) for name in ("need", "budget"))
    rows = opened.layout.shard_rows
    unit = f"{rows} rows"
    if need:
        unit += f", {need * rows / opened.layout.num_rows / (1 << 20):.2g} MiB"
    return (
        f"{opened.layout.uri} {_too_large(need, budget)}, so its rows are loaded when they are asked for: each one that is not "
        f"hot brings the unit around it ({unit}). Reading in order is fine; at random nearly every row may load a unit - "
        "shuffle with alluxio.torch.IterableDataset, open fewer columns (columns=[…]), or raise "
        "ALLUXIO_LANCE_MEMORY_BUDGET. stream=True says that it is meant so, stream=False refuses it"
    )


def _too_large(need: int, budget: int) -> str:
    if need > budget > 0:
        return f"is {need / budget:.3g} times as large as the memory budget of its sidecar"
    return "finds no room in the memory of its sidecar now"
