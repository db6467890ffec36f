"""The commands of the upkeep: policy plan and run, reconcile, alert."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from rich.text import Text
from typer import Argument, Context, Exit, Typer

from alluxio_lance.cli.history_view import history_view
from alluxio_lance.cli.look import flowing, table, whole
from alluxio_lance.cli.options import Json
from alluxio_lance.cli.pairs import json_object
from alluxio_lance.cli.policy_view import policy_view
from alluxio_lance.cli.records import event_record
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.cli.target import whole_or_nothing
from alluxio_lance.cli.upkeep_records import finding_record, plan_record
from alluxio_lance.upkeep import PolicyPlan

__all__ = ["alert", "policy", "reconcile"]

policy = Typer(help="Archive, delete and purge by the rules.", no_args_is_help=False)

_Part = Annotated[
    str | None,
    Argument(metavar="TYPE[/NAME]", help="Only this type, or this resource; by default all.", show_default=False),
]
_OUTCOMES = {"completed": "green", "settled": "green", "undone": "yellow", "failed": "bold red"}


def _print_plan(session: Session, plan: PolicyPlan, *, ran: bool, as_json: bool) -> None:
    if as_json:
        session.print_json(plan_record(plan))
    elif plan.rows:
        session.out.print(policy_view(plan, ran=ran))
    else:
        session.line("the policies have nothing to do", (f"; see {session.command} rules show", "dim"))


@policy.command("plan")
def plan_(context: Context, part: _Part = None, as_json: Json = False) -> None:
    """Show what the policies would do now, how many bytes that frees, and what stands in the way; changes nothing."""
    session, (type_, name) = session_of(context), whole_or_nothing(part)
    with session.manager() as manager:
        plan = manager.plan_policies(type_, name)
    _print_plan(session, plan, ran=False, as_json=as_json)


@policy.command()
def run(context: Context, part: _Part = None, as_json: Json = False) -> None:
    """Do now what `policy plan` shows, as the janitor does from time to time; exit code 1 when some of it failed."""
    session, (type_, name) = session_of(context), whole_or_nothing(part)
    with session.manager() as manager:
        plan = manager.run_policies(type_, name)
    _print_plan(session, plan, ran=True, as_json=as_json)
    if any(outcome != "done" and plan.rows[place].blocked is None for place, outcome in plan.outcome.items()):
        raise Exit(1)


def reconcile(context: Context, as_json: Json = False) -> None:
    """Complete or undo what dead processes left, and report it; exit code 1 when something could not be mended."""
    session = session_of(context)
    with session.manager() as manager:
        findings = manager.reconcile()
    if as_json:
        session.print_json({"findings": [finding_record(finding) for finding in findings]})
    elif not findings:
        session.line(("nothing was left behind", "bold green"))
    else:
        view = table(None, whole("Operation"), whole("Verb"), flowing("Resource"), whole("Outcome"), flowing("Why"))
        for finding in findings:
            view.add_row(
                finding.operation[:8],
                Text(finding.verb.value, style="bold"),
                f"{finding.type}/{finding.name}",
                Text(finding.outcome, style=_OUTCOMES.get(finding.outcome, "")),
                Text(finding.reason),
            )
        session.out.print(view)
    if any(finding.outcome == "failed" for finding in findings):
        raise Exit(1)


def alert(
    context: Context,
    file: Annotated[
        Path,
        Argument(metavar="FILE", help="The JSON of Alertmanager's webhook; - is stdin.", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Hand an alert in, as Alertmanager does, and do what the rules say about it: roll back, for one."""
    session = session_of(context)
    found = json_object("alert", file)
    with session.manager() as manager:
        events = manager.alert(found)
    if as_json:
        session.print_json({"events": [event_record(event) for event in events]})
    elif events:
        session.out.print(history_view(events, datetime.now(UTC), whole_name=True))
    else:
        session.line("no rule has anything to do about this alert")
