"""Tokens and rules as people look at them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import age, until
from alluxio_lance.cli.look import flowing, table, whole
from alluxio_lance.governance import Token

__all__ = ["tokens_view"]


def tokens_view(tokens: Sequence[Token], now: datetime) -> Table:
    """Return one row per token, without its secret."""
    view = table(
        None,
        whole("Id"),
        flowing("Name"),
        flowing("Roles"),
        whole("State"),
        whole("Used"),
        whole("Made"),
        flowing("By"),
    )
    for token in tokens:
        view.add_row(
            token.id,
            Text(token.name),
            ", ".join(token.roles),
            _state(token, now),
            age(token.used_at, now) if token.used_at else Text("never", style="dim"),
            age(token.created_at, now),
            Text(token.created_by),
        )
    return view


def _state(token: Token, now: datetime) -> Text:
    if token.revoked_at is not None:
        return Text(f"revoked {age(token.revoked_at, now)}", style="red")
    if token.expires_at is None:
        return Text("does not expire", style="green")
    if token.expires_at <= now:
        return Text(f"expired {age(token.expires_at, now)}", style="yellow")
    return Text(f"expires {until(token.expires_at, now)}", style="green")
