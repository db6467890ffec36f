"""The verbs of stages and gates: promote, approve, reject."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from alluxio_lance.errors import InvalidArgument, NotFound, PolicyDenied, Unavailable
from alluxio_lance.governance import ACTIVATION, Promotion, PromotionState
from alluxio_lance.lifecycle.access.persons import Persons
from alluxio_lance.lifecycle.gates.keeper import ending
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.lifecycle.promotion import refusal
from alluxio_lance.lifecycle.rules.document import ApprovalGate
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress, Verb, Version

__all__ = ["StageVerbs"]

_POLL: Final = 0.25
"""Seconds between two looks at a promotion on which somebody decides elsewhere; in this process one is told at once."""


class StageVerbs(Base):
    """Promote, approve, reject."""

    def promote_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        to: str,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        parse_selector(version)
        if to == ACTIVATION:
            # It would be an activation with the right to promote, and that is another one.
            raise InvalidArgument(
                f"{to!r} is no stage: `alluxio-lance activate {type}/{name}@{version}` moves the pointer"
            )
        if timeout is not None and not timeout >= 0:
            raise InvalidArgument(f"timeout is {timeout}: give seconds, 0 or more, or None to wait for ever")
        self._allow(Verb.PROMOTE, type, name, stage=to, request_id=request_id)
        _tell_step(on_progress, "asking gates")
        try:
            return self._version(self._promote(type, name, version, to, reason, request_id))
        except PolicyDenied as denied:
            if not wait or denied.details.get("state") != PromotionState.WAITING:
                raise
            return self._awaited(str(denied.details["promotion"]), timeout, on_progress)

    def _promote(
        self,
        type: str,
        name: str,
        version: str,
        to: str,
        reason: str,
        request_id: str | None,
        *,
        requested_by: str | None = None,
        id: str | None = None,
    ) -> Version | None:
        promoter = self._rooms.promoter
        waiting = promoter.waiting(self._find(type, name, version), to)
        if waiting is not None:
            # Asked for again: whoever approved it so far need not do it once more.
            return self._outcome(promoter.review(self._identity, waiting))
        params = {"version": version, "to": to, "message": reason}

        def work(running: Running) -> Version:
            found = self._find(type, name, version)
            by = requested_by or self._identity.actor
            return promoter.promote(running, found, to, reason, requested_by=by, id=id)

        return self._run(Verb.PROMOTE, type, name, params, request_id, work, locked=False, stage=to)

    def _outcome(self, promotion: Promotion) -> Version:
        if promotion.state is not PromotionState.DONE:
            raise refusal(promotion)
        selector = parse_selector(promotion.semver)
        return self.catalog.find(ResourceName(promotion.type, promotion.name, selector))

    def _awaited(self, id: str, timeout: float | None, on_progress: OnProgress | None) -> Version:
        """Wait until a promotion has ended; who decides on it also moves the version."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ready = False
        while True:
            promotion = self.catalog.promotion(id)
            if promotion.state is not PromotionState.WAITING:
                self._tell()
                return self._version(self._outcome(promotion))
            if ready and _is_ready(promotion):
                # The last approval was recorded, and nobody completes it: that process died in between.
                promotion = self._rooms.promoter.review(self._identity, promotion)
                continue
            ready = _is_ready(promotion)
            # Told each time: over the wire this is how one learns that nobody waits any more.
            _tell_step(on_progress, "waiting for approval")
            left = _POLL if deadline is None else min(_POLL, deadline - time.monotonic())
            if left <= 0:
                raise refusal(promotion)
            with self._rooms.changed:
                self._rooms.changed.wait(left)
            if self._rooms.closed.is_set():
                raise Unavailable("the manager was closed while it waited for an approval: try again", what="manager")

    # -- decisions -----------------------------------------------------------------------------------------------------

    def approve_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        found = self.catalog.promotion(promotion)
        gates = self._gates_of(Verb.APPROVE, found)
        if not gates:
            self._refuse(Verb.APPROVE, found)
        own = self._persons().are_one(found.requested_by, self._identity.actor)
        may = {gate.name: gate for gate in gates if gate.allow_self or not own}
        if not may:
            self._rooms.access.refuse(
                self._identity,
                Verb.APPROVE,
                found.type,
                found.name,
                f"asked for promotion {found.id[:8]} himself: somebody else with the role {gates[0].role} must approve it",
                semver=found.semver,
            )
        return self._decided(found, may, reason, approved=True)

    def reject_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        found = self.catalog.promotion(promotion)
        gates = self._gates_of(Verb.REJECT, found)
        if not gates and found.requested_by != self._identity.actor:
            self._refuse(Verb.REJECT, found)
        return self._decided(found, {gate.name: gate for gate in gates}, reason, approved=False)

    def _persons(self) -> Persons:
        return Persons(self.catalog.tokens())

    def _gates_of(self, verb: Verb, promotion: Promotion) -> list[ApprovalGate]:
        """List the gates of a promotion for which the caller may speak, by his role."""
        stage = None if promotion.to == ACTIVATION else promotion.to
        self._allow(verb, promotion.type, promotion.name, stage=stage, semver=promotion.semver)
        return [
            gate
            for gate in self._rooms.promoter.approval_gates(promotion)
            if self._rooms.access.has_role(self._identity, gate.role)
        ]

    def _refuse(self, verb: Verb, promotion: Promotion) -> None:
        roles = sorted({gate.role for gate in self._rooms.promoter.approval_gates(promotion)})
        who = f"the role {' or '.join(roles)} may" if roles else "no gate asks for an approval any more"
        self._rooms.access.refuse(
            self._identity,
            verb,
            promotion.type,
            promotion.name,
            f"may not {verb} promotion {promotion.id[:8]}: {who}",
            semver=promotion.semver,
            allowed_roles=roles,
        )

    def _decided(
        self, promotion: Promotion, gates: dict[str, ApprovalGate], reason: str, *, approved: bool
    ) -> Promotion:
        decided: list[Promotion] = []

        def decide() -> Version | None:
            promoter = self._rooms.promoter
            same = self._persons().are_one
            decided.append(promoter.decide(self._identity, promotion, gates, reason, approved=approved, same=same))
            exact = ResourceName(promotion.type, promotion.name, parse_selector(promotion.semver))
            try:
                return self.catalog.find(exact)
            except NotFound:
                return None  # deleted since: then the promotion has ended as denied

        verb = Verb.APPROVE if approved else Verb.REJECT
        self._told(verb, promotion.type, promotion.name, reason, decide)
        self._tell()
        return decided[0]

    # -- looking -------------------------------------------------------------------------------------------------------

    def list_promotions(
        self, type: str | None = None, name: str | None = None, *, state: PromotionState | None = None
    ) -> list[Promotion]:
        may: Callable[..., bool] = self._rooms.access.may
        found = self.catalog.promotions(type, name, state=state)
        return [each for each in found if may(self._identity, Verb.READ, each.type, each.name)]


def _is_ready(promotion: Promotion) -> bool:
    """Tell whether every approval that is asked for was given."""
    given = [each for each in promotion.results if each.kind == "approval"]
    enough = all(len(each.details.get("approved_by", ())) >= each.details.get("needed", 1) for each in given)
    return enough and ending(promotion.results) is PromotionState.WAITING


def _tell_step(on_progress: OnProgress | None, step: str) -> None:
    if on_progress is not None:
        on_progress(Progress(step=step))
