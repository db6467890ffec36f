"""The commands about the shared memory of this node, and about the cache below it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from rich.text import Text
from typer import Context, Option, Typer

from alluxio_lance.cli.cache_records import cache_record
from alluxio_lance.cli.cache_view import cache_view
from alluxio_lance.cli.human import count, duration, size
from alluxio_lance.cli.options import Json, NoWait, Selected
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import target
from alluxio_lance.cli.warming import explain, free, load
from alluxio_lance.values import Progress

__all__ = ["cache"]

cache = Typer(help="See and steer the shared memory of this node, and Alluxio's cache below it.", no_args_is_help=False)
cache.command()(load)
cache.command()(free)
cache.command()(explain)


@cache.command()
def status(context: Context, as_json: Json = False) -> None:
    """Show the budget, what is hot, by which way it came, and who reads it."""
    session = session_of(context)
    with session.cache() as node:
        statistics = node.statistics()
    if as_json:
        session.print_json(cache_record(statistics))
    else:
        session.out.print(cache_view(statistics, datetime.now(UTC)))


@cache.command()
def prefetch(
    context: Context,
    resource: Selected,
    columns: Annotated[
        list[str] | None, Option("--column", metavar="COLUMN", help="Only this column; repeat it.", show_default=False)
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Make a version hot and wait until it is."""
    session, uri = session_of(context), str(target(resource))
    started = time.monotonic()
    last = Progress(step="load")
    with session.cache() as node, progress_bar(session.err, silent=as_json) as on_progress:
        for last in node.prefetch(uri, columns or (), wait=not no_wait):
            if on_progress is not None:
                on_progress(last)
    seconds = time.monotonic() - started
    if as_json:
        session.print_json({"uri": uri, "rows": last.rows, "bytes": last.bytes, "seconds": seconds})
        return
    loaded = f", {size(last.bytes)}" if last.bytes else ""
    text = f" is hot: {count(last.rows)} rows{loaded} in {duration(seconds)}"
    session.out.print(Text.assemble((uri, "bold"), text), soft_wrap=True)


@cache.command()
def evict(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Drop a version from shared memory; refused while somebody reads it.

    Of a version that is read window by window, what nobody holds is dropped.
    """
    session, uri = session_of(context), str(target(resource))
    with session.cache() as node:
        freed = node.evict(uri)
    if as_json:
        session.print_json({"uri": uri, "freed_bytes": freed})
    else:
        session.out.print(
            Text.assemble((uri, "bold"), f" is no longer hot: {size(freed)} are free again"), soft_wrap=True
        )
