"""The commands that only look: list, show, history."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from typer import Argument, Context, Option

from alluxio_lance.cli.history_view import history_view
from alluxio_lance.cli.options import Json, Selected, Target
from alluxio_lance.cli.pairs import text_pairs
from alluxio_lance.cli.records import event_record, resource_record, schema_record, version_record
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.cli.storage_view import cached_percent, storage_view
from alluxio_lance.cli.target import pinned, plain_target, selector_of, target
from alluxio_lance.cli.upkeep_records import storage_record
from alluxio_lance.cli.version_view import version_view
from alluxio_lance.cli.views import deleted_view, list_view
from alluxio_lance.cli.ways_records import share_record
from alluxio_lance.errors import NotFound, Restoring, Unavailable
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Resource, State, Version
from alluxio_lance.ways import CacheShare

__all__ = ["history", "list_resources", "show"]

_DETAIL: Final = re.compile(r" \(LanceError.*", re.DOTALL)
"""What the table's library says of a call that failed: eight lines, and nothing in them that helps beside a table."""


def list_resources(
    context: Context,
    type: Annotated[
        str | None, Argument(metavar="TYPE", help="Only this type, such as datasets.", show_default=False)
    ] = None,
    search: Annotated[
        str | None,
        Option("--search", metavar="TEXT", help="Only with this in the name or a message.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        Option("--label", metavar="KEY=VALUE", help="Only with this label; repeat it.", show_default=False),
    ] = None,
    deleted: Annotated[bool, Option("--deleted", help="Those that wait to be purged, instead.")] = False,
    as_json: Json = False,
) -> None:
    """List the resources and their active versions."""
    session = session_of(context)
    labels = text_pairs("--label", label) if label else None
    with session.manager() as manager:
        resources = manager.list_resources(type, search=search, labels=labels, deleted=deleted)
    if as_json:
        session.print_json({"resources": [resource_record(resource) for resource in resources]})
    elif resources:
        view = deleted_view if deleted else list_view
        session.out.print(view(resources, datetime.now(UTC)))
    else:
        narrowed = type is not None or search is not None or bool(labels)
        session.line(*_nothing(session, type, narrowed=narrowed, deleted=deleted))


def _nothing(session: Session, type: str | None, *, narrowed: bool, deleted: bool) -> list[str]:
    if deleted:
        return ["nothing that was deleted waits to be purged"]
    if not narrowed:
        return [f"nothing is registered yet: {session.command} register datasets/NAME DATA"]
    what = (
        "nothing is registered that fits" if type is None else f"nothing of the type {type!r} is registered that fits"
    )
    return [f"{what}; all there is: {session.command} list"]


def show(
    context: Context,
    resource: Selected,
    storage: Annotated[
        bool, Option("--storage", help="What each version takes, alone and shared with others.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a version: facts, stage, tags, metrics, schema, metadata, and the resource's other versions."""
    session, name = session_of(context), target(resource)
    if storage:
        _show_storage(session, name, as_json=as_json)
        return
    with session.manager() as manager:
        version = pinned(manager, name)
        versions = manager.list_versions(name.type, name.name)
        gone = manager.list_versions(name.type, name.name, deleted=True)
        owner = _resource(manager, name)
        share, cached = _cached(manager, version)
    if as_json:
        record: dict[str, Any] = {
            "version": version_record(version) | {"schema": schema_record(version)},
            "versions": [version_record(each) for each in versions],
            "deleted": [version_record(each) for each in gone],
            "resource": owner and resource_record(owner),
            "cache": {"error": share} if isinstance(share, str) else share and share_record(share),
            "cached_percent": cached,
        }
        session.print_json(record)
    else:
        view = version_view(version, owner, [*versions, *gone], datetime.now(UTC), share=share, cached=cached)
        session.out.print(view)


def _cached(manager: ResourceManager, version: Version) -> tuple[CacheShare | str | None, dict[str, int]]:
    """Return how much of a version is cached, or why nobody knows, and the percentages of all versions."""
    if version.state is State.ARCHIVED:
        return None, {}
    try:
        share = manager.explain_resource(version.type, version.name, version.semver).share
        if share is None:
            return None, {}
        report = manager.storage(version.type, version.name)
    except (Unavailable, Restoring) as error:
        # What the catalog knows is shown also while the store is down.
        return f"not known: {_DETAIL.sub('', error.message)}", {}
    return share, {each.semver: percent for each in report.versions if (percent := cached_percent(each)) is not None}


def _resource(manager: ResourceManager, name: ResourceName) -> Resource | None:
    """Return the resource of a version; None when it was deleted in this very moment."""
    found = manager.list_resources(name.type, search=name.name)
    return next((each for each in found if each.name == name.name), None)


def _show_storage(session: Session, name: ResourceName, *, as_json: bool) -> None:
    with session.manager() as manager:
        if (selector := selector_of(name)) is not None:
            manager.find_version(name.type, name.name, selector)
        report = manager.storage(name.type, name.name)
    if as_json:
        session.print_json({"storage": storage_record(report)})
    else:
        session.out.print(storage_view(report))


def history(context: Context, resource: Target, as_json: Json = False) -> None:
    """List what was done to a resource, by whom and from where, oldest first, also after its deletion."""
    session, name = session_of(context), plain_target(resource)
    with session.manager() as manager:
        events = manager.history(name.type, name.name)
        moves = manager.list_promotions(name.type, name.name)
        versions = _versions(manager, name)
    if as_json:
        session.print_json({"events": [event_record(event) for event in events]})
    else:
        session.out.print(history_view(events, datetime.now(UTC), moves, versions))


def _versions(manager: ResourceManager, name: ResourceName) -> list[Version]:
    """Return the versions of a resource; none of one that is gone."""
    try:
        return manager.list_versions(name.type, name.name)
    except NotFound:
        return []
