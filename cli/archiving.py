"""The commands of the cold tier: archive and restore."""

from __future__ import annotations

from typing import Annotated

from typer import Context, Option

from alluxio_lance.cli.options import Json, Message, RequestId, Selected, SelectorArgument
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.returning import check_wait, wait_for
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import required, versioned_target
from alluxio_lance.errors import Restoring

__all__ = ["archive", "restore"]


def archive(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Move a version to the cold tier; it is still listed, and comes back by itself when somebody opens it."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    wanted = required(resource, selector)
    with session.manager() as manager, progress_bar(session.err, silent=as_json) as on_progress:
        made = manager.archive_resource(
            name.type, name.name, wanted, message=message, request_id=request_id, on_progress=on_progress
        )
    print_version(session, "archived", made, as_json=as_json)


def restore(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    no_wait: Annotated[
        bool, Option("--no-wait", help="Only start it, or look how far it is: exit code 1 until it is back.")
    ] = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Bring an archived version back, as it was; a second call joins the first, on whichever node."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    wanted = required(resource, selector)
    check_wait(session, wait=not no_wait)
    with session.manager() as manager, progress_bar(session.err, silent=as_json) as on_progress:
        try:
            made = manager.restore_resource(
                name.type,
                name.name,
                wanted,
                message=message,
                wait=not no_wait,
                request_id=request_id,
                on_progress=on_progress,
            )
        except Restoring as restoring:
            restoring.add_note(wait_for(session, name, wanted))
            raise
    print_version(session, "restored", made, as_json=as_json)
