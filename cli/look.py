"""How tables look: one style for all commands."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from alluxio_lance.values import State

__all__ = ["facts", "state_text", "table"]

_COLOURS: Final = {
    State.ACTIVE: "bold green",
    State.REGISTERED: "cyan",
    State.DEPRECATED: "yellow",
    State.ARCHIVED: "blue",
    State.DELETED: "red",
}


def table(title: str | None = None) -> Table:
    """Begin a table: a line under its head, nothing else."""
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False
    )


def facts(rows: list[tuple[str, str | Text]]) -> Table:
    """Return pairs of a word and what is to say about it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def state_text(state: State) -> Text:
    """Return a state in its colour."""
    return Text(state.value, style=_COLOURS[state])
