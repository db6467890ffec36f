"""Checks of the places that a sidecar writes to: configuration, root, catalog, run folder."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alluxio_lance.cli.doctor.check import Check, failed, ok, warned
from alluxio_lance.cli.human import size
from alluxio_lance.errors import AlluxioLanceError

if TYPE_CHECKING:
    from alluxio_lance.sidecar.settings import Settings

__all__ = ["catalog", "folder", "places"]

_SQLITE: Final = "sqlite:///"
_LITTLE: Final = 1 << 30


def places(root: Path | None) -> Iterator[Check]:
    """Check every place as ``up`` would use it; ``root`` as its option."""
    try:
        from alluxio_lance.sidecar.settings import Settings  # noqa: PLC0415 - the base install has no server side
    except ModuleNotFoundError as error:
        yield warned("settings", f"not known without {error.name}", "pip install 'alluxio-lance[server]'")
        return
    try:
        settings = Settings() if root is None else Settings(root=root)
    except AlluxioLanceError as error:
        yield failed("settings", error.message, "correct the variable or the file")
        return
    yield _root(settings)
    yield catalog(settings.catalog_url)
    yield folder("run folder", settings.run_dir, "set ALLUXIO_LANCE_RUN_DIR to a folder of this user")


def _root(settings: Settings) -> Check:
    check = folder("root folder", settings.root, "set ALLUXIO_LANCE_ROOT to a folder that this user can write")
    if check.remedy:
        return check
    facts = os.statvfs(_existing(settings.root))
    free = facts.f_bavail * facts.f_frsize
    found = f"{check.found}, {size(free)} free"
    return ok(check.name, found) if free > _LITTLE else warned(check.name, found, "make room on the disk")


def folder(name: str, path: Path, remedy: str) -> Check:
    """Check that a folder can be written, or made."""
    existing = _existing(path)
    if not existing.is_dir():
        return failed(name, f"{existing} is no folder", remedy)
    if not os.access(existing, os.W_OK | os.X_OK):
        return failed(name, f"{existing} cannot be written", remedy)
    return ok(name, str(path) if existing == path else f"{path} (will be made)")


def _existing(path: Path) -> Path:
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def catalog(url: str) -> Check:
    """Check that the catalog takes a write; nothing is made and nothing changed."""
    if not url.startswith(_SQLITE):
        return _server(url)
    file = Path(url.removeprefix(_SQLITE))
    if not file.exists():
        return folder("catalog", file, "set ALLUXIO_LANCE_CATALOG to a database that this user can write")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=1.0, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        return failed("catalog", f"{file}: {error}", "see who holds it (`fuser FILE`) and whose it is (`ls -l FILE`)")
    return ok("catalog", f"{file} ({size(file.stat().st_size)})")


def _server(url: str) -> Check:
    from sqlalchemy import create_engine, make_url, text  # noqa: PLC0415 - the base install has no server side
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - the base install has no server side

    shown = url
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        finally:
            engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        return failed("catalog", f"{shown}: {error}", "start the database, or correct ALLUXIO_LANCE_CATALOG")
    return ok("catalog", shown)
