"""The states of a version, and which may follow which."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.values import State, Version

__all__ = ["TRANSITIONS", "check_transition"]

# Restore and undelete are no steps of this table: they give a version back the state that it had before.
TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.REGISTERED: frozenset({State.ACTIVE, State.DEPRECATED, State.ARCHIVED, State.DELETED}),
    # A newer version takes the pointer: the old one is registered again, ready for a rollback.
    State.ACTIVE: frozenset({State.REGISTERED, State.DEPRECATED}),
    State.DEPRECATED: frozenset({State.ACTIVE, State.ARCHIVED, State.DELETED}),
    State.ARCHIVED: frozenset({State.DELETED}),
    State.DELETED: frozenset(),
}

_WAY_BACK: Final = {
    State.ACTIVE: "activate another version or deprecate this one first",
    State.ARCHIVED: "restore it first",
    State.DELETED: "undelete it first",
}


def check_transition(version: Version, target: State) -> None:
    """Refuse a step that the table does not allow.

    Raises
    ------
    InvalidArgument
        With the steps that are allowed from here.
    """
    if target in TRANSITIONS[version.state]:
        return
    if version.state is target:
        raise InvalidArgument(f"{version.type}/{version.name} {version.semver} is {target} already")
    allowed = ", ".join(sorted(TRANSITIONS[version.state])) or "nothing"
    hint = f": {_WAY_BACK[version.state]}" if version.state in _WAY_BACK else ""
    raise InvalidArgument(
        f"{version.type}/{version.name} {version.semver} is {version.state} and cannot become {target}; from here it can become {allowed}{hint}"
    )
