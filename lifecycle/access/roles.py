"""The built-in roles, and what a role grants together with those that it inherits from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from alluxio_lance.lifecycle.rules.document import Grant, Role, RuleSet
from alluxio_lance.values import Verb

__all__ = ["ADMIN", "BUILT_IN", "all_roles", "grants_of", "with_inherited"]

ADMIN: Final = "admin"

BUILT_IN: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "viewer": Role(grants=(Grant(verbs=(Verb.READ,)),)),
        "developer": Role(
            inherits=("viewer",),
            grants=(
                Grant(
                    verbs=(
                        Verb.REGISTER,
                        Verb.UPDATE,
                        Verb.DEPRECATE,
                        Verb.TAG,
                        Verb.UNTAG,
                        Verb.LABEL,
                        Verb.BRANCH,
                        Verb.MERGE,
                        Verb.MEASURE,
                        Verb.PREFETCH,
                        Verb.RESTORE,
                    )
                ),
                # "Up to validation" in the default graph. A graph with other stages needs a role of its own.
                Grant(verbs=(Verb.PROMOTE,), stages=("experiment", "validation")),
            ),
        ),
        "releaser": Role(
            inherits=("developer",),
            grants=(
                Grant(
                    verbs=(
                        Verb.ACTIVATE,
                        Verb.ROLLBACK,
                        Verb.PROMOTE,
                        Verb.APPROVE,
                        Verb.REJECT,
                        Verb.ARCHIVE,
                    )
                ),
            ),
        ),
        ADMIN: Role(inherits=("releaser",), grants=(Grant(verbs=("*",)),)),
    }
)
"""What each may do; their names are taken, so that nobody can make an admin of a viewer by a rule."""


def all_roles(rules: RuleSet) -> dict[str, Role]:
    """Return the built-in roles and those of the rules, by name; a built-in name keeps its built-in meaning."""
    return {**rules.roles, **BUILT_IN}


def with_inherited(rules: RuleSet, roles: Iterable[str]) -> set[str]:
    """Return the roles and all that they inherit from; names that nobody defines stay in it and grant nothing."""
    defined = all_roles(rules)
    found: set[str] = set()
    waiting = list(roles)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(defined[name].inherits if name in defined else ())
    return found


def grants_of(rules: RuleSet, roles: Iterable[str]) -> Iterator[Grant]:
    """Yield what roles grant, inherited grants included."""
    defined = all_roles(rules)
    for name in with_inherited(rules, roles):
        if name in defined:
            yield from defined[name].grants
