"""What was done to a resource, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.gate_view import route
from alluxio_lance.cli.human import age
from alluxio_lance.cli.look import flowing, table, version_column, whole
from alluxio_lance.governance import ACTIVATION, Promotion, PromotionState
from alluxio_lance.values import Event, Outcome, Verb, Version

__all__ = ["history_view"]


def history_view(
    events: Sequence[Event],
    now: datetime,
    promotions: Sequence[Promotion] = (),
    versions: Sequence[Version] = (),
    *,
    whole_name: bool = False,
) -> Table:
    """Return one row per event, oldest first.

    Parameters
    ----------
    promotions
        Those of the resource: what moved from which stage to which.
    versions
        Those of the resource: which stage each has now.
    whole_name
        Say which resource each row is about.
    """
    promoted = _promoted(events, promotions)
    moves = {sequence: route(promotion) for sequence, promotion in promoted.items()}
    moves |= _rolled_back(events, promoted, {version.semver: version.stage for version in versions})
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


def _promoted(events: Sequence[Event], promotions: Sequence[Promotion]) -> dict[int, Promotion]:
    """Return by event the promotion that it completed.

    A promotion and the event of its move are written in one transaction, at about the same time.
    """
    found: dict[int, Promotion] = {}
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
            found[nearest.sequence] = promotion
    return found


def _rolled_back(
    events: Sequence[Event], promoted: Mapping[int, Promotion], standing: Mapping[str, str | None]
) -> dict[int, str]:
    """Return by event the stage that a rollback took along: ``production: 1.1.0 → 1.0.0``.

    No row says that. But a stage that came to a version with the pointer leaves with it, as long as the rules are the
    same: where the versions stand otherwise now, the rules have changed, and nothing is said.
    """
    found: dict[int, tuple[str, str]] = {}
    holders: dict[str, str] = {}
    for event in events:
        if (promotion := promoted.get(event.sequence)) is not None:
            if event.before != event.after or promotion.to in holders:
                holders[promotion.to] = promotion.semver
        elif event.verb is Verb.ROLLBACK and event.before != event.after and event.semver is not None:
            losing = _short(event.before)
            for stage in [stage for stage, holder in holders.items() if holder == losing]:
                holders[stage] = event.semver
                found[event.sequence] = (stage, f"{stage}: {losing} → {event.semver}")
    certain = {stage for stage, holder in holders.items() if standing.get(holder, stage) == stage}
    return {sequence: text for sequence, (stage, text) in found.items() if stage in certain}


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
