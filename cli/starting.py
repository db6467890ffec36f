"""The command up: the whole system in one process, until somebody ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from rich.console import Console
from rich.text import Text
from typer import Context, Option

from alluxio_lance import __version__
from alluxio_lance.address import Address, default_run_folder
from alluxio_lance.cli.human import duration, size
from alluxio_lance.cli.look import print_facts
from alluxio_lance.cli.session import session_of
from alluxio_lance.errors import Unavailable

if TYPE_CHECKING:
    from alluxio_lance.sidecar.server import Sidecar

__all__ = ["READY", "up"]

READY: Final = "ready"
"""The first word of the line that says so; scripts may wait for it."""


def up(
    context: Context,
    root: Annotated[
        Path | None,
        Option("--root", help="Catalog and tables. By default ~/.local/share/alluxio-lance.", show_default=False),
    ] = None,
    run_dir: Annotated[
        Path | None, Option("--run-dir", help="Sockets. By default this user's run folder.", show_default=False)
    ] = None,
    catalog: Annotated[
        str | None, Option("--catalog", metavar="URL", help="By default SQLite in the root.", show_default=False)
    ] = None,
    store: Annotated[
        str | None,
        Option(
            "--store",
            metavar="URI",
            help="Where the tables are: the uri that `alluxio up` prints, with a folder in it. By default in the root.",
            show_default=False,
        ),
    ] = None,
    cold: Annotated[
        str | None,
        Option(
            "--cold",
            metavar="PLACE",
            help="For archived versions: a folder, or s3://BUCKET/PREFIX. By default in the root.",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[
        str | None,
        Option(
            "--listen",
            metavar="HOST:PORT",
            help="Also for callers over the network, who need a token. By default none.",
            show_default=False,
        ),
    ] = None,
    memory_budget: Annotated[
        str | None,
        Option(
            "--memory-budget", metavar="SIZE", help="For hot versions: 4GiB, or 60% of the memory.", show_default=False
        ),
    ] = None,
    disk_dir: Annotated[
        Path | None,
        Option("--disk-dir", help="Where this node keeps what was hot, beyond a restart.", show_default=False),
    ] = None,
    disk_budget: Annotated[
        str | None,
        Option(
            "--disk-budget",
            metavar="SIZE",
            help="What that may take: 100GiB, 20% of what is free; 0 for nothing. By default 10% with tables in Alluxio.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the whole system in one process: catalog, storage, shared memory. Ctrl-C ends it."""
    session = session_of(context)
    given = {"root": root, "run_dir": run_dir, "catalog": catalog, "store": store, "cold": cold, "listen": listen}
    given |= {"memory_budget": memory_budget, "disk_dir": disk_dir, "disk_budget": disk_budget}
    started = time.monotonic()
    with (
        _end_asked_for() as ended,
        _start({name: value for name, value in given.items() if value is not None}) as sidecar,
    ):
        _greet(session.out, sidecar, time.monotonic() - started)
        ended.wait()
        session.out.print("stopping: calls under way may end, readers keep what they have mapped", style="yellow")
    session.out.print("stopped")


def _start(given: dict[str, Any]) -> Sidecar:
    try:
        import structlog  # noqa: PLC0415 - the base install has no server side

        from alluxio_lance.sidecar.server import Sidecar  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.sidecar.settings import Settings  # noqa: PLC0415 - the base install has no server side
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"`up` needs {error.name}: pip install 'alluxio-lance[server]'", what="alluxio-lance[server]"
        ) from error
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))
    return Sidecar(Settings(**given))


@contextmanager
def _end_asked_for() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event; a second one ends the process the hard way."""
    ended = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def ask(_number: int, _frame: object) -> None:
        ended.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, ask)
    try:
        yield ended
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _greet(out: Console, sidecar: Sidecar, seconds: float) -> None:
    settings, address = sidecar.settings, sidecar.address
    statistics = sidecar.residency.statistics()
    kept = statistics.disk.budget_bytes
    places = [address.grpc, *([str(sidecar.remote_address)] if sidecar.remote_address else [])]
    out.print(Text.assemble(("alluxio-lance", "bold"), f" {__version__} on {settings.node}, process {os.getpid()}"))
    print_facts(
        out,
        [
            ("root", str(settings.root)),
            ("catalog", _without_password(settings.catalog_url)),
            *([("tables", settings.store)] if settings.store else []),
            ("memory", f"{size(statistics.budget_bytes)} for hot versions"),
            *([("disk", f"{size(kept)} for them too, in {settings.disk_folder}")] if kept else []),
            ("listens", ", ".join(places)),
            ("next", Text(f"{_command(address)} register datasets/NAME DATA", style="cyan")),
        ],
    )
    if sidecar.silence:
        out.print(Text.assemble(("  tables cannot be reached now", "bold yellow"), f": {sidecar.silence}"))
        out.print(
            Text("  what is on this node's disk is served; see `alluxio-lance doctor --store URI`", style="yellow")
        )
    out.print(Text.assemble((READY, "bold green"), f" after {duration(seconds)}; Ctrl-C ends it"))
    out.file.flush()


def _command(address: Address) -> str:
    """Return how others call this sidecar: plainly, where they look for it anyway."""
    here = "ALLUXIO_LANCE_ADDRESS" not in os.environ and address.run_folder == default_run_folder()
    return "alluxio-lance" if here else f"alluxio-lance --address {address.grpc}"


def _without_password(url: str) -> str:
    from sqlalchemy import make_url  # noqa: PLC0415 - the base install has no server side

    return make_url(url).render_as_string(hide_password=True)
