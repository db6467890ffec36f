"""Which version of each resource is active, and which were before: what the cache wants to keep.

Versions go by their semantic version, since numbers of the Lance table come again on each branch.
"""

from __future__ import annotations

from alluxio_lance.sidecar.statistics import Role

__all__ = ["Pointers"]

Resource = tuple[str, str]


class Pointers:
    """The active version of every resource and the previous ones that stay hot.

    Parameters
    ----------
    keep_previous
        How many previous versions stay, per resource.
    """

    def __init__(self, keep_previous: int) -> None:
        self._keep = keep_previous
        self._active: dict[Resource, str] = {}
        self._previous: dict[Resource, list[str]] = {}

    def move(self, type: str, name: str, semver: str | None) -> list[str]:
        """Move a pointer and return the versions that are no longer wanted.

        Without an active version (None: it was deprecated) nothing is instantly rolled back to, so the version that
        was active is not kept as a previous one.
        """
        resource = type, name
        old = self._active.get(resource)
        if old == semver:
            return []
        previous = [one for one in self._previous.get(resource, []) if one not in (old, semver)]
        if semver is None:
            del self._active[resource]
        else:
            self._active[resource] = semver
        if old is not None and semver is not None:
            previous.insert(0, old)
        self._previous[resource] = previous[: self._keep]
        dropped = previous[self._keep :]
        return [old, *dropped] if old is not None and semver is None else dropped

    def strike(self, type: str, name: str, semver: str) -> None:
        """Keep a version no longer for a rollback."""
        previous = self._previous.get((type, name), [])
        if semver in previous:
            previous.remove(semver)

    def forget(self, type: str, name: str) -> None:
        """Forget a resource."""
        self._active.pop((type, name), None)
        self._previous.pop((type, name), None)

    def role(self, type: str, name: str, semver: str) -> Role | None:
        """Return ``ACTIVE``, ``PREVIOUS`` or None."""
        if self._active.get((type, name)) == semver:
            return Role.ACTIVE
        return Role.PREVIOUS if semver in self._previous.get((type, name), ()) else None
