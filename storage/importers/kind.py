"""What an importer is: what it accepts, its options and the function that opens the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source

__all__ = ["Importer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """An importer of paths."""

    name: str
    accepts: str
    """What it takes, in the words of the message that lists all importers."""
    open: Callable[[Any, Mapping[str, Any]], Source]
    options: Mapping[str, str] = field(default_factory=dict)
    """What each option means, for the message that refuses an unknown one."""

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that this importer does not have."""
        for name in options:
            if name not in self.options:
                known = "; ".join(f"{option}: {meaning}" for option, meaning in self.options.items())
                raise InvalidArgument(
                    f"{self.accepts} has no option {name!r}; " + (f"there are {known}" if known else "there are none")
                )
