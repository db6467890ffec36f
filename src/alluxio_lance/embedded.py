"""A whole manager in one process: SQLite and a local folder, no server."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from alluxio_lance.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from alluxio_lance.lifecycle.local import LocalManager

__all__ = ["catalog_url", "open_embedded", "tables_folder"]


def catalog_url(root: Path) -> str:
    """Return the database URL of the catalog in a root folder."""
    return f"sqlite:///{root / 'catalog.db'}"


def tables_folder(root: Path) -> Path:
    """Return the folder of the tables in a root folder."""
    return root / "data"


def open_embedded(root: str | PathLike[str]) -> LocalManager:
    """Open, or begin, a manager on a folder, and mend what a crash may have left there.

    Any number of processes may have the same folder open, a sidecar among them. The cold tier is the one of the node's
    settings (``cold`` and ``cold_options``), so that all of them find the same archived versions.

    Raises
    ------
    Unavailable
        When the server side is not installed, or the folder's catalog or tables cannot be opened.
    InvalidArgument
        When there can be no such folder, or the node's settings cannot be used.
    """
    try:
        from alluxio_lance.catalog import DatabaseCatalog  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.lifecycle.local import LocalManager  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.sidecar.settings import Settings  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.storage import LanceStore  # noqa: PLC0415 - the base install has no server side
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the embedded manager needs {error.name}: pip install 'alluxio-lance[server]'",
            what="alluxio-lance[server]",
        ) from error
    folder = Path(root).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(f"{folder} cannot be the root folder: {error.strerror}") from error
    settings = Settings(root=folder)
    store = LanceStore.at(settings.store, tables_folder(folder), settings.cold or None, settings.cold_options)
    manager = LocalManager(DatabaseCatalog.open(catalog_url(folder)), store)
    try:
        manager.reconcile()
    except BaseException:
        manager.close()
        raise
    return manager
