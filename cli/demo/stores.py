"""Where the tables of a demo lie: a folder, an Alluxio that is there, or one that runs for as long as the demo."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from alluxio_lance.files.address import AlluxioAddress

__all__ = ["OWN", "demo_store"]

OWN: Final = "alluxio"
"""The word for one of the demo's own."""


@contextmanager
def demo_store(wanted: str, folder: Path, console: Console) -> Iterator[str]:
    """Give what `up --store` takes; empty for a folder.

    Parameters
    ----------
    wanted
        Empty, ``alluxio``, or the address of a folder in an Alluxio, below which the demo makes one of its own.
    folder
        The demo's own folder.

    Raises
    ------
    InvalidArgument
        When it is no address.
    Unavailable
        When the Alluxio cannot be started: no Java, for one.
    """
    if not wanted:
        yield ""
    elif wanted != OWN:
        yield from _within(wanted)
    else:
        yield from _own(folder / "alluxio", console)


def _within(wanted: str) -> Iterator[str]:
    from alluxio_lance.files.namespace import Namespace  # noqa: PLC0415 - the base install has no REST client

    where = AlluxioAddress.parse(wanted)
    name = f"demo-{uuid.uuid4().hex[:8]}"
    path, mark, query = wanted.partition("?")
    try:
        yield f"{path.rstrip('/')}/{name}{mark}{query}"
    finally:
        with Namespace(where.host, where.proxy) as namespace:
            namespace.remove(f"{where.folder}/{name}")


def _own(folder: Path, console: Console) -> Iterator[str]:
    from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports  # noqa: PLC0415 - the base install has no servers

    plan = ClusterPlan(folder=folder, ports=Ports.free(), heap_bytes=256 << 20, small=True)
    with console.status("alluxio …") as shown:
        cluster = Cluster.start(plan, lambda step: shown.update(f"alluxio: {step} …"))
    try:
        console.print(Text(f"a real Alluxio serves at {cluster.uri}", style="dim"), soft_wrap=True)
        yield cluster.uri.replace("/?", "/demo/tables?")
    finally:
        cluster.stop()
