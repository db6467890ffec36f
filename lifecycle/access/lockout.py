"""Whether who changes the rules can change them again."""

from __future__ import annotations

import os

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.access.granting import Question, granted
from alluxio_lance.lifecycle.access.users import name_of
from alluxio_lance.lifecycle.rules import RuleSet
from alluxio_lance.values import Verb

__all__ = ["check_lockout"]


def check_lockout(rules: RuleSet, identity: Identity) -> None:
    """Check that the new rules leave the right to change rules to who sets them: an admin stays.

    The server's own user and root stay admins whatever the rules say.

    Raises
    ------
    InvalidArgument
        When the new rules would take that from him.
    """
    if not granted(rules, _roles_under(rules, identity), Question(verb=Verb.CONFIGURE, labels=dict)):
        raise InvalidArgument(
            f"these rules would take the right to change rules from {identity.actor}, who is about to set them - give "
            "him a role that may, or let another admin set them"
        )


def _roles_under(rules: RuleSet, identity: Identity) -> tuple[str, ...]:
    """Return the roles that somebody will have; only those of the node's users stand in the rules by name."""
    user = identity.actor.rpartition("@")[0]
    if identity.method != "peer" or user in (name_of(0), name_of(os.geteuid())):
        return identity.roles
    return rules.access.users.get(user, rules.access.default)
