"""One move of a version along an edge: what it displaces, what it changes, and that nothing came between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.governance import ACTIVATION, Promotion
from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.lifecycle.rules import RuleSet, StageGraph
from alluxio_lance.lifecycle.states import check_transition
from alluxio_lance.lifecycle.uri import Label, ResourceName
from alluxio_lance.values import State, Version

__all__ = ["Move", "check_unmoved", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move as the catalog stands at one moment."""

    version: Version
    origin: str
    """The stage that the version counts as."""
    to: str
    activates: bool
    """Whether the pointer moves too."""
    holders: tuple[Version, ...]
    """Who holds the stage now, besides the version itself."""
    active: Version | None
    labels: Mapping[str, str]
    sole: bool
    """Whether the stage has one holder."""
    displaced_to: str | None
    latest_holder: Version | None
    """Of the holders, the one that took the stage last."""

    @property
    def current(self) -> Version | None:
        """The version that would be displaced: the holder of the stage, else the active one, unless that is itself."""
        if self.latest_holder is not None:
            return self.latest_holder
        return self.active if self.active is not None and self.active.semver != self.version.semver else None

    @property
    def is_nothing(self) -> bool:
        """Tell whether the version stands where it would go."""
        there = self.to in (ACTIVATION, self.version.stage)
        return there and (not self.activates or self.version.state is State.ACTIVE)

    def stages(self) -> dict[str, str | None]:
        """Return the stages as they are afterwards, where they change."""
        if self.to == ACTIVATION:
            return {}
        displaced = {each.semver: self.displaced_to for each in self.holders} if self.sole else {}
        return {**displaced, self.version.semver: self.to}

    def standing(self) -> dict[str, tuple[State, str | None]]:
        """Return what must still hold of the version when it moves."""
        return {self.version.semver: (self.version.state, self.version.stage)}

    def stage_holders(self) -> dict[str, tuple[str, ...]]:
        """Return who must still hold the stage, if one version alone can."""
        if self.to == ACTIVATION or not self.sole:
            return {}
        mine = (self.version.semver,) if self.version.stage == self.to else ()
        return {self.to: (*(each.semver for each in self.holders), *mine)}

    def still_active(self) -> tuple[str, ...] | None:
        """Return who must still be active: the pointer moves, or the gates compared the version with the active one."""
        if not self.activates and self.latest_holder is not None:
            return None
        return (self.active.semver,) if self.active else ()


def check_unmoved(version: Version, promotion: Promotion) -> None:
    """Refuse to go on with a promotion whose version stands in another stage than when it was asked for.

    Raises
    ------
    InvalidArgument
        Saying where it is.
    """
    if version.stage != promotion.origin:
        now = f"holds stage {version.stage}" if version.stage else "holds no stage any more"
        raise InvalidArgument(f"{version.semver} {now}, and was to move from {promotion.origin or 'no stage'}")


def survey(catalog: Catalog, rules: RuleSet, version: Version, to: str) -> Move:
    """Look how a move would go now.

    Raises
    ------
    InvalidArgument
        When there is no such stage or edge, or the version is in no state to move.
    NotFound
        When the resource is gone.
    """
    resource = catalog.resource(version.type, version.name)
    if resource is None:
        raise NotFound(f"there is no {version.type}/{version.name}: see `alluxio-lance list`")
    graph = StageGraph(rules)
    activates, sole, displaced = True, False, None
    if to != ACTIVATION:
        graph.check_edge(version.stage, to)
        stage = graph.target(to)
        activates, sole, displaced = stage.activate, stage.holders == "one", stage.displaced
    _check_state(version, to, activates=activates)
    holders: tuple[Version, ...] = ()
    if to != ACTIVATION:
        everyone = catalog.versions(version.type, version.name)
        holders = tuple(each for each in everyone if each.stage == to and each.semver != version.semver)
    return Move(
        version=version,
        origin=graph.place(version.stage),
        to=to,
        activates=activates,
        holders=holders,
        active=resource.active,
        labels=resource.labels,
        sole=sole,
        displaced_to=displaced,
        latest_holder=_latest(catalog, version, to, holders),
    )


def _check_state(version: Version, to: str, *, activates: bool) -> None:
    where = f"{version.type}/{version.name} {version.semver}"
    if version.branch and activates:
        raise InvalidArgument(
            f"{where} lies on branch {version.branch}, and only the main line is active: merge it first"
        )
    if version.state in (State.ARCHIVED, State.DELETED):
        back = "restore" if version.state is State.ARCHIVED else "undelete"
        goal = "become active" if to == ACTIVATION else f"go to stage {to}"
        raise InvalidArgument(f"{where} is {version.state} and cannot {goal}: {back} it first")
    if activates and version.state is not State.ACTIVE:
        check_transition(version, State.ACTIVE)


def _latest(catalog: Catalog, version: Version, to: str, holders: tuple[Version, ...]) -> Version | None:
    if len(holders) <= 1:
        return holders[0] if holders else None
    found = catalog.find(ResourceName(version.type, version.name, Label(to)))
    if found.semver in {each.semver for each in holders}:
        return found
    return holders[0]  # the highest: a tag of the same name hides the stage, or the version itself took it last
