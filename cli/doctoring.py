"""The command doctor: what this machine has, what it lacks, and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from rich.table import Table
from rich.text import Text
from typer import Context, Exit, Option

from alluxio_lance.cli.doctor.alluxio import alluxio
from alluxio_lance.cli.doctor.check import Check, Status
from alluxio_lance.cli.doctor.kernel import kernel
from alluxio_lance.cli.doctor.memory import budget
from alluxio_lance.cli.doctor.pages import pages
from alluxio_lance.cli.doctor.places import places
from alluxio_lance.cli.doctor.service import service
from alluxio_lance.cli.doctor.software import software
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.session import session_of

__all__ = ["doctor"]

_MARKS: Final = {
    Status.OK: ("ok", "green"),
    Status.WARN: ("warn", "yellow"),
    Status.FAIL: ("fail", "bold red"),
}


def doctor(
    context: Context,
    root: Annotated[
        Path | None, Option("--root", help="The root folder that `up` would use.", show_default=False)
    ] = None,
    store: Annotated[
        str | None,
        Option("--store", metavar="URI", help="The tables' place that `up` would use.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and say how to mend what it lacks; exit code 1 when something fails."""
    session = session_of(context)
    checks = [*software(), *kernel(), pages(), budget(), *places(root), *alluxio(root, store), service(session.address)]
    if as_json:
        session.print_json({"checks": [asdict(check) for check in checks], "ok": not _failed(checks)})
    else:
        session.out.print(_view(checks))
        session.out.print(_verdict(checks))
    if _failed(checks):
        raise Exit(1)


def _failed(checks: Sequence[Check]) -> bool:
    return any(check.status is Status.FAIL for check in checks)


def _view(checks: Sequence[Check]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        mark, style = _MARKS[check.status]
        grid.add_row(Text(mark, style=style), Text(check.name, style="bold"), Text(check.found))
        if check.remedy:
            grid.add_row("", "", Text(f"→ {check.remedy}", style="cyan"))
    return grid


def _verdict(checks: Sequence[Check]) -> Text:
    bad = sum(check.status is Status.FAIL for check in checks)
    weak = sum(check.status is Status.WARN for check in checks)
    if bad:
        return Text(f"\n{bad} of {len(checks)} checks failed: follow the arrows", style="bold red")
    if weak:
        return Text(f"\nready, with {weak} thing{'s' if weak > 1 else ''} to improve", style="yellow")
    return Text("\nready", style="bold green")
