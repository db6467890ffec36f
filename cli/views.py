"""Resources and events as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.gate_view import route, stage_text
from alluxio_lance.cli.human import age, count, size, until
from alluxio_lance.cli.look import flowing, number, table, version_column, whole
from alluxio_lance.cli.outcome import moment_text
from alluxio_lance.governance import ACTIVATION, Promotion, PromotionState
from alluxio_lance.values import Event, Outcome, Resource, Verb

__all__ = ["deleted_view", "history_view", "list_view"]


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
            Text(str(active), style="green") if active else Text("none", style="dim"),
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


def history_view(
    events: Sequence[Event], now: datetime, promotions: Sequence[Promotion] = (), *, whole_name: bool = False
) -> Table:
    """Return one row per event, oldest first.

    Parameters
    ----------
    promotions
        Those of the resource: what moved from which stage to which.
    whole_name
        Say which resource each row is about.
    """
    moves = _moves(events, promotions)
    moved = flowing("Active, stage" if moves else "Active")
    columns = [whole("When"), whole("Verb"), *[flowing("Resource")] * whole_name]
    columns += [version_column("Version", (event.semver or "" for event in events)), moved]
    view = table(None, *columns, flowing("By, from"), flowing("Message"))
    for event in events:
        view.add_row(
            age(event.at, now),
            _verb(event),
            *[f"{event.type}/{event.name}"] * whole_name,
            event.semver or "all",
            _move(event, moves.get(event.sequence)),
            _by(event),
            Text(event.message),
        )
    return view


def _moves(events: Sequence[Event], promotions: Sequence[Promotion]) -> dict[int, str]:
    """Return by event from which stage to which it moved a version.

    A promotion and the event of its move are written in one transaction, at about the same time.
    """
    found: dict[int, str] = {}
    for promotion in promotions:
        decided = promotion.decided_at
        if promotion.state is not PromotionState.DONE or promotion.to == ACTIVATION or decided is None:
            continue
        candidates = [
            event
            for event in events
            if event.verb is Verb.PROMOTE and event.outcome is Outcome.DONE and event.semver == promotion.semver
        ]
        if candidates:
            nearest = min(candidates, key=lambda event: abs(event.at - decided))
            found[nearest.sequence] = route(promotion)
    return found


def _verb(event: Event) -> Text:
    denied = event.outcome is Outcome.DENIED
    return Text(f"{event.verb.value}{' ✗' if denied else ''}", style="bold red" if denied else "bold")


def _by(event: Event) -> Text:
    return Text(event.actor) if not event.origin else Text.assemble(event.actor, "\n", (event.origin, "dim"))


def _move(event: Event, stage: str | None) -> Text:
    before, after = (_short(name) for name in (event.before, event.after))
    pointer = Text(before, style="dim") if before == after else Text(f"{before} → {after}")
    return pointer if stage is None else Text.assemble(pointer, "\n", (stage, "magenta"))


def _short(full_name: str | None) -> str:
    return full_name.partition("+")[0] if full_name else "none"
