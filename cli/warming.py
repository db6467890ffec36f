"""The commands of the cache below the shared memory: cache load, cache free, cache explain."""

from __future__ import annotations

import time

from rich.text import Text
from typer import Context

from alluxio_lance.cli.human import duration, size
from alluxio_lance.cli.options import Json, Selected
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.returning import when_back
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.cli.target import pinned, target
from alluxio_lance.cli.ways_records import explanation_record, share_record
from alluxio_lance.cli.ways_view import explain_view, share_text
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Version
from alluxio_lance.ways import CacheShare

__all__ = ["explain", "free", "load"]


def load(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Bring all files of a version into the cache of Alluxio, before somebody waits for them."""
    session, name = session_of(context), target(resource)
    started = time.monotonic()
    with session.manager() as manager:
        version = pinned(manager, name)

        def work() -> CacheShare:
            with progress_bar(session.err, silent=as_json) as on_progress:
                return manager.warm_resource(name.type, name.name, version.semver, on_progress=on_progress)

        share = when_back(session, manager, name, version.semver, work, silent=as_json)
        seconds = time.monotonic() - started
        if as_json:
            session.print_json({"uri": version.uri, "share": share_record(share), "seconds": seconds})
        else:
            _say_loaded(session, manager, version, share, seconds)


def _say_loaded(
    session: Session, manager: ResourceManager, version: Version, share: CacheShare, seconds: float
) -> None:
    subject = (f"{version.type}/{version.name}@{version.semver}", "bold")
    if manager.explain_resource(version.type, version.name, version.semver).share is None:
        session.line(subject, " needs no loading: there is no cache between its files and this node")
        return
    session.line("loaded ", subject, ": ", share_text(share), f", after {duration(seconds)}")
    if share.cached_bytes < share.bytes:
        missing = (
            f"{size(share.bytes - share.cached_bytes)} did not stay: the cache is too small, or full of pinned files"
        )
        session.line(Text(missing, style="yellow"))


def free(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Let the cache of Alluxio drop the files that no other served version needs; no file is lost."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        version = pinned(manager, name)
        freed = manager.cool_resource(name.type, name.name, version.semver)
    if as_json:
        session.print_json({"uri": version.uri, "freed_bytes": freed})
        return
    subject = (f"{version.type}/{version.name}@{version.semver}", "bold")
    if not freed:
        session.line(subject, " has nothing to free: what is cached of it, other served versions need too")
        return
    session.line("freed ", subject, f": {size(freed)} may leave the cache; its files stay where they are")


def explain(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Tell by which way this node would read each file of a version now, and why."""
    session, name = session_of(context), target(resource)
    with session.manager() as manager:
        version = pinned(manager, name)
        found = manager.explain_resource(name.type, name.name, version.semver)
    if as_json:
        session.print_json({"uri": version.uri, **explanation_record(found)})
        return
    session.line((f"{version.type}/{version.name}@{version.semver}", "bold"))
    session.out.print(explain_view(found))
