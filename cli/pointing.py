"""The commands that move a pointer or take something away: activate, deprecate, rollback, delete."""

from __future__ import annotations

import sys
from typing import Annotated

from rich.text import Text
from typer import Context, Exit, Option, confirm

from alluxio_lance.cli.options import Json, Message, RequestId, Selected, SelectorArgument, Target
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import plain_target, versioned_target
from alluxio_lance.cli.writing import print_version
from alluxio_lance.errors import InvalidArgument

__all__ = ["activate", "delete", "deprecate", "rollback"]


def activate(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make a version the active one; moves no data."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    wanted = _required(resource, selector)
    with session.manager() as manager:
        made = manager.activate_resource(name.type, name.name, wanted, message=message, request_id=request_id)
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
    wanted = _required(resource, selector)
    with session.manager() as manager:
        made = manager.deprecate_resource(name.type, name.name, wanted, message=message, request_id=request_id)
    print_version(session, "deprecated", made, as_json=as_json)


def rollback(
    context: Context,
    resource: Selected,
    version: SelectorArgument = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version active again, by default the one before; moves no data."""
    session = session_of(context)
    name, selector = versioned_target(resource, version)
    with session.manager() as manager:
        made = manager.rollback_resource(name.type, name.name, selector, message=message, request_id=request_id)
    print_version(session, "rolled back", made, as_json=as_json)


def delete(
    context: Context,
    resource: Target,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Remove a resource with all its versions; refused while somebody reads one of them."""
    session, name = session_of(context), plain_target(resource)
    full_name = f"{name.type}/{name.name}"
    with session.manager() as manager:
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidArgument(f"{full_name} stays: without a terminal to ask on, delete needs --yes")
            versions = len(manager.list_versions(name.type, name.name))
            if not confirm(f"Delete {full_name} with {versions} version{'s' if versions != 1 else ''}?", err=True):
                session.err.print(f"{full_name} stays", style="yellow", highlight=False)
                raise Exit(1)
        manager.delete_resource(name.type, name.name, message=message, request_id=request_id)
    if as_json:
        session.print_json({"deleted": {"type": name.type, "name": name.name}})
    else:
        session.out.print(Text.assemble("deleted ", (full_name, "bold")), soft_wrap=True)


def _required(text: str, selector: str | None) -> str:
    if selector is None:
        raise InvalidArgument(f"which version of {text}? Name it: {text}@1.0.0, or see `alluxio-lance show {text}`")
    return selector
