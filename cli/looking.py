"""The commands that only look: list, show, history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from typer import Argument, Context

from alluxio_lance.cli.options import Json, Selected, Target
from alluxio_lance.cli.records import event_record, resource_record, schema_record, version_record
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import plain_target, selector_of, target
from alluxio_lance.cli.views import history_view, list_view, version_view
from alluxio_lance.errors import NotActive

__all__ = ["history", "list_resources", "show"]


def list_resources(
    context: Context,
    type: Annotated[
        str | None, Argument(metavar="TYPE", help="Only this type, such as datasets.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the resources and their active versions."""
    session = session_of(context)
    with session.manager() as manager:
        resources = manager.list_resources(type)
    if as_json:
        session.print_json({"resources": [resource_record(resource) for resource in resources]})
    elif resources:
        session.out.print(list_view(resources, datetime.now(UTC)))
    else:
        nothing, way = (
            ("nothing is registered yet", "register datasets/NAME DATA")
            if type is None
            else (f"nothing of the type {type!r} is registered; all there is", "list")
        )
        session.out.print(f"{nothing}: {session.command} {way}", markup=False, highlight=False, soft_wrap=True)


def show(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Show a version: facts, schema, metadata, and the resource's other versions."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        versions = manager.list_versions(name.type, name.name)
        try:
            version = manager.get_resource(name.type, name.name, selector_of(name)).info
        except NotActive:
            if selector_of(name) is not None or not versions:
                raise
            # Nothing is active: the newest version is what a person looks for.
            version = versions[0]
    if as_json:
        session.print_json(
            {
                "version": version_record(version) | {"schema": schema_record(version)},
                "versions": [version_record(each) for each in versions],
            }
        )
    else:
        session.out.print(version_view(version, versions, datetime.now(UTC)))


def history(context: Context, resource: Target, as_json: Json = False) -> None:
    """List what was done to a resource, oldest first, also after its deletion."""
    session, name = session_of(context), plain_target(resource)
    with session.manager() as manager:
        events = manager.history(name.type, name.name)
    if as_json:
        session.print_json({"events": [event_record(event) for event in events]})
    else:
        session.out.print(history_view(events, datetime.now(UTC)))
