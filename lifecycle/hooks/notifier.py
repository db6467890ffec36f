"""Tells those whom the rules name, each in a thread of its own."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog

from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.hooks.lines import Line
from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.rules.document import Hook, RuleSet
from alluxio_lance.values import Verb

__all__ = ["Notifier", "NotifierStatistics"]

_log = structlog.get_logger(__name__)

_PATIENCE: Final = 3.0
"""Seconds that the end waits for what is still to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierStatistics:
    """What became of the news, since this notifier began."""

    waiting: int
    """To be told, or being told."""
    delivered: int
    failed: int
    """Given up, after all retries."""
    dropped: int
    """Never tried: too many waited already, or the end came."""
    hooks: int
    """Hooks that have been told anything: each has a thread."""


class Notifier:
    """All hooks, over the rules. Calls return at once, and never raise. No thread runs before a hook is told something."""

    def __init__(self, book: RulesBook, catalog: Catalog) -> None:
        self._book = book
        self._catalog = catalog
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._closed = False

    def before(
        self,
        verb: Verb,
        type: str,
        name: str,
        identity: Identity,
        *,
        message: str,
        rules: RuleSet | None = None,
    ) -> None:
        """Tell that a verb begins; ``rules`` are those of this moment, if the caller has just read them."""
        self._tell("before", verb, type, name, identity, {"message": message}, rules)

    def after(
        self,
        verb: Verb,
        type: str,
        name: str,
        identity: Identity,
        *,
        message: str,
        semver: str | None,
        error: str | None,
        rules: RuleSet | None = None,
    ) -> None:
        """Tell how a verb ended; ``rules`` as in `before`."""
        said = {"message": message, "version": semver, "error": error}
        self._tell("after", verb, type, name, identity, said, rules)

    def _tell(
        self,
        when: Literal["before", "after"],
        verb: Verb,
        type: str,
        name: str,
        identity: Identity,
        said: Mapping[str, Any],
        rules: RuleSet | None,
    ) -> None:
        try:
            rules = rules or self._book.current()
            hooks = [hook for hook in rules.hooks if self._listens(hook, when, verb, type, name)]
            if not hooks:
                return
            news = {
                "id": uuid.uuid4().hex,
                "at": datetime.now(UTC).isoformat(),
                "when": when,
                "verb": str(verb),
                "type": type,
                "name": name,
                "actor": identity.actor,
                "origin": identity.origin,
                **said,
            }
            for hook in hooks:
                self._line(hook.name).put(hook, news)
        except Exception:  # noqa: BLE001 - whoever is told cannot stop a verb, nor can the telling
            _log.warning("hooks could not be told", verb=str(verb), type=type, name=name, exc_info=True)

    def _listens(self, hook: Hook, when: str, verb: Verb, type: str, name: str) -> bool:
        if hook.when != when or (hook.verbs and verb not in hook.verbs):
            return False
        return hook.covers(type, name, self._labels(type, name) if hook.labels else {})

    def _labels(self, type: str, name: str) -> dict[str, str]:
        resource = self._catalog.resource(type, name) or self._catalog.resource(type, name, deleted=True)
        return dict(resource.labels) if resource else {}

    def _line(self, name: str) -> Line:
        with self._lock:
            if name not in self._lines:
                self._lines[name] = Line(name, closed=self._closed)
            return self._lines[name]

    def statistics(self) -> NotifierStatistics:
        """Count what became of the news."""
        with self._lock:
            counts = [line.counts() for line in self._lines.values()]
        waiting, delivered, failed, dropped = (
            (sum(column) for column in zip(*counts, strict=True)) if counts else (0,) * 4
        )
        return NotifierStatistics(
            waiting=waiting, delivered=delivered, failed=failed, dropped=dropped, hooks=len(counts)
        )

    def close(self) -> None:
        """Deliver what waits, for a short while, and end; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            lines = list(self._lines.values())
        for line in lines:
            line.end()
        deadline = time.monotonic() + _PATIENCE
        for line in lines:
            line.join(max(deadline - time.monotonic(), 0))
