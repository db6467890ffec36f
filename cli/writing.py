"""The commands that bring data in: register and update."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Context, Option

from alluxio_lance.cli.advising import advised
from alluxio_lance.cli.options import Bump, Json, Message, Metadata, MetadataFile, NoWait, RequestId, Target
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.pairs import json_pairs, metadata_from
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.returning import check_wait, when_back
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import plain_target
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.values import Version

__all__ = ["register", "update"]

_Format = Annotated[
    str | None,
    Option("--format", help="The importer, where the path does not tell: parquet, csv, images, …", show_default=False),
]
_Options = Annotated[
    list[str] | None,
    Option("--option", metavar="KEY=VALUE", help="An option of the importer; repeat it.", show_default=False),
]
_NoActivate = Annotated[bool, Option("--no-activate", help="Keep it aside: readers go on with the version before.")]
_Version = Annotated[
    str | None, Option("--version", metavar="MAJOR.MINOR.PATCH", help="The semantic version.", show_default=False)
]


def register(
    context: Context,
    resource: Target,
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help="Parquet, CSV, JSON lines, Arrow IPC, Lance, a folder of images, or a file tree.",
            show_default=False,
        ),
    ],
    version: _Version = None,
    message: Message = "",
    metadata: Metadata = None,
    metadata_file: MetadataFile = None,
    format: _Format = None,
    option: _Options = None,
    no_activate: _NoActivate = False,
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Bring a new dataset in, as version 1.0.0."""
    session, name = session_of(context), plain_target(resource)
    path = _path(data)
    subject = f"{name.type}/{name.name}"
    with (
        session.manager() as manager,
        advised(session, subject, f"activate {subject}@VERSION"),
        progress_bar(session.err, silent=as_json) as on_progress,
    ):
        made = manager.register_resource(
            name.type,
            name.name,
            path,
            version=version,
            message=message,
            metadata=metadata_from(metadata or (), metadata_file),
            activate=not no_activate,
            format=format,
            options=json_pairs("--option", option) if option else None,
            request_id=request_id,
            on_progress=on_progress,
        )
    print_version(session, "registered", made, as_json=as_json)


def update(
    context: Context,
    resource: Target,
    data: Annotated[
        str | None,
        Argument(metavar="DATA", help="As in register; without it only the metadata change.", show_default=False),
    ] = None,
    mode: Annotated[
        Literal["append", "overwrite", "upsert"],
        Option("--mode", metavar="MODE", help="append rows, overwrite all of them, or upsert by key."),
    ] = "append",
    on: Annotated[
        list[str] | None,
        Option("--on", metavar="COLUMN", help="A key column of an upsert; repeat it.", show_default=False),
    ] = None,
    bump: Bump = None,
    version: _Version = None,
    message: Message = "",
    metadata: Metadata = None,
    metadata_file: MetadataFile = None,
    format: _Format = None,
    option: _Options = None,
    no_activate: _NoActivate = False,
    branch: Annotated[
        str | None,
        Option("--branch", metavar="BRANCH", help="Go on with this branch, on it; see `branch`.", show_default=False),
    ] = None,
    no_wait: NoWait = False,
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make a new version from the active one: append, overwrite or upsert rows, or change metadata."""
    session, name = session_of(context), plain_target(resource)
    path = None if data is None else _path(data)
    if (mode == "upsert") is not bool(on):
        raise InvalidArgument("--mode upsert and --on COLUMN, its key, go together: give both or neither")
    check_wait(session, wait=not no_wait)
    subject = f"{name.type}/{name.name}"
    with session.manager() as manager, advised(session, subject, f"activate {subject}@VERSION"):

        def work() -> Version:
            with progress_bar(session.err, silent=as_json) as on_progress:
                return manager.update_resource(
                    name.type,
                    name.name,
                    path,
                    mode=mode,
                    on=on or None,
                    bump=bump,
                    version=version,
                    message=message,
                    metadata=metadata_from(metadata or (), metadata_file),
                    activate=not no_activate,
                    branch=branch,
                    format=format,
                    options=json_pairs("--option", option) if option else None,
                    request_id=request_id,
                    on_progress=on_progress,
                )

        made = when_back(session, manager, name, branch, work, wait=not no_wait, silent=as_json)
    print_version(session, "updated", made, as_json=as_json)


def _path(data: str) -> Path:
    """Make a path absolute, since the sidecar works in another folder."""
    path = Path(data).expanduser().absolute()
    if not path.exists():
        raise NotFound(f"there is no {path}: give a file or a folder that exists")
    return path
