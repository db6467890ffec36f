"""How long a transaction is tried again: against other transactions, and while the server is away."""

from __future__ import annotations

import random
import time
from typing import Final

__all__ = ["PATIENCE", "Waiting"]

PATIENCE: Final = 5.0
"""Seconds: longer than a restart of a server or a planned switch to another one takes."""

_ATTEMPTS: Final = 8
_STEP: Final = 0.005
_LONGEST: Final = 0.5


class Waiting:
    """The waits of one unit of work.

    Parameters
    ----------
    patience
        Seconds in all that a server may be away, from the first time that it is missed.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._losses = 0
        self._absences = 0
        self._deadline: float | None = None

    def after_a_loss(self) -> bool:
        """Wait a moment after the transaction lost against another one; False when that happened too often."""
        self._losses += 1
        if self._losses == _ATTEMPTS:
            return False
        _sleep(self._losses)
        return True

    def for_the_server(self) -> bool:
        """Wait a moment for a server that is away; False when patience has run out."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._patience
        if now >= self._deadline:
            return False
        # The first time at once: mostly it is only the connection that is dead.
        if self._absences:
            _sleep(self._absences)
        self._absences += 1
        return True


def _sleep(times: int) -> None:
    # Jitter, so that the two do not meet again.
    time.sleep(random.uniform(0, min(_LONGEST, _STEP * 2**times)))  # noqa: S311 - no secret
