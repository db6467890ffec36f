"""The commands about the catalog's database: catalog upgrade, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.text import Text
from typer import Context, Exit, Option, Typer

from alluxio_lance.cli.human import count
from alluxio_lance.cli.look import facts
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.embedded import catalog_url
from alluxio_lance.errors import InvalidArgument

if TYPE_CHECKING:
    from alluxio_lance.catalog.checking import CatalogReport
    from alluxio_lance.catalog.migrating import SchemaStatus

__all__ = ["catalog"]

catalog = Typer(help="Upgrade and check the catalog's database.", no_args_is_help=False)

CatalogUrl = Annotated[
    str | None,
    Option("--catalog", metavar="URL", help="The database, such as postgresql://user@host/db.", show_default=False),
]
Root = Annotated[
    Path | None,
    Option("--root", metavar="DIR", help="The root folder of `up`, whose database is SQLite.", show_default=False),
]


def _url(session: Session, url: str | None, root: Path | None) -> str:
    given = [each for each in (url, root, session.embedded) if each is not None]
    if len(given) != 1:
        raise InvalidArgument("name one database: --catalog URL, or --root DIR")
    folder = root or session.embedded
    if folder is None:
        assert url is not None
        return url
    return catalog_url(folder.expanduser().absolute())


@catalog.command()
def upgrade(context: Context, url: CatalogUrl = None, root: Root = None, as_json: Json = False) -> None:
    """Bring the tables up to date, or make them in an empty database; stop older nodes first."""
    from alluxio_lance.catalog.migrating import upgrade as run  # noqa: PLC0415 - the base install has no database

    session = session_of(context)
    before = run(_url(session, url, root))
    if as_json:
        session.print_json({"before": before.found, "now": before.wanted, "changed": not before.is_current})
    elif before.is_current:
        session.out.print(f"the tables are current already: schema {before.wanted}")
    else:
        session.out.print(Text(f"schema {before.found or 'none'} → {before.wanted}", style="bold green"))


@catalog.command()
def check(context: Context, url: CatalogUrl = None, root: Root = None, as_json: Json = False) -> None:
    """Say which tables the database has, how full they are and what is amiss; exit code 1 when something is."""
    from alluxio_lance.catalog.checking import check as look  # noqa: PLC0415 - the base install has no database

    session = session_of(context)
    report = look(_url(session, url, root))
    if as_json:
        session.print_json(_record(report))
    else:
        rows = [
            ("database", report.url),
            ("engine", f"{report.engine} {report.server}"),
            ("schema", _words(report.schema)),
        ]
        rows += [(f"rows in {table}", count(number)) for table, number in report.rows.items()]
        session.out.print(facts(rows))
        for what, number in report.orphans.items():
            if number:
                session.out.print(Text(f"{count(number)} {what}", style="bold red"))
        if report.is_sound:
            session.out.print(Text("\nsound", style="bold green"))
    if not report.is_sound:
        raise Exit(1)


def _record(report: CatalogReport) -> dict[str, Any]:
    return {
        "url": report.url,
        "engine": report.engine,
        "server": report.server,
        "schema": report.schema.found,
        "wanted": report.schema.wanted,
        "current": report.schema.is_current,
        "rows": dict(report.rows),
        "orphans": dict(report.orphans),
        "sound": report.is_sound,
    }


def _words(schema: SchemaStatus) -> str:
    if schema.is_current:
        return f"{schema.found}, current"
    if schema.found is None:
        return "none: run `alluxio-lance catalog upgrade`"
    remedy = "run `alluxio-lance catalog upgrade`" if schema.is_known else "upgrade alluxio-lance on this node"
    return f"{schema.found}, this release wants {schema.wanted}: {remedy}"
