"""What a verb did to a version, and which command comes next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from alluxio_lance.cli.human import count, size
from alluxio_lance.cli.look import print_facts, state_text
from alluxio_lance.cli.records import schema_of, version_record
from alluxio_lance.cli.session import Session
from alluxio_lance.values import State, Version
from alluxio_lance.weights.rows import is_model

__all__ = ["metric_text", "moment_text", "print_version"]


def print_version(session: Session, done: str, version: Version, *, as_json: bool, then: str | None = None) -> None:
    """Print what a verb made or moved to, and what to do next.

    Parameters
    ----------
    done
        What was done: ``registered``.
    then
        The words of the next command; by default to show the version.
    """
    if as_json:
        session.print_json({"version": version_record(version)})
        return
    subject = f"{version.type}/{version.name}@{version.semver}"
    stage = (f"  stage {version.stage}", "magenta") if version.stage else ""
    session.line(
        done,
        " ",
        (f"{version.type}/{version.name}", "bold"),
        ": ",
        (str(version), "bold"),
        "  ",
        state_text(version.state),
        stage,
    )
    archived = version.state is State.ARCHIVED
    schema = schema_of(version)
    rows: list[tuple[str, str | Text]] = [
        ("rows", count(version.num_rows)),
        ("size", f"{size(version.cold_bytes or 0)} in the cold tier" if archived else size(version.num_bytes)),
        # The columns of a model are those of every model.
        *([] if is_model(schema) else [("columns", ", ".join(field.name for field in schema))]),
        ("uri", version.uri),
    ]
    if version.tags:
        rows.append(("tags", ", ".join(version.tags)))
    if version.metrics:
        rows.append(("metrics", metric_text(version.metrics)))
    following = then or (f"restore {subject}" if archived else f"show {subject}")
    rows.append(("next", Text(f"{session.command} {following}", style="cyan")))
    print_facts(session.out, rows)


def metric_text(metrics: Mapping[str, Any]) -> str:
    """Return metrics in one line: ``accuracy=0.93  loss=0.21``."""
    return "  ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in metrics.items())


def moment_text(at: datetime) -> str:
    """Return a moment to the minute, in the time of this machine, with its zone."""
    local = at.astimezone()
    return f"{local:%Y-%m-%d %H:%M} {'UTC' if local.utcoffset() == UTC.utcoffset(None) else local.tzname()}"
