"""Resources as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.gate_view import stage_text
from alluxio_lance.cli.human import age, count, size, until
from alluxio_lance.cli.look import flowing, number, table, whole
from alluxio_lance.cli.outcome import moment_text
from alluxio_lance.values import Resource

__all__ = ["deleted_view", "list_view"]


def list_view(resources: Sequence[Resource], now: datetime) -> Table:
    """Return one row per resource; stages have a column only where there is one."""
    staged = any(each.active and each.active.stage for each in resources)
    view = table(
        None,
        flowing("Resource"),
        whole("Active"),
        *[whole("Stage")] * staged,
        number("Versions"),
        number("Rows"),
        number("Size"),
        whole("Updated"),
    )
    for resource in resources:
        active = resource.active
        labels = "".join(f"\n{key}={value}" for key, value in sorted(resource.labels.items()))
        view.add_row(
            Text.assemble(f"{resource.type}/{resource.name}", (labels, "dim")),
            Text(active.semver, style="green") if active else Text("none", style="dim"),
            *[stage_text(active.stage if active else None)] * staged,
            count(resource.versions),
            count(active.num_rows) if active else "",
            size(active.num_bytes) if active else "",
            age(resource.updated_at, now),
        )
    return view


def deleted_view(resources: Sequence[Resource], now: datetime) -> Table:
    """Return one row per deleted resource, and until when it can come back."""
    view = table(None, flowing("Resource"), number("Versions"), whole("Deleted"), whole("Purged"), whole("Until"))
    for resource in resources:
        gone = resource.purge_at
        view.add_row(
            f"{resource.type}/{resource.name}",
            count(resource.versions),
            age(resource.updated_at, now),
            Text(until(gone, now), style="red") if gone else "",
            moment_text(gone) if gone else "",
        )
    return view
