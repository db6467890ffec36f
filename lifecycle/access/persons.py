"""Whether two names stand for one person: who asks must not approve under his other name.

A user of a node is the same on every node, as in the rules, which know no node. A token stands for whoever made it as
well as for whoever has it now: it was shown to both. Two tokens of one maker may belong to two people, and count as two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from alluxio_lance.governance import Token

__all__ = ["Persons"]

_TOKEN: Final = "token:"  # noqa: S105 - how the names of their bearers begin


class Persons:
    """Compares the names of actors.

    Parameters
    ----------
    tokens
        All that there are, expired and revoked ones too. Several may have one name.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._makers: Mapping[str, set[str]] = _makers(tokens)

    def are_one(self, actor: str, other: str) -> bool:
        """Tell whether two actors may be one person."""
        one, two = _plain(actor), _plain(other)
        return one == two or two in self._behind(one) or one in self._behind(two)

    def _behind(self, actor: str) -> set[str]:
        """Return who made a token, who made the token with which it was made, and so on."""
        found: set[str] = set()
        waiting = [actor]
        while waiting:
            makers = self._makers.get(waiting.pop(), set()) - found
            found |= makers
            waiting.extend(makers)
        return found


def _makers(tokens: Iterable[Token]) -> dict[str, set[str]]:
    makers: dict[str, set[str]] = {}
    for token in tokens:
        makers.setdefault(f"{_TOKEN}{token.name}", set()).add(_plain(token.created_by))
    return makers


def _plain(actor: str) -> str:
    """Return the name without the node; those with a colon (token:, oidc:, automation:) have none."""
    return actor if ":" in actor else actor.rpartition("@")[0] or actor
