"""The reports of gates and the promotions that they belong to, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.advising import SHORT
from alluxio_lance.cli.governance_records import gate_record
from alluxio_lance.cli.human import age, duration
from alluxio_lance.cli.look import facts, flowing, number, table, whole
from alluxio_lance.governance import ACTIVATION, Promotion, PromotionState, Verdict

__all__ = ["gate_table", "promotion_view", "promotions_view", "route", "stage_text"]

_MARKS: Final = {
    Verdict.PASSED: ("✓", "green"),
    Verdict.FAILED: ("✗", "bold red"),
    Verdict.ERROR: ("!", "bold magenta"),
    Verdict.WAITING: ("…", "yellow"),
}
_STATES: Final = {PromotionState.DONE: "green", PromotionState.DENIED: "red", PromotionState.WAITING: "yellow"}


def gate_table(report: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per gate, from the JSON of its report."""
    view = table(
        None, whole(""), whole("Gate"), whole("Kind"), whole("Verdict"), flowing("What it says"), number("Took")
    )
    for result in report:
        mark, colour = _MARKS[Verdict(result["verdict"])]
        seconds = result.get("seconds") or 0.0
        view.add_row(
            Text(mark, colour),
            Text(str(result["gate"]), style="bold"),
            Text(str(result["kind"])),
            Text(str(result["verdict"]), colour),
            Text(str(result.get("summary", ""))),
            duration(seconds) if seconds >= 0.001 else "",  # noqa: PLR2004 - less than a millisecond is nothing to tell
        )
    return view


def stage_text(stage: str | None) -> Text:
    """Return a stage in its colour; what holds none shows nothing."""
    return Text(stage or "", style="bold green" if stage == "production" else "magenta")


def route(promotion: Promotion) -> str:
    """Return from where to where a promotion leads: ``validation → production``."""
    if promotion.to == ACTIVATION:
        return "activation"
    return f"{promotion.origin or 'no stage'} → {promotion.to}"


def _state(state: PromotionState) -> Text:
    return Text(state.value, style=_STATES[state])


def promotion_view(promotion: Promotion, now: datetime) -> Group:
    """Return everything about one promotion."""
    rows: list[tuple[str, str | Text]] = [
        ("promotion", Text(promotion.id[:SHORT], style="bold")),
        ("version", Text(f"{promotion.type}/{promotion.name}@{promotion.semver}")),
        ("move", Text(route(promotion))),
        ("state", _state(promotion.state)),
        ("asked for", Text(f"{age(promotion.created_at, now)} by {promotion.requested_by}")),
    ]
    if promotion.reason:
        rows.append(("reason", Text(promotion.reason)))
    rows += [
        (
            "approved" if each.approved else "rejected",
            Text(f"{age(each.at, now)} by {each.by}{': ' if each.reason else ''}{each.reason}"),
        )
        for each in promotion.decisions
    ]
    parts: list[RenderableType] = [facts(rows)]
    if promotion.results:
        parts += [Text(), gate_table([gate_record(result) for result in promotion.results])]
    return Group(*parts)


def promotions_view(promotions: Sequence[Promotion], now: datetime) -> Table:
    """Return one row per promotion, with a mark per gate and what stopped it."""
    view = table(
        None, whole("Id"), flowing("Version and move"), whole("State"), flowing("Gates"), flowing("By"), whole("When")
    )
    for promotion in promotions:
        view.add_row(
            promotion.id[:SHORT],
            Text.assemble(f"{promotion.type}/{promotion.name}@{promotion.semver}\n", (route(promotion), "magenta")),
            _state(promotion.state),
            _gates(promotion),
            Text(promotion.requested_by),
            age(promotion.created_at, now),
        )
    return view


def _gates(promotion: Promotion) -> Text:
    """Return a line per gate that stands in the way, and one for all that passed."""
    lines = [
        Text.assemble((f"{_MARKS[result.verdict][0]} ", _MARKS[result.verdict][1]), result.gate)
        for result in promotion.results
        if result.verdict is not Verdict.PASSED
    ]
    passed = len(promotion.results) - len(lines)
    if passed:
        lines.append(Text.assemble(("✓ ", "green"), f"{passed} passed"))
    return Text("\n").join(lines)
