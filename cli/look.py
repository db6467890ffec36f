"""How tables look: one style for all commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from alluxio_lance.values import State

__all__ = [
    "cut",
    "facts",
    "flowing",
    "meter",
    "number",
    "print_facts",
    "state_text",
    "table",
    "version_column",
    "whole",
]

_COLOURS: Final = {
    State.ACTIVE: "bold green",
    State.REGISTERED: "cyan",
    State.DEPRECATED: "yellow",
    State.ARCHIVED: "blue",
    State.DELETED: "red",
}

_LONGEST_WHOLE: Final = 24


def table(title: str | None, *columns: Column) -> Table:
    """Begin a table: a line under its head, nothing else."""
    return Table(
        *columns,
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def whole(header: str) -> Column:
    """Return a column that is never cut: the others make room for it."""
    return Column(header, no_wrap=True)


def version_column(header: str, names: Iterable[str], longest: int = _LONGEST_WHOLE) -> Column:
    """Return a column of versions or names: whole, unless the name of a branch, for one, is too long for that."""
    return whole(header) if max(map(len, names), default=0) <= longest else flowing(header)


def number(header: str) -> Column:
    """Return a column of numbers, never cut."""
    return Column(header, no_wrap=True, justify="right")


def flowing(header: str) -> Column:
    """Return a column of text that goes on in the next line where room is short."""
    # No least width: rich lets a table grow beyond the screen for it, and cuts its last column.
    return Column(header, overflow="fold")


def cut(text: str, length: int) -> str:
    """Shorten a text that is longer than anybody reads in a table."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Return pairs of a word and what is to say about it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def print_facts(console: Console, rows: Sequence[tuple[str, str | Text]]) -> None:
    """Print pairs of a word and a text that people copy: no line is broken, however long it is."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text.assemble((f"  {name:{width}}  ", "dim"), value), soft_wrap=True)


def meter(parts: Sequence[tuple[float, str]], whole_amount: float, width: int) -> Text:
    """Return a bar of ``width`` characters: each part by its share of the whole, in its colour, then what is left.

    A part that is there at all gets at least one character, so that nobody takes it for nothing.
    """
    drawn, left = Text(), width
    for amount, colour in parts:
        share = round(amount / whole_amount * width) if whole_amount else 0
        length = min(left, max(share, 1 if amount else 0))
        drawn.append("█" * length, colour)
        left -= length
    return drawn.append("░" * left, "dim")


def state_text(state: State) -> Text:
    """Return a state in its colour."""
    return Text(state.value, style=_COLOURS[state])
