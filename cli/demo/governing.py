"""The chapter about stages and the cold tier: a gate that blocks, a way back, an archive that comes back by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from alluxio_lance.cli.demo.ledger import Ledger
from alluxio_lance.cli.human import size
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.errors import PolicyDenied
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import State, Version

__all__ = ["Governing"]

_GATE: Final = "metrics.accuracy >= 0.92"
_RULES: Final = f"""
[[gates]]
name = "good-enough"
kind = "expectation"
on = ["* -> production"]
require = ["{_GATE}"]
"""
_BAD, _GOOD, _FIRST = 0.90, 0.97, 0.95
"""What is said to have been measured: the chapter is about the gate."""
_NOTE: Final = 4096
"""Bytes that the table's new latest version may take, where the archived one was the latest."""


@dataclass(frozen=True, slots=True)
class Governing:
    """The chapter, on the two versions that the chapters before have left; 1.0.0 is active."""

    console: Console
    ledger: Ledger
    manager: ResourceManager
    name: str

    def promote(self) -> None:
        """Let a gate block a promotion, pass it, and go back."""
        self.manager.set_rules(_RULES, message="the demo's gate")
        self._to_production("1.0.0", _FIRST)
        self._move("1.1.0", "validation")
        report = self._refused("1.1.0")
        self.ledger.check(f"accuracy {_BAD} at the gate {_GATE}", "failed", report)
        passed = self._measured("1.1.0", _GOOD)
        self.ledger.check(f"accuracy {_GOOD}: 1.1.0 is", "active in production", _standing(passed))
        back = self.manager.rollback_resource("datasets", self.name, message="it was bad after all")
        self.ledger.check("one rollback later 1.0.0 is", "active in production", _standing(back))
        verbs = [event.verb.value for event in self.manager.history("datasets", self.name)]
        self.ledger.check("the end of the history", "promote, rollback", ", ".join(verbs[-2:]))

    def archive(self) -> None:
        """Move a version to the cold tier, and open it as if nothing had been."""
        before = self.manager.storage("datasets", self.name)
        alone = next(each.unique_bytes for each in before.versions if each.semver == "1.1.0")
        with progress_bar(self.console) as on_progress:
            archived = self.manager.archive_resource("datasets", self.name, "1.1.0", on_progress=on_progress)
        after = self.manager.storage("datasets", self.name)
        text = (
            f"  {size(archived.cold_bytes or 0)} lie in the cold tier, where 1.1.0 is whole; the hot one shares files"
        )
        self.console.print(Text(text), soft_wrap=True)
        freed = before.table_bytes - after.table_bytes
        ok = 0 <= alone - freed <= _NOTE
        self.ledger.check("archived, 1.1.0 frees in the hot tier", f"about {size(alone)}", size(freed), ok=ok)
        with progress_bar(self.console) as on_progress:
            opened = self.manager.get_resource("datasets", self.name, "1.1.0", wait=True, on_progress=on_progress)
        self.ledger.check(
            "opened again, 1.1.0 came back by itself", archived.content_hash[:12], opened.content_hash[:12]
        )
        self.ledger.check("its state is", State.REGISTERED.value, opened.state.value)

    def _to_production(self, semver: str, accuracy: float) -> None:
        self._move(semver, "validation")
        self._measured(semver, accuracy)

    def _move(self, semver: str, stage: str) -> Version:
        return self.manager.promote_resource("datasets", self.name, semver, to=stage, reason="the demo")

    def _measured(self, semver: str, accuracy: float) -> Version:
        self.manager.measure_resource("datasets", self.name, semver, {"accuracy": accuracy})
        return self._move(semver, "production")

    def _refused(self, semver: str) -> str:
        try:
            self._measured(semver, _BAD)
        except PolicyDenied as denied:
            # Not the table of `promote`: its mark would look like a row of the demo that went wrong.
            self.console.print(Text(f"  {denied.message}", style="dim"), soft_wrap=True)
            return str(denied.details["report"][0]["verdict"])
        return "passed"


def _standing(version: Version) -> str:
    return f"{version.state} in {version.stage}"
