"""A manager whose process dies at a chosen moment, without the cost of a process.

From the moment of death on, every call of its catalog and its store raises `Death`, so that no handler of the manager
can tidy up: what the next one finds is what a killed process leaves between two calls. What a kill leaves *within* a
call is the business of the tests that kill real processes.
"""

from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from alluxio_lance.lifecycle.local import LocalManager


class Death(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """Counts the calls, and says when to die: before the call of a number, or right after it with its answer lost."""

    at: int | None = None
    answered: bool = False
    calls: int = 0
    dead: bool = False
    told: list[str] = field(default_factory=list)

    def meet(self, name: str) -> bool:
        """Count a call; True when it is the last one."""
        if self.dead:
            raise Death(name)
        self.calls += 1
        self.told.append(name)
        self.dead = self.calls == self.at
        if self.dead and not self.answered:
            raise Death(name)
        return self.dead


class Mortal:
    """A port whose calls meet a fate."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in ("guard_commits", "has_cache"):
            # Said once when a manager is made, and what a store is: no steps of any verb.
            return method

        @wraps(method)
        def called(*args: Any, **options: Any) -> Any:
            last = self._fate.meet(name)
            result = method(*args, **options)
            if last:
                raise Death(name)
            return result

        return called


def mortal(catalog: Any, store: Any, fate: Fate) -> LocalManager:
    """Open a manager over ports that live longer than it.

    Its operations are owned by a process that never was (a start time that no process has), so that any other manager
    takes them for a dead one's as soon as this one does not work on them any more.
    """
    manager = LocalManager(Mortal(catalog, fate), Mortal(store, fate), ttl=3600, lock_timeout=0)
    journal = manager._rooms.journal
    journal.owner = replace(journal.owner, started=-1)
    return manager
