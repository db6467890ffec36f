"""The commands that give names: tag, untag, label, branch, unbranch, merge."""

from __future__ import annotations

from typing import Annotated

from rich.text import Text
from typer import Argument, Context, Option

from alluxio_lance.cli.advising import advised
from alluxio_lance.cli.look import print_facts
from alluxio_lance.cli.options import Bump, Json, Message, RequestId, Selected, Target
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.pairs import text_pairs
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.records import resource_record
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import pinned, plain_target, selector_of, target
from alluxio_lance.errors import InvalidArgument

__all__ = ["branch", "label", "merge", "tag", "unbranch", "untag"]

_Branch = Annotated[
    str, Argument(metavar="BRANCH", help="Letters, digits and '-', a letter first.", show_default=False)
]
_Tag = Annotated[str, Argument(metavar="TAG", help="What stands behind the @: golden.", show_default=False)]


def tag(
    context: Context,
    resource: Selected,
    tag: _Tag,
    move: Annotated[bool, Option("--move", help="Take it away from the version that has it.")] = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Give a version a tag, TYPE/NAME@TAG from now on; no policy archives or deletes a tagged version."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        version = pinned(manager, name).semver
        made = manager.tag_resource(
            name.type, name.name, version, tag, move=move, message=message, request_id=request_id
        )
    print_version(session, f"gave the tag {tag} to", made, as_json=as_json, then=f"show {name.type}/{name.name}@{tag}")


def untag(
    context: Context,
    resource: Target,
    tag: _Tag,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Take a tag away from the version that has it."""
    session, name = session_of(context), plain_target(resource)
    with session.manager() as manager:
        made = manager.untag_resource(name.type, name.name, tag, message=message, request_id=request_id)
    print_version(session, f"took the tag {tag} from", made, as_json=as_json)


def label(
    context: Context,
    resource: Target,
    labels: Annotated[
        list[str] | None, Argument(metavar="KEY=VALUE", help="team=vision; VALUE is text.", show_default=False)
    ] = None,
    remove: Annotated[
        list[str] | None, Option("--remove", metavar="KEY", help="Remove a label; repeat it.", show_default=False)
    ] = None,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Set labels of a resource, to find and to govern it by."""
    session, name = session_of(context), plain_target(resource)
    wanted: dict[str, str | None] = {**text_pairs("label", labels or ()), **dict.fromkeys(remove or ())}
    if not wanted:
        raise InvalidArgument("there is nothing to label: give KEY=VALUE, such as team=vision, or --remove KEY")
    with session.manager() as manager:
        made = manager.label_resource(name.type, name.name, wanted, message=message, request_id=request_id)
    if as_json:
        session.print_json({"resource": resource_record(made)})
        return
    session.line("labelled ", (f"{made.type}/{made.name}", "bold"))
    rows: list[tuple[str, str | Text]] = [(key, Text(value)) for key, value in sorted(made.labels.items())]
    print_facts(session.out, rows or [("labels", "none")])


def branch(
    context: Context,
    resource: Selected,
    branch: _Branch,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Begin a branch at a version, by default the active one: its own line of versions, which shares the data."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        made = manager.branch_resource(
            name.type, name.name, branch, version=selector_of(name), message=message, request_id=request_id
        )
    following = f"update {name.type}/{name.name} DATA --branch {branch}"
    print_version(session, f"began branch {branch} of", made, as_json=as_json, then=following)


def unbranch(
    context: Context,
    resource: Target,
    branch: _Branch,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Remove a branch with its versions; refused while somebody reads one of them."""
    session, name = session_of(context), plain_target(resource)
    with session.manager() as manager:
        manager.unbranch_resource(name.type, name.name, branch, message=message, request_id=request_id)
    if as_json:
        session.print_json({"unbranched": {"type": name.type, "name": name.name, "branch": branch}})
    else:
        session.line("removed branch ", (branch, "bold"), " of ", (f"{name.type}/{name.name}", "bold"))


def merge(
    context: Context,
    resource: Target,
    branch: _Branch,
    bump: Bump = None,
    no_activate: Annotated[
        bool, Option("--no-activate", help="Keep it aside: readers go on with the version before.")
    ] = False,
    message: Message = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Make the newest version of a branch the next version of the main line."""
    session, name = session_of(context), plain_target(resource)
    subject = f"{name.type}/{name.name}"
    with (
        session.manager() as manager,
        advised(session, subject, f"activate {subject}@VERSION"),
        progress_bar(session.err, silent=as_json) as on_progress,
    ):
        made = manager.merge_resource(
            name.type,
            name.name,
            branch,
            bump=bump,
            activate=not no_activate,
            message=message,
            request_id=request_id,
            on_progress=on_progress,
        )
    print_version(session, f"merged {branch} into", made, as_json=as_json)
