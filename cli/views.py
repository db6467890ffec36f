"""Resources, versions and events as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import age, count, size
from alluxio_lance.cli.look import facts, state_text, table
from alluxio_lance.cli.records import schema_of
from alluxio_lance.values import Event, Resource, Version

__all__ = ["history_view", "list_view", "version_view"]


def list_view(resources: Sequence[Resource], now: datetime) -> Table:
    """Return one row per resource."""
    view = table()
    view.add_column("Resource", overflow="fold", min_width=16)
    view.add_column("Active", no_wrap=True)
    view.add_column("Versions", justify="right")
    view.add_column("Rows", justify="right", no_wrap=True)
    view.add_column("Size", justify="right", no_wrap=True)
    view.add_column("Updated", no_wrap=True)
    for resource in resources:
        active = resource.active
        view.add_row(
            f"{resource.type}/{resource.name}",
            Text(str(active), style="green") if active else Text("none", style="dim"),
            count(resource.versions),
            count(active.num_rows) if active else "",
            size(active.num_bytes) if active else "",
            age(resource.updated_at, now),
        )
    return view


def version_view(version: Version, versions: Sequence[Version], now: datetime) -> Group:
    """Return a version's facts, schema, metadata, and its place among its siblings."""
    parts: list[RenderableType] = [_version_facts(version, now), Text(), _schema_table(version)]
    for title, mapping in (("Metadata", version.metadata), ("Provenance", version.provenance)):
        if mapping:
            parts.append(Text(title, style="bold"))
            parts.append(facts([(key, Text(_plain(value))) for key, value in mapping.items()]))
            parts.append(Text())
    parts.append(_versions_table(versions, version, now))
    return Group(*parts)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _version_facts(version: Version, now: datetime) -> Table:
    rows: list[tuple[str, str | Text]] = [
        ("resource", Text(f"{version.type}/{version.name}", style="bold")),
        ("version", Text.assemble(str(version), " (Lance ", str(version.version), ")")),
        ("state", state_text(version.state)),
        ("rows", count(version.num_rows)),
        ("size", size(version.num_bytes)),
        ("made", Text(f"{age(version.created_at, now)} by {version.created_by}")),
        ("uri", Text(version.uri)),
        ("location", Text(version.location)),
        ("hash", Text(version.content_hash)),
    ]
    if version.message:
        rows.insert(3, ("message", Text(version.message)))
    return facts(rows)


def _schema_table(version: Version) -> Table:
    view = table("Schema")
    view.add_column("Column", overflow="fold")
    view.add_column("Type", overflow="fold")
    view.add_column("Nulls")
    for field in schema_of(version):
        view.add_row(Text(field.name), Text(str(field.type)), "may occur" if field.nullable else "never")
    return view


def _versions_table(versions: Sequence[Version], shown: Version, now: datetime) -> Table:
    view = table("Versions")
    view.add_column("", width=1)
    view.add_column("Version", no_wrap=True)
    view.add_column("Lance", justify="right")
    view.add_column("State", no_wrap=True)
    view.add_column("Rows", justify="right", no_wrap=True)
    view.add_column("Made", no_wrap=True)
    view.add_column("Message", overflow="ellipsis", no_wrap=True)
    for version in versions:
        view.add_row(
            "›" if version.semver == shown.semver else "",
            str(version),
            str(version.version),
            state_text(version.state),
            count(version.num_rows),
            age(version.created_at, now),
            Text(version.message),
        )
    return view


def history_view(events: Sequence[Event], now: datetime) -> Table:
    """Return one row per event, oldest first."""
    view = table()
    view.add_column("When", no_wrap=True)
    view.add_column("Verb", no_wrap=True)
    view.add_column("Version", no_wrap=True)
    view.add_column("Active before → after", no_wrap=True)
    view.add_column("By", overflow="ellipsis", no_wrap=True)
    view.add_column("Message", overflow="ellipsis", no_wrap=True)
    for event in events:
        view.add_row(
            age(event.at, now),
            Text(event.verb.value, style="bold"),
            event.semver or "all",
            _move(event),
            Text(event.actor),
            Text(event.message),
        )
    return view


def _move(event: Event) -> Text:
    before, after = (_short(name) for name in (event.before, event.after))
    return Text(before, style="dim") if before == after else Text(f"{before} → {after}")


def _short(full_name: str | None) -> str:
    return full_name.partition("+")[0] if full_name else "none"
