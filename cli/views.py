"""Resources, versions and events as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import age, count, size
from alluxio_lance.cli.look import facts, flowing, number, state_text, table, whole
from alluxio_lance.cli.records import schema_of
from alluxio_lance.values import Event, Resource, Version

__all__ = ["history_view", "list_view", "version_view"]


def list_view(resources: Sequence[Resource], now: datetime) -> Table:
    """Return one row per resource."""
    view = table(
        None,
        flowing("Resource"),
        whole("Active"),
        number("Versions"),
        number("Rows"),
        number("Size"),
        whole("Updated"),
    )
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
    gap = Text()
    parts: list[RenderableType] = [_version_facts(version, now), gap, _schema_table(version), gap]
    for title, mapping in (("Metadata", version.metadata), ("Provenance", version.provenance)):
        if mapping:
            parts += [
                Text(title, style="bold"),
                facts([(key, Text(_plain(value))) for key, value in mapping.items()]),
                gap,
            ]
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
    view = table("Schema", flowing("Column"), flowing("Type"), whole("Nulls"))
    for field in schema_of(version):
        view.add_row(Text(field.name), Text(_type_text(field.type)), "may occur" if field.nullable else "never")
    return view


def _type_text(type: pa.DataType) -> str:
    if isinstance(type, pa.FixedShapeTensorType):
        return f"tensor of {type.value_type}[{', '.join(map(str, type.shape))}]"
    return str(type)


def _versions_table(versions: Sequence[Version], shown: Version, now: datetime) -> Table:
    view = table(
        "Versions",
        whole(""),
        whole("Version"),
        number("Lance"),
        whole("State"),
        number("Rows"),
        whole("Made"),
        flowing("Message"),
    )
    for version in versions:
        view.add_row(
            "→" if version.semver == shown.semver else "",
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
    view = table(
        None,
        whole("When"),
        whole("Verb"),
        whole("Version"),
        whole("Before → after"),
        flowing("By"),
        flowing("Message"),
    )
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
