"""The commands of FUSE mounts: mount, unmount."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from rich.text import Text
from typer import Argument, Context, Option

from alluxio_lance.cli.look import table, whole
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.session import session_of
from alluxio_lance.errors import InvalidArgument

if TYPE_CHECKING:
    from alluxio_lance.storage.mounts import FuseMountManager

__all__ = ["mount", "unmount"]

_LARGEST_PORT: Final = 65535


def _manager(master: str = "localhost:19998") -> FuseMountManager:
    from alluxio_lance.storage.mounts import FuseMountManager  # noqa: PLC0415 - the base install mounts nothing

    host, _, port = master.partition(":")
    if not host or not (port or "19998").isdecimal() or not 0 < int(port or 19998) <= _LARGEST_PORT:
        raise InvalidArgument(f"--master {master!r} is no address: give HOST or HOST:PORT")
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return FuseMountManager(host, int(port or 19998), logs=state / "alluxio-lance")


def mount(
    context: Context,
    folder: Annotated[
        Path | None,
        Argument(metavar="FOLDER", help="An empty folder; without one the mounts are listed.", show_default=False),
    ] = None,
    master: Annotated[str, Option("--master", metavar="HOST:PORT", help="The master of Alluxio.")] = "localhost:19998",
    root: Annotated[str, Option("--root", metavar="PATH", help="The folder of Alluxio to show.")] = "/",
    option: Annotated[
        list[str] | None,
        Option("--option", "-o", help="An option of FUSE, such as allow_other; repeat it.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show Alluxio's files in a folder, for scripts that want files; or list what is mounted.

    Tables are read through a mount, and never written: Alluxio's FUSE cannot rename as a commit needs it.
    """
    session = session_of(context)
    manager = _manager(master)
    if folder is not None:
        with session.err.status("mount …"):
            made = manager.mount(folder, root=root, options=option or ())
        if as_json:
            session.print_json({"mounted": str(made.path)})
        else:
            session.out.print(Text.assemble("mounted ", (str(made.path), "bold")), soft_wrap=True)
        return
    found = manager.list()
    if as_json:
        session.print_json({"mounts": [{"path": str(each.path), "stale": each.is_stale} for each in found]})
    elif not found:
        session.out.print("Alluxio is mounted nowhere: `alluxio-lance mount FOLDER` mounts it", highlight=False)
    else:
        rows = table(None, whole("mount"), whole("state"))
        for each in found:
            rows.add_row(str(each.path), Text("stale", "red") if each.is_stale else Text("mounted", "green"))
        session.out.print(rows)


def unmount(
    context: Context,
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Where Alluxio is mounted.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Take a mount down, also one whose process was killed."""
    session = session_of(context)
    _manager().unmount(folder)
    place = folder.expanduser().absolute()
    if as_json:
        session.print_json({"unmounted": str(place)})
    else:
        session.out.print(Text.assemble("unmounted ", (str(place), "bold")), soft_wrap=True)
