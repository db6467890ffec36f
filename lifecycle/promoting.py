"""How a version moves along an edge of the stage graph: gates, approvals, and the move.

A promotion is judged outside of any transaction, and the move itself is one commit that takes place only if nothing came
between: then it is judged anew. Its record is written with the move, or by itself when it was denied or waits, so that a
crash leaves the one or the other. A promotion that waits is worked on by one process at a time: an operation with its id
as request id stands for it.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, Conflict, Internal, InvalidArgument, NotFound, PolicyDenied
from alluxio_lance.governance import ACTIVATION, Identity, Promotion, PromotionState
from alluxio_lance.lifecycle.gates import GateKeeper
from alluxio_lance.lifecycle.gates.keeper import sentence
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.moving import Move, check_unmoved, survey
from alluxio_lance.lifecycle.ports import Change, Denial, Operation, OperationState
from alluxio_lance.lifecycle.promotion import asked, case_of, denied, ended_already, judged_by, refusal, with_decision
from alluxio_lance.lifecycle.reconcile import Reconciler
from alluxio_lance.lifecycle.rules import RulesBook, StageGraph
from alluxio_lance.lifecycle.rules.document import ApprovalGate
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import Verb, Version

__all__ = ["Promoter"]

_log = structlog.get_logger(__name__)

_TRIES: Final = 10
"""How often a move is judged anew because another one came between."""
_PATIENCE: Final = 60.0
"""Seconds to wait for another process that works on the same promotion."""
_POLL: Final = 0.1


class Promoter:
    """Promote, activate, approve and reject over a journal. Threads may share it."""

    def __init__(self, journal: Journal, gates: GateKeeper, book: RulesBook, reconciler: Reconciler) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._gates = gates
        self._book = book
        self._reconciler = reconciler

    # -- inside an operation -------------------------------------------------------------------------------------------

    def promote(
        self, running: Running, version: Version, to: str, reason: str, *, requested_by: str, id: str | None = None
    ) -> Version:
        """Move a version to a stage, if every gate lets it. ``id`` is the promotion's, where it must not be any.

        Raises
        ------
        PolicyDenied
            When a gate says no, cannot be asked, or waits for somebody; the promotion is kept.
        InvalidArgument
            When there is no such edge, or the version is in no state to move.
        Conflict
            When other moves come between again and again.
        """
        return self._attempt(running, asked(version, to, reason, requested_by, id))

    def activate_within(self, running: Running, version: Version, reason: str) -> Version:
        """Move the pointer to a version, if every gate on activation lets it; the errors are those of `promote`."""
        return self._attempt(running, asked(version, ACTIVATION, reason, running.operation.actor))

    # -- an operation of their own -------------------------------------------------------------------------------------

    def activation_guarded(self, type: str, name: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a gate has to be asked before a version of a resource becomes active."""
        return self._gates.guards_activation(type, name, labels)

    def activate(self, identity: Identity, version: Version, reason: str) -> Version:
        """Make a version active that came in as registered.

        Raises
        ------
        PolicyDenied
            When a gate on activation says no: it stays registered.
        """
        params = {"version": version.semver, "message": reason}
        operation, _ = self._journal.begin(
            Verb.ACTIVATE, version.type, version.name, identity=identity, params=params, request_id=None
        )
        with self._working(operation) as running:
            return self.activate_within(running, self._exact(version), reason)

    def waiting(self, version: Version, to: str) -> Promotion | None:
        """Find the promotion of a version to a stage that waits."""
        found = self._catalog.promotions(version.type, version.name, state=PromotionState.WAITING)
        return next((each for each in found if (each.semver, each.to) == (version.semver, to)), None)

    def review(self, identity: Identity, promotion: Promotion) -> Promotion:
        """Judge a promotion that waits once more, and complete it if nothing is missing; return how it stands then.

        Raises
        ------
        Conflict
            When another process judges it for too long.
        """
        try:
            with self._alone(identity, promotion) as running:
                self._retry(running, self._still_waiting(promotion.id))
        except Conflict:
            if self._catalog.promotion(promotion.id).state is PromotionState.WAITING:
                raise  # else somebody else ended it at this very moment
        return self._catalog.promotion(promotion.id)

    def approval_gates(self, promotion: Promotion) -> list[ApprovalGate]:
        """List the gates that ask for people on the way of a promotion, wherever its version is by now."""
        rules = self._book.current()
        resource = self._catalog.resource(promotion.type, promotion.name)
        gates = self._gates.on_edge(
            promotion.type,
            promotion.name,
            resource.labels if resource else {},
            StageGraph(rules).place(promotion.origin),
            promotion.to,
            activates=StageGraph(rules).moving_with_pointer(promotion.to),
        )
        return [gate for gate in gates if isinstance(gate, ApprovalGate)]

    def decide(
        self,
        identity: Identity,
        promotion: Promotion,
        gates: Mapping[str, ApprovalGate],
        reason: str,
        *,
        approved: bool,
        same: Callable[[str, str], bool] = operator.eq,
    ) -> Promotion:
        """Record what somebody says about a promotion that waits, and complete or end it.

        ``gates`` are those for which he may speak, by name. Who says yes again is not counted twice, under no name:
        ``same`` tells whether two actors are one person.

        Raises
        ------
        Conflict
            When it does not wait any more.
        """
        with self._alone(identity, promotion) as running:
            waiting = self._still_waiting(promotion.id)
            spoken = with_decision(waiting, identity, gates, reason, approved=approved, same=same)
            if spoken != waiting:
                self._record(identity, Verb.APPROVE if approved else Verb.REJECT, spoken, reason)
            if approved:
                self._retry(running, spoken)
        return self._catalog.promotion(promotion.id)

    # -- the attempt ---------------------------------------------------------------------------------------------------

    def _retry(self, running: Running, promotion: Promotion) -> None:
        """Attempt a promotion that waits; that it is denied, or waits on, stands in its record."""
        with suppress(PolicyDenied):
            self._attempt(running, promotion, fresh=False)

    def _attempt(self, running: Running, promotion: Promotion, *, fresh: bool = True) -> Version:
        """Judge and move; ``fresh`` ones that cannot be at all leave no record."""
        for attempt in range(_TRIES):
            try:
                move, guards = self._catalog.together(lambda: self._guarded(promotion))
            except (InvalidArgument, NotFound) as error:
                if fresh and attempt == 0:
                    raise
                # Moved, archived or deleted since, or its stage or edge is gone from the rules.
                raise self._kept(running, denied(promotion, error.message)) from None
            judged = judged_by(promotion, self._gates.judge(guards, case_of(move, promotion)))
            if guards:
                running.step("judged")
            if judged.state is not PromotionState.DONE:
                raise self._kept(running, judged)
            # Where no gate was asked no time has passed since they were looked up.
            if guards and not self._are_all(guards, promotion):
                continue  # the rules or the labels changed while the gates were asked, and others stand there now
            kept = judged if guards or move.to != ACTIVATION else None
            try:
                return self._commit(running, move, kept, promotion)
            except Conflict:
                if self._is_unmoved(promotion, move):
                    raise
        raise Conflict(
            f"other versions of {promotion.type}/{promotion.name} moved while {promotion.semver} was judged, {_TRIES} times: try again"
        )

    def _move(self, promotion: Promotion) -> Move:
        selector = parse_selector(promotion.semver)
        version = self._catalog.find(ResourceName(promotion.type, promotion.name, selector))
        check_unmoved(version, promotion)
        return survey(self._catalog, self._book.current(), version, promotion.to)

    def _guarded(self, promotion: Promotion) -> tuple[Move, list[Any]]:
        """Look how the move would go now, and which gates stand in the way."""
        move = self._move(promotion)
        return move, [] if move.is_nothing else self._guards(move)

    def _is_unmoved(self, promotion: Promotion, move: Move) -> bool:
        """Tell whether everything stands as it stood: then a conflict was about something else."""
        try:
            return self._move(promotion) == move
        except (InvalidArgument, NotFound):
            return False

    def _are_all(self, guards: list[Any], promotion: Promotion) -> bool:
        """Tell whether these are still the gates in the way."""
        try:
            return self._catalog.together(lambda: self._guarded(promotion))[1] == guards
        except (InvalidArgument, NotFound):
            return False

    def _guards(self, move: Move) -> list[Any]:
        version = move.version
        return self._gates.on_edge(
            version.type, version.name, move.labels, move.origin, move.to, activates=move.activates
        )

    def _commit(self, running: Running, move: Move, kept: Promotion | None, asked: Promotion) -> Version:
        operation = running.operation
        change = Change(
            verb=operation.verb,
            type=asked.type,
            name=asked.name,
            actor=operation.actor,
            origin=operation.origin,
            message=asked.reason,
            about=asked.semver,
            stages=move.stages(),
            activate=asked.semver if move.activates else None,
            standing=move.standing(),
            stage_holders=move.stage_holders(),
            still_active=move.still_active(),
            promotion=kept,
        )
        version = self._catalog.commit(running.id, change, locked=False)
        if version is None:
            raise Internal(f"the catalog moved {asked.semver} and returned no version")
        return version

    def _kept(self, running: Running, judged: Promotion) -> PolicyDenied:
        """Write the record of a promotion that did not take place, and the audit row; return the error that says so."""
        operation = running.operation
        self._catalog.save_promotion(judged)
        running.step("kept")
        denial = Denial(
            verb=operation.verb,
            type=judged.type,
            name=judged.name,
            actor=operation.actor,
            origin=operation.origin,
            message=f"promotion {judged.id[:8]} to {judged.to} is {judged.state}: {sentence(judged.results)}",
            request_id=operation.request_id,
            semver=judged.semver,
        )
        self._catalog.deny(denial)
        return refusal(judged)

    # -- operations ----------------------------------------------------------------------------------------------------

    def _record(self, identity: Identity, verb: Verb, promotion: Promotion, reason: str) -> None:
        """Write a decision and its audit row, in one commit."""
        params = {"promotion": promotion.id, "message": reason}
        operation, _ = self._journal.begin(
            verb, promotion.type, promotion.name, identity=identity, params=params, request_id=None
        )
        change = Change(
            verb=verb,
            type=promotion.type,
            name=promotion.name,
            actor=identity.actor,
            origin=identity.origin,
            message=reason,
            about=promotion.semver,
            promotion=promotion,
        )
        with self._working(operation) as running:
            self._catalog.commit(running.id, change, locked=False)

    @contextmanager
    def _alone(self, identity: Identity, promotion: Promotion) -> Iterator[Running]:
        """Work on a promotion that waits, as the only one: its operation is done when it moves, else undone."""
        verb = Verb.ACTIVATE if promotion.to == ACTIVATION else Verb.PROMOTE
        params = {"version": promotion.semver, "to": promotion.to, "message": promotion.reason}
        deadline = time.monotonic() + _PATIENCE
        while True:
            operation, fresh = self._journal.begin(
                verb,
                promotion.type,
                promotion.name,
                identity=identity,
                params=params,
                request_id=f"promotion:{promotion.id}",
            )
            if fresh:
                break
            self._wait_for(operation, promotion, deadline)
        with self._working(operation) as running:
            yield running

    def _wait_for(self, operation: Operation, promotion: Promotion, deadline: float) -> None:
        if operation.state is OperationState.DONE:
            raise ended_already(self._catalog.promotion(promotion.id))
        if self._journal.is_dead(operation):
            self._reconciler.one(operation)
            return
        if time.monotonic() > deadline:
            raise Conflict(
                f"promotion {promotion.id[:8]} is being judged by process {operation.owner.pid} on {operation.owner.node}: try again when that has ended"
            )
        self._journal.pause(_POLL)

    @contextmanager
    def _working(self, operation: Operation) -> Iterator[Running]:
        """Keep an operation alive, and end it: settled when it was committed, undone else."""
        with self._journal.running(operation) as running:
            error = ""
            try:
                yield running
            except BaseException as raised:
                error = f"{type(raised).__name__}: {raised}"
                raise
            finally:
                self._end(running, error)

    def _end(self, running: Running, error: str) -> None:
        try:
            if self._catalog.operation(running.id).state is OperationState.DONE:
                self._journal.observe(running.operation.verb, "committed")
                self._reconciler.settle(running)
            else:
                self._catalog.abandon(running.id, error or "nothing moved")
        except AlluxioLanceError as fault:
            _log.warning("an operation is left to reconcile", operation=running.id, reason=fault.message)

    def _still_waiting(self, id: str) -> Promotion:
        found = self._catalog.promotion(id)
        if found.state is not PromotionState.WAITING:
            raise ended_already(found)
        return found

    def _exact(self, version: Version) -> Version:
        found = self._catalog.find(ResourceName(version.type, version.name, parse_selector(version.semver)))
        if found.operation != version.operation:
            raise NotFound(f"{version.type}/{version.name} {version.semver} has been deleted since")
        return found
