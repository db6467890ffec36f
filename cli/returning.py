"""Versions that come back from the cold tier while a command waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich.text import Text

from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import Session
from alluxio_lance.errors import InvalidArgument, Restoring
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.manager import ResourceManager

__all__ = ["check_wait", "wait_for", "when_back"]

Result = TypeVar("Result")


def check_wait(session: Session, *, wait: bool) -> None:
    """Refuse not to wait where nobody would go on.

    Raises
    ------
    InvalidArgument
        On a folder: what this process has begun ends with it.
    """
    if not wait and session.embedded is not None:
        raise InvalidArgument(
            "--no-wait needs a sidecar, which goes on when this command has ended: with --embedded leave it out"
        )


def wait_for(session: Session, name: ResourceName, version: str) -> str:
    """Return the command that waits for a version."""
    return f"wait for it: {session.command} restore {name.type}/{name.name}@{version}"


def when_back(
    session: Session,
    manager: ResourceManager,
    name: ResourceName,
    selector: str | None,
    work: Callable[[], Result],
    *,
    wait: bool = True,
    silent: bool = False,
) -> Result:
    """Do something with a version; when it is archived, wait with a bar until it is back, and do it then.

    Raises
    ------
    Restoring
        Without ``wait``, as soon as its return is under way.
    """
    try:
        return work()
    except Restoring as restoring:
        if not wait:
            restoring.add_note(wait_for(session, name, str(restoring.details.get("semver") or selector)))
            raise
        # The error names the version: a rollback, for one, goes to a version that the command did not name.
        semver = str(restoring.details.get("semver") or selector)
    if not silent:
        notice = f"{name.type}/{name.name} {semver} comes back from the cold tier first"
        session.err.print(Text(notice, style="blue"), soft_wrap=True)
    with progress_bar(session.err, silent=silent) as on_progress:
        manager.restore_resource(name.type, name.name, semver, on_progress=on_progress)
    return work()
