"""The users of this node: their names, and the roles that the rules give them."""

from __future__ import annotations

import os
import pwd

from alluxio_lance.lifecycle.access.roles import ADMIN
from alluxio_lance.lifecycle.rules import RuleSet

__all__ = ["is_owner", "name_of", "roles_of"]


def name_of(uid: int) -> str:
    """Return the name of a user; ``uid1234`` when the node knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"


def is_owner(uid: int) -> bool:
    """Tell whether the system is this user's own: root's, and that of the user whom this process runs as."""
    return uid in (0, os.geteuid())


def roles_of(user: str, uid: int, rules: RuleSet) -> tuple[str, ...]:
    """Return the roles of a user of this node; owners are admins whatever the rules say: nobody can lock them out."""
    return (ADMIN,) if is_owner(uid) else rules.access.users.get(user, rules.access.default)
