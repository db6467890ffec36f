"""The rules as they are now: read from the catalog, parsed once per revision."""

from __future__ import annotations

import threading

from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.lifecycle.rules.document import RuleSet, parse_rules

__all__ = ["RulesBook"]


class RulesBook:
    """The rules over a catalog. Threads may share it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._known: tuple[int, RuleSet] | None = None

    def current(self) -> RuleSet:
        """Return the rules of this moment."""
        now = self._catalog.rules()
        with self._lock:
            if self._known is None or self._known[0] != now.revision:
                # By its types alone: a later release may find faults that this one did not, and must not lock its admin out.
                self._known = now.revision, parse_rules(now.text)
            return self._known[1]
