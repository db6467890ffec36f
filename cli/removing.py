"""The commands of the end of a resource: delete, undelete, purge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from rich.text import Text
from typer import Context, Option

from alluxio_lance.cli.human import until
from alluxio_lance.cli.look import print_facts
from alluxio_lance.cli.options import Json, Message, RequestId, Selected, Yes
from alluxio_lance.cli.outcome import moment_text
from alluxio_lance.cli.records import moment
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import selector_of, target
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.manager import ResourceManager

__all__ = ["delete", "purge", "undelete"]


def delete(
    context: Context,
    resource: Selected,
    yes: Yes = False,
    force: Annotated[
        bool, Option("--force", help="Although it is being read: readers keep what they have, no new one begins.")
    ] = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Take a resource, or one of its versions, out of sight; it can be undeleted until its grace time is over."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        semver = _exactly(manager, name)
        full_name = _full_name(name, semver)
        if not yes:
            what = full_name
            if semver is None:
                versions = len(manager.list_versions(name.type, name.name))
                what = f"{full_name} with {versions} version{'s' if versions != 1 else ''}"
            session.confirm(
                f"Delete {what}?",
                f"{full_name} stays: without a terminal to ask on, delete needs --yes",
                f"{full_name} stays",
            )
        manager.delete_resource(name.type, name.name, semver, force=force, message=message, request_id=request_id)
        purge_at = _purge_at(manager, name, semver)
    if as_json:
        session.print_json({"deleted": _record(name, semver) | {"purge_at": purge_at and moment(purge_at)}})
        return
    session.line("deleted ", (full_name, "bold"))
    # A grace time of nothing may be over before anybody could look.
    if purge_at is not None:
        print_facts(
            session.out,
            [
                ("until", f"{moment_text(purge_at)}, {until(purge_at, datetime.now(UTC))}: then it is purged"),
                ("next", Text(f"{session.command} undelete {full_name}", style="cyan")),
            ],
        )


def undelete(
    context: Context, resource: Selected, message: Message = "", request_id: RequestId = None, as_json: Json = False
) -> None:
    """Take a deletion back, as long as nothing was purged."""
    session, name = session_of(context), target(resource)
    semver = selector_of(name)
    with session.manager() as manager:
        manager.undelete_resource(name.type, name.name, semver, message=message, request_id=request_id)
    if as_json:
        session.print_json({"undeleted": _record(name, semver)})
        return
    full_name = _full_name(name, semver)
    session.line("undeleted ", (full_name, "bold"))
    print_facts(session.out, [("next", Text(f"{session.command} show {full_name}", style="cyan"))])


def purge(
    context: Context,
    resource: Selected,
    yes: Yes = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Remove what was deleted for good, before its grace time is over: no byte stays in any tier."""
    session, name = session_of(context), target(resource)
    semver = selector_of(name)
    full_name = _full_name(name, semver)
    if not yes:
        session.confirm(
            f"Remove {full_name} for good? Nothing brings it back.",
            f"{full_name} stays deleted: without a terminal to ask on, purge needs --yes",
            f"{full_name} can still be undeleted",
        )
    with session.manager() as manager:
        manager.purge_resource(name.type, name.name, semver, message=message, request_id=request_id)
    if as_json:
        session.print_json({"purged": _record(name, semver)})
    else:
        session.line("purged ", (full_name, "bold"), ": no byte of it is left; its history stays")


def _exactly(manager: ResourceManager, name: ResourceName) -> str | None:
    """Return which version a selector means now, so that the question and the answer name it."""
    selector = selector_of(name)
    return None if selector is None else manager.find_version(name.type, name.name, selector).semver


def _full_name(name: ResourceName, semver: str | None) -> str:
    return f"{name.type}/{name.name}" if semver is None else f"{name.type}/{name.name}@{semver}"


def _record(name: ResourceName, semver: str | None) -> dict[str, Any]:
    return {"type": name.type, "name": name.name, "semver": semver}


def _purge_at(manager: ResourceManager, name: ResourceName, semver: str | None) -> datetime | None:
    if semver is None:
        found = manager.list_resources(name.type, search=name.name, deleted=True)
        return next((each.purge_at for each in found if each.name == name.name), None)
    versions = manager.list_versions(name.type, name.name, deleted=True)
    return next((each.purge_at for each in versions if each.semver == semver), None)
