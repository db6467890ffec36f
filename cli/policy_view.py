"""What the policies would do, or did, as a table with its sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import count, size
from alluxio_lance.cli.look import flowing, number, table, whole
from alluxio_lance.upkeep import Action, Planned, PolicyPlan

__all__ = ["policy_view"]

_COLOURS: Final = {Action.ARCHIVE: "blue", Action.DELETE: "yellow", Action.PURGE: "red"}
_DONE: Final = "done"


def policy_view(plan: PolicyPlan, *, ran: bool) -> Group:
    """Return one row per version, what it frees, and what stands in the way; after a run also how it went."""
    return Group(_rows(plan, ran=ran), Text(), _totals(plan, ran=ran))


def _rows(plan: PolicyPlan, *, ran: bool) -> Table:
    view = table(
        None,
        whole("Action"),
        flowing("Version"),
        flowing("Policy"),
        flowing("Why"),
        number("Hot"),
        number("Cold"),
        flowing("Outcome" if ran else "Blocked by"),
    )
    for place, row in enumerate(plan.rows):
        idle = row.blocked is not None
        view.add_row(
            Text(row.action.value, style="dim" if idle else _COLOURS[row.action]),
            Text(f"{row.type}/{row.name}" + (f"@{row.semver}" if row.semver else "")),
            Text(row.policy),
            Text(row.reason),
            _moved(-row.frees_hot),
            _moved(row.adds_cold - row.frees_cold),
            _end(row, plan.outcome.get(place)) if ran else _blocked(row),
        )
    return view


def _moved(amount: int) -> Text:
    """Return what a tier gets more (+) or less (-)."""
    if not amount:
        return Text("")
    return Text(f"{'+' if amount > 0 else '-'}{size(abs(amount))}", style="green" if amount < 0 else "")


def _blocked(row: Planned) -> Text:
    if row.blocked is None:
        return Text("")
    holders = ", ".join(_holder(holder) for holder in row.holders)
    return Text(f"{row.blocked}{': ' if holders and holders not in row.blocked else ''}{holders}", style="yellow")


def _holder(holder: Mapping[str, Any]) -> str:
    return f"{holder.get('user')}@{holder.get('node')} process {holder.get('pid')}"


def _end(row: Planned, outcome: str | None) -> Text:
    if outcome == _DONE:
        return Text("✓ done", style="green")
    if row.blocked is not None or outcome is None:
        return _blocked(row) or Text("not begun", style="dim")
    return Text(f"✗ {outcome}", style="red")


def _totals(plan: PolicyPlan, *, ran: bool) -> Text:
    """Sum up what really moves: the blocked rows wait, and so does what failed."""
    counted = [
        row for place, row in enumerate(plan.rows) if (plan.outcome.get(place) == _DONE if ran else row.blocked is None)
    ]
    parts = [
        f"{count(number)} to {action.value}" if not ran else f"{count(number)} {_past(action)}"
        for action in Action
        if (number := sum(row.action is action for row in counted))
    ]
    hot, cold = sum(row.frees_hot for row in counted), sum(row.adds_cold - row.frees_cold for row in counted)
    text = Text.assemble((", ".join(parts) or ("nothing was done" if ran else "nothing can be done now"), "bold"))
    if hot:
        text.append(f": {size(hot)} {'are' if ran else 'get'} free in the hot tier")
    if cold:
        text.append(f", the cold tier {'grew' if cold > 0 else 'shrank'} by {size(abs(cold))}" if ran else _cold(cold))
    waiting = len(plan.rows) - len(counted)
    if waiting:
        text.append(f"; {count(waiting)} wait{'s' if waiting == 1 else ''}", "yellow")
    return text


def _cold(amount: int) -> str:
    return f", the cold tier {'grows' if amount > 0 else 'shrinks'} by {size(abs(amount))}"


def _past(action: Action) -> str:
    return {Action.ARCHIVE: "archived", Action.DELETE: "deleted", Action.PURGE: "purged"}[action]
