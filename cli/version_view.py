"""One version: its facts, schema, metadata, and its place among its siblings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.gate_view import stage_text
from alluxio_lance.cli.human import age, count, size, until
from alluxio_lance.cli.look import facts, flowing, number, state_text, table, version_column, whole
from alluxio_lance.cli.records import schema_of
from alluxio_lance.cli.ways_view import percent_text, share_text
from alluxio_lance.values import Resource, State, Version
from alluxio_lance.ways import CacheShare

__all__ = ["version_view"]

_LONGEST_NAME: Final = 12
"""Characters of a stage or tag that stay in one line; longer ones flow, since screens are narrow."""


def version_view(
    version: Version,
    resource: Resource | None,
    versions: Sequence[Version],
    now: datetime,
    *,
    share: CacheShare | str | None = None,
    cached: Mapping[str, int] | None = None,
) -> Group:
    """Return a version's facts, schema, metrics and metadata, and its place among its siblings, deleted ones too.

    Parameters
    ----------
    share
        How much of it is cached, or why that is not known; None without a cache.
    cached
        By semantic version how much is cached, 0 to 100, as far as it is known.
    """
    gap = Text()
    parts: list[RenderableType] = [_version_facts(version, resource, now, share), gap, _schema_table(version), gap]
    for title, mapping in (
        ("Metrics", version.metrics),
        ("Metadata", version.metadata),
        ("Provenance", version.provenance),
    ):
        if mapping:
            parts += [
                Text(title, style="bold"),
                facts([(key, Text(_plain(value))) for key, value in mapping.items()]),
                gap,
            ]
    parts.append(_versions_table(versions, version, now, cached or {}))
    return Group(*parts)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _version_facts(version: Version, resource: Resource | None, now: datetime, share: CacheShare | str | None) -> Table:
    rows: list[tuple[str, str | Text]] = [
        ("resource", Text(f"{version.type}/{version.name}", style="bold")),
        ("version", Text.assemble(str(version), " (Lance ", str(version.version), ")")),
        ("state", state_text(version.state)),
    ]
    if version.message:
        rows.append(("message", Text(version.message)))
    rows += _standing(version, resource)
    rows += [
        ("rows", count(version.num_rows)),
        ("size", size(version.num_bytes)),
        *([("cached", Text(share, "yellow") if isinstance(share, str) else share_text(share))] if share else []),
        *_cold(version, now),
        ("made", Text(f"{age(version.created_at, now)} by {version.created_by}")),
        ("read", Text(age(version.read_at, now) if version.read_at else "never")),
        ("uri", Text(version.uri)),
        ("location", Text(version.location)),
        ("hash", Text(version.content_hash)),
    ]
    return facts(rows)


def _standing(version: Version, resource: Resource | None) -> list[tuple[str, str | Text]]:
    """Return what somebody gave it: stage, tags, branch, labels; only what there is."""
    rows: list[tuple[str, str | Text]] = []
    if version.stage:
        rows.append(("stage", stage_text(version.stage)))
    if version.tags:
        rows.append(("tags", Text(", ".join(version.tags), style="cyan")))
    if version.branch:
        rows.append(("branch", Text(version.branch)))
    if resource is not None and resource.labels:
        rows.append(("labels", Text(", ".join(f"{key}={value}" for key, value in sorted(resource.labels.items())))))
    if resource is not None and resource.branches:
        rows.append(("branches", Text(", ".join(resource.branches))))
    return rows


def _cold(version: Version, now: datetime) -> list[tuple[str, str | Text]]:
    if version.state is not State.ARCHIVED:
        return []
    when = age(version.archived_at, now) if version.archived_at else "at an unknown time"
    what = f"{size(version.cold_bytes or 0)} in the cold tier since {when}; it comes back when somebody opens it"
    return [("archived", Text(what, style="blue"))]


def _schema_table(version: Version) -> Table:
    view = table("Schema", flowing("Column"), flowing("Type"), whole("Nulls"))
    for field in schema_of(version):
        view.add_row(Text(field.name), Text(_type_text(field.type)), "may occur" if field.nullable else "never")
    return view


def _type_text(type: pa.DataType) -> str:
    if isinstance(type, pa.FixedShapeTensorType):
        return f"tensor of {type.value_type}[{', '.join(map(str, type.shape))}]"
    return str(type)


def _versions_table(versions: Sequence[Version], shown: Version, now: datetime, cached: Mapping[str, int]) -> Table:
    """Return the siblings; stage and tags, and what is cached, have a column only where there are any."""
    names = [name for each in versions for name in (each.stage or "", *each.tags)]
    named = any(names)
    columns = [
        whole(""),
        version_column("Version", map(str, versions)),
        number("Lance"),
        whole("State"),
        *[version_column("Stage, tags", names, _LONGEST_NAME)] * named,
    ]
    columns += [number("Cached")] * bool(cached)
    view = table("Versions", *columns, number("Rows"), whole("Made"), flowing("Message"))
    for version in versions:
        view.add_row(
            "→" if version.semver == shown.semver else "",
            str(version),
            str(version.version),
            _state(version, now),
            *[_names(version)] * named,
            *[percent_text(cached.get(version.semver))] * bool(cached),
            count(version.num_rows),
            age(version.created_at, now),
            Text(version.message),
        )
    return view


def _names(version: Version) -> Text:
    stage = [stage_text(version.stage)] if version.stage else []
    return Text("\n").join([*stage, *(Text(tag, style="cyan") for tag in version.tags)])


def _state(version: Version, now: datetime) -> Text:
    if version.purge_at is None:
        return state_text(version.state)
    return state_text(version.state).append(f"\npurge {until(version.purge_at, now)}", "dim")
