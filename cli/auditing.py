"""The commands about the audit trail: audit verify, export."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.text import Text
from typer import Context, Exit, Option, Typer

from alluxio_lance.cli.human import count
from alluxio_lance.cli.look import facts
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.embedded import catalog_url
from alluxio_lance.errors import InvalidArgument

if TYPE_CHECKING:
    from alluxio_lance.catalog import DatabaseCatalog

__all__ = ["audit"]

audit = Typer(help="Check and export the audit trail.", no_args_is_help=False)

CatalogUrl = Annotated[
    str | None,
    Option("--catalog", metavar="URL", help="The database, such as postgresql://user@host/db.", show_default=False),
]


def _opened(session: Session, url: str | None) -> DatabaseCatalog:
    from alluxio_lance.catalog import DatabaseCatalog  # noqa: PLC0415 - the base install has no database

    if url is not None and session.embedded is not None:
        raise InvalidArgument("--catalog and --embedded exclude each other: a database, or the one of a folder")
    if url is None and session.embedded is None:
        raise InvalidArgument(
            "the audit trail is read from the database itself: give audit … --catalog URL, or --embedded FOLDER before audit"
        )
    chosen = url if session.embedded is None else catalog_url(session.embedded.expanduser().absolute())
    assert chosen is not None
    # Looking must not change anything: an upgrade would chain rows that were never checked.
    return DatabaseCatalog.open(chosen, migrate=False)


@audit.command()
def verify(context: Context, catalog: CatalogUrl = None, as_json: Json = False) -> None:
    """Check that no audit row was changed, removed, moved or added; exit code 1 names the first that was."""
    session = session_of(context)
    with _opened(session, catalog) as opened:
        report = opened.verify_audit()
    fault = report.fault
    if as_json:
        session.print_json({**asdict(report), "fault": None if fault is None else asdict(fault)})
    elif fault is None:
        session.out.print(Text(f"{count(report.rows)} audit rows are as they were written", style="bold green"))
        session.out.print(facts([("last row", str(report.head)), ("its hash", report.head_hash)]))
    else:
        session.out.print(Text(f"row {fault.sequence} of the audit trail: {fault.kind}", style="bold red"))
        found = [
            ("expected", fault.expected),
            ("found", fault.found),
            ("intact before it", f"{count(report.rows)} rows"),
        ]
        session.out.print(facts(found))
    if fault is not None:
        raise Exit(1)


@audit.command()
def export(
    context: Context,
    catalog: CatalogUrl = None,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE", help="By default stdout.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write every audit row as a line of JSON, oldest first, denied calls too."""
    session = session_of(context)
    if as_json and output is None:
        raise InvalidArgument(
            "the lines are JSON already, on stdout: --json goes with --output FILE, and tells how many"
        )
    with _opened(session, catalog) as opened:
        if output is None:
            opened.export_audit(sys.stdout)
            return
        with output.open("w", encoding="utf-8") as out:
            rows = opened.export_audit(out)
    if as_json:
        session.print_json({"rows": rows, "output": str(output)})
    else:
        session.out.print(f"{count(rows)} audit rows are in {output}", soft_wrap=True)
