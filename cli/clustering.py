"""The commands of a local Alluxio: alluxio up, down, status."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from rich.text import Text
from typer import Context, Exit, Option, Typer

from alluxio_lance.cli.human import size
from alluxio_lance.cli.look import meter, print_facts
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sizes import read_size

if TYPE_CHECKING:
    from alluxio_lance.storage.alluxio.cluster import ClusterStatus

__all__ = ["alluxio"]

alluxio = Typer(help="Run a real Alluxio on this machine, from Maven's jars.", no_args_is_help=True)

_TABLES: Final = "lance"
"""The folder for tables that is proposed."""

_Folder = Annotated[
    Path | None,
    Option(
        "--folder",
        metavar="DIR",
        help="Its journal, cache, logs and files; by default ~/.local/share/alluxio-lance/alluxio.",
        show_default=False,
    ),
]


def _folder(folder: Path | None) -> Path:
    from alluxio_lance.storage.alluxio.cluster import default_folder  # noqa: PLC0415 - the base install has no servers

    return (folder or default_folder()).expanduser().absolute()


@alluxio.command()
def up(
    context: Context,
    folder: _Folder = None,
    port_base: Annotated[
        int | None,
        Option(
            "--port-base",
            metavar="PORT",
            help="Five ports from here on, so that several can run; by default Alluxio's own, from 19998 on.",
            show_default=False,
        ),
    ] = None,
    tier: Annotated[str, Option("--tier", metavar="SIZE", help="Bytes of the worker's cache.")] = "1GiB",
    block: Annotated[str, Option("--block", metavar="SIZE", help="Bytes of a block.")] = "64MiB",
    under_store: Annotated[
        str,
        Option(
            "--under-store",
            metavar="WHERE",
            help="Where the files are kept: a folder, or s3://BUCKET/PREFIX, where an object must lie; by default a folder of its own.",
            show_default=False,
        ),
    ] = "",
    option: Annotated[
        list[str] | None,
        Option(
            "--option",
            metavar="KEY=VALUE",
            help="A property of the under-store, such as alluxio.underfs.s3.endpoint=…; KEY=@FILE takes what is in a file, as is right for secrets; repeat it.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start master, worker and proxy, and wait until they serve; the first time the jars are fetched."""
    from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports  # noqa: PLC0415 - as above

    session = session_of(context)
    plan = ClusterPlan(
        folder=_folder(folder),
        ports=Ports() if port_base is None else Ports.starting_at(port_base),
        tier_bytes=_bytes("--tier", tier),
        block_bytes=_bytes("--block", block),
        under_store=under_store,
        under_store_options=dict(_pair(each) for each in option or ()),
    )
    with session.err.status("alluxio …") as shown:
        cluster = Cluster.start(plan, lambda step: shown.update(f"{step} …"))
        status = cluster.status()
    _print(session, status, "up", as_json=as_json)


@alluxio.command()
def down(context: Context, folder: _Folder = None, as_json: Json = False) -> None:
    """Stop it and take its mounts down; its files, journal and cache stay for the next start."""
    from alluxio_lance.storage.alluxio.cluster import Cluster  # noqa: PLC0415 - as above
    from alluxio_lance.storage.mounts.serving import end_mounts  # noqa: PLC0415 - as above

    session = session_of(context)
    cluster = Cluster.find(_folder(folder))
    with session.err.status("stop …"):
        ended = [str(place) for place in end_mounts(cluster.plan.ports.master)]
        cluster.stop()
    if as_json:
        session.print_json({"folder": str(cluster.plan.folder), "state": "down", "unmounted": ended})
        return
    session.line(("down", "bold"), f"  {cluster.plan.folder}")
    for place in ended:
        session.line("  unmounted ", (place, "bold"))


@alluxio.command()
def status(context: Context, folder: _Folder = None, as_json: Json = False) -> None:
    """Tell whether it serves, where, and how full its cache is; exit code 1 when it does not serve."""
    from alluxio_lance.storage.alluxio.cluster import Cluster  # noqa: PLC0415 - as above

    session = session_of(context)
    found = Cluster.find(_folder(folder)).status()
    _print(session, found, "up" if found.ready else "not ready", as_json=as_json)
    if not found.ready:
        raise Exit(1)


def _print(session: Session, status: ClusterStatus, word: str, *, as_json: bool) -> None:
    if as_json:
        session.print_json(_record(status))
        return
    session.out.print(Text(word, style="bold green" if status.ready else "bold red"))
    used = f"{size(status.used_bytes)} of {size(status.capacity_bytes)}"
    bar = meter([(status.used_bytes, "cyan")], max(status.capacity_bytes, 1), 20)
    rows: list[tuple[str, str | Text]] = [
        ("uri", status.uri),
        ("s3", status.s3),
        ("cache", Text.assemble(bar, " ", used)),
    ]
    rows += [
        (node.name, f"process {node.pid}" if node.alive else Text(f"has ended; see {node.log}", style="red"))
        for node in status.nodes
    ]
    rows.append(("folder", str(status.folder)))
    if status.ready:
        # Quoted, since a shell would take the `&` for its own; with a folder, without which no tables can lie there.
        rows.append(
            ("next", Text(shlex.join(["alluxio-lance", "up", "--store", _with_folder(status.uri)]), style="cyan"))
        )
    print_facts(session.out, rows)


def _with_folder(uri: str) -> str:
    return uri.replace("/?", f"/{_TABLES}?")


def _record(status: ClusterStatus) -> dict[str, Any]:
    return {
        "ready": status.ready,
        "uri": status.uri,
        "s3": status.s3,
        "folder": str(status.folder),
        "capacity_bytes": status.capacity_bytes,
        "used_bytes": status.used_bytes,
        "nodes": [
            {"name": node.name, "pid": node.pid, "alive": node.alive, "log": str(node.log)} for node in status.nodes
        ],
    }


def _bytes(option: str, text: str) -> int:
    try:
        return read_size(text)
    except ValueError as error:
        raise InvalidArgument(f"{option} {text!r}: {error}") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidArgument(f"--option {text!r} is no KEY=VALUE")
    if not value.startswith("@"):
        return key, value
    try:
        # Everybody on the machine can read a command line.
        return key, Path(value[1:]).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"--option {key}: {value[1:]} cannot be read: {error}") from None
