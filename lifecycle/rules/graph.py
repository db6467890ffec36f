"""The graph of stages: where a version may go, and who makes way for it."""

from __future__ import annotations

from dataclasses import dataclass

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.rules.document import RuleSet, Stage

__all__ = ["StageGraph"]


@dataclass(frozen=True, slots=True)
class StageGraph:
    """The stages of a rules document."""

    rules: RuleSet

    def edges(self) -> list[tuple[str, str]]:
        """List all edges in the order of the document."""
        return [(name, to) for name, stage in self.rules.stages.items() for to in stage.to]

    def place(self, stage: str | None) -> str:
        """Return the stage that a version counts as; one that was never promoted, as the first."""
        return stage if stage is not None else self.rules.initial_stage

    def target(self, name: str) -> Stage:
        """Find a stage.

        Raises
        ------
        InvalidArgument
            Naming the stages that there are.
        """
        if name not in self.rules.stages:
            raise InvalidArgument(f"there is no stage {name!r}: the rules have {', '.join(self.rules.stages)}")
        return self.rules.stages[name]

    def check_edge(self, origin: str | None, to: str) -> None:
        """Refuse a move that is no edge; staying where one is, is always one.

        Raises
        ------
        InvalidArgument
            Naming the stages that follow.
        """
        self.target(to)
        place = self.place(origin)
        if place == to:
            return
        # A version may hold a stage that the rules do not have any more: then it starts anew.
        stage = self.rules.stages.get(place) or self.rules.stages[self.rules.initial_stage]
        if to not in stage.to:
            follow = ", ".join(stage.to) or "none"
            raise InvalidArgument(
                f"no edge leads from stage {place} to {to}; from {place} a version may go to: {follow}"
            )

    def moving_with_pointer(self, stage: str | None) -> bool:
        """Tell whether a stage goes with the pointer."""
        return stage is not None and stage in self.rules.stages and self.rules.stages[stage].activate
