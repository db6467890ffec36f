"""What was expected and what was found, row by row; the last word of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import count
from alluxio_lance.cli.look import flowing, table, whole

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One checked row; ``ok`` is None where there was nothing to check."""

    what: str
    expected: str
    found: str
    ok: bool | None


@dataclass(slots=True)
class Ledger:
    """All rows so far."""

    console: Console
    entries: list[Entry] = field(default_factory=list)

    def check(self, what: str, expected: Any, found: Any, *, ok: bool | None = None) -> None:
        """Compare and remember; ``ok`` says how it went where equality is not the question."""
        self._add(Entry(what, _said(expected), _said(found), expected == found if ok is None else ok))

    def skip(self, what: str, why: str) -> None:
        """Remember what was not done, and why."""
        self._add(Entry(what, "", why, None))

    @property
    def ok(self) -> bool:
        """Whether no row failed, and there are rows."""
        return bool(self.entries) and all(entry.ok is not False for entry in self.entries)

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.console.print(Text.assemble("  ", _mark(entry), f" {entry.what}: ", (entry.found, "bold")), soft_wrap=True)

    def view(self) -> Table:
        """Return the summary."""
        view = table("Summary", whole(""), flowing("What"), flowing("Expected"), flowing("Found"))
        for entry in self.entries:
            view.add_row(_mark(entry), Text(entry.what), Text(entry.expected), Text(entry.found))
        return view


def _said(value: Any) -> str:
    return count(value) if isinstance(value, int) else str(value)


def _mark(entry: Entry) -> Text:
    if entry.ok is None:
        return Text("-", style="yellow")
    return Text("✓", style="green") if entry.ok else Text("✗", style="bold red")
