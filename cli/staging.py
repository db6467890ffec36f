"""The commands that move versions through the stages: measure, promote, approve, reject, promotions."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from rich.text import Text
from typer import Argument, Context, Option

from alluxio_lance.cli.advising import SHORT, advised
from alluxio_lance.cli.gate_view import promotion_view, promotions_view
from alluxio_lance.cli.governance_records import promotion_record
from alluxio_lance.cli.human import read_duration
from alluxio_lance.cli.options import Json, Message, PromotionId, Reason, RequestId, Selected
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.pairs import json_object, json_pairs
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.cli.target import pinned, selector_of, target, whole_or_nothing
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.governance import Promotion, PromotionState
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.values import Progress

__all__ = ["approve", "measure", "promote", "promotions", "reject"]

WAITING: Final = "waiting for approval"
"""The step that the manager tells while nobody has approved yet."""


def measure(
    context: Context,
    resource: Selected,
    metrics: Annotated[
        list[str] | None,
        Argument(metavar="NAME=VALUE", help="accuracy=0.93, VALUE as JSON or text.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        Option("--file", metavar="FILE", help="A file with a JSON object of metrics; - is stdin.", show_default=False),
    ] = None,
    remove: Annotated[
        list[str] | None, Option("--remove", metavar="NAME", help="Remove a metric; repeat it.", show_default=False)
    ] = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Attach metrics to a version, for gates and people to look at."""
    session, name = session_of(context), target(resource)
    found = (json_object("--file", file) if file else {}) | json_pairs("metric", metrics or ())
    found |= dict.fromkeys(remove or ())
    if not found:
        raise InvalidArgument("there is nothing to measure: give NAME=VALUE, such as accuracy=0.93, or --file FILE")
    with session.manager() as manager:
        version = pinned(manager, name).semver
        made = manager.measure_resource(name.type, name.name, version, found, message=message, request_id=request_id)
    print_version(session, "measured", made, as_json=as_json)


def promote(
    context: Context,
    resource: Selected,
    stage: Annotated[
        str, Argument(metavar="STAGE", help="Where it shall go: validation, production, …", show_default=False)
    ],
    reason: Reason = "",
    wait: Annotated[bool, Option("--wait", help="Wait until the approvals that it needs are there.")] = False,
    timeout: Annotated[
        str | None,
        Option("--timeout", metavar="TIME", help="Wait no longer than 30s, 10m, 2h, …", show_default=False),
    ] = None,
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Move a version to the next stage, if every gate on the way passes; exit code 3 when one does not."""
    session, name = session_of(context), target(resource)
    if timeout is not None and not wait:
        raise InvalidArgument("--timeout goes with --wait: without it the answer comes at once")
    seconds = None if timeout is None else read_duration("--timeout", timeout).total_seconds()
    with session.manager() as manager:
        version = pinned(manager, name).semver
        subject = f"{name.type}/{name.name}@{version}"
        again = [*(["--reason", reason] if reason else []), *(["--wait"] if wait else [])]
        with (
            advised(session, subject, shlex.join(["promote", subject, stage, *again])),
            progress_bar(session.err, silent=as_json) as bar,
        ):
            announce = None if as_json else _announcer(session, manager, subject, stage, bar)
            made = manager.promote_resource(
                name.type,
                name.name,
                version,
                to=stage,
                reason=reason,
                wait=wait,
                timeout=seconds,
                request_id=request_id,
                on_progress=announce,
            )
    print_version(session, "promoted", made, as_json=as_json)


def _announcer(
    session: Session, manager: ResourceManager, subject: str, stage: str, bar: OnProgress | None
) -> OnProgress:
    """Return what says once whom a promotion waits for: a pipeline has no bar, and its log is read by them."""
    said = False

    def announce(progress: Progress) -> None:
        nonlocal said
        if progress.step == WAITING and not said:
            said = True
            name = target(subject)
            for promotion in manager.list_promotions(name.type, name.name, state=PromotionState.WAITING):
                if (promotion.semver, promotion.to) == (selector_of(name), stage):
                    session.err.print(promotion_view(promotion, datetime.now(UTC)))
                    step = f"waits for: {session.command} approve {promotion.id[:SHORT]}"
                    session.err.print(Text(step, style="cyan"), soft_wrap=True)
        if bar is not None:
            bar(progress)

    return announce


def approve(context: Context, promotion: PromotionId, reason: Reason = "", as_json: Json = False) -> None:
    """Say yes to a promotion that waits; the last yes completes it, if the other gates still pass."""
    session = session_of(context)
    with session.manager() as manager:
        decided = manager.approve_promotion(promotion, reason=reason)
    _print_promotion(session, decided, as_json=as_json)


def reject(context: Context, promotion: PromotionId, reason: Reason = "", as_json: Json = False) -> None:
    """Say no to a promotion that waits; it ends as denied."""
    session = session_of(context)
    with session.manager() as manager:
        decided = manager.reject_promotion(promotion, reason=reason)
    _print_promotion(session, decided, as_json=as_json)


def _print_promotion(session: Session, promotion: Promotion, *, as_json: bool) -> None:
    if as_json:
        session.print_json({"promotion": promotion_record(promotion)})
    else:
        session.out.print(promotion_view(promotion, datetime.now(UTC)))


def _nothing(resource: str | None, state: PromotionState | None) -> str:
    about = "" if resource is None else f" of {resource}"
    return f"nothing{about} was promoted yet" if state is None else f"no promotion{about} is {state}"


def promotions(
    context: Context,
    resource: Annotated[
        str | None,
        Argument(metavar="TYPE/NAME", help="Only this resource's, with the reports in full.", show_default=False),
    ] = None,
    state: Annotated[
        PromotionState | None, Option("--state", help="Only those in this state.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List promotions with what the gates said, newest first."""
    session = session_of(context)
    type_, name = whole_or_nothing(resource)
    with session.manager() as manager:
        found = manager.list_promotions(type_, name, state=state)
    if as_json:
        session.print_json({"promotions": [promotion_record(promotion) for promotion in found]})
    elif not found:
        session.line(_nothing(resource, state))
    elif name is None:
        session.out.print(promotions_view(found, datetime.now(UTC)))
    else:
        for number, promotion in enumerate(found):
            session.out.print(*([] if number == 0 else [""]), promotion_view(promotion, datetime.now(UTC)), sep="\n")
