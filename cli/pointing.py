"""The commands that move the pointer to the active version: activate, deprecate, rollback."""

from __future__ import annotations

from typer import Context

from alluxio_lance.cli.advising import advised
from alluxio_lance.cli.options import Json, Message, NoWait, RequestId, Selected, SelectorArgument
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.returning import check_wait, when_back
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import required, versioned_target
from alluxio_lance.values import Version

__all__ = ["activate", "deprecate", "rollback"]


def activate(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    no_wait: NoWait = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make a version the active one; moves no data."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    wanted = required(resource, selector)
    check_wait(session, wait=not no_wait)
    subject = f"{name.type}/{name.name}@{wanted}"
    with session.manager() as manager, advised(session, subject, f"activate {subject}"):

        def work() -> Version:
            return manager.activate_resource(name.type, name.name, wanted, message=message, request_id=request_id)

        made = when_back(session, manager, name, wanted, work, wait=not no_wait, silent=as_json)
    print_version(session, "activated", made, as_json=as_json)


def deprecate(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Mark a version as not to be used any more; its table stays."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    wanted = required(resource, selector)
    with session.manager() as manager:
        made = manager.deprecate_resource(name.type, name.name, wanted, message=message, request_id=request_id)
    print_version(session, "deprecated", made, as_json=as_json)


def rollback(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    no_wait: NoWait = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version active again, by default the one before; moves no data, and asks no gate."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    check_wait(session, wait=not no_wait)
    with session.manager() as manager:

        def work() -> Version:
            return manager.rollback_resource(name.type, name.name, selector, message=message, request_id=request_id)

        made = when_back(session, manager, name, selector, work, wait=not no_wait, silent=as_json)
    print_version(session, "rolled back", made, as_json=as_json)
