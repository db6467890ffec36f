"""Asks every gate on an edge, and reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import structlog

from alluxio_lance.governance import ACTIVATION, GateResult, PromotionState, Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.profile import Profiles
from alluxio_lance.lifecycle.gates.reporting import bounded, short
from alluxio_lance.lifecycle.gates.table import JUDGES, Court
from alluxio_lance.lifecycle.ports import Catalog, Store
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.rules.document import ApprovalGate, Gate

__all__ = ["GateKeeper", "ending", "sentence"]

_log = structlog.get_logger(__name__)


class GateKeeper:
    """All gates, over the rules. Threads may share it."""

    def __init__(self, catalog: Catalog, store: Store, book: RulesBook) -> None:
        self._catalog = catalog
        self._book = book
        self._court = Court(store, Profiles(store))

    def on_edge(
        self, type: str, name: str, labels: Mapping[str, str], origin: str, to: str, *, activates: bool
    ) -> list[Gate]:
        """List the gates that guard a move, in the order of the rules.

        A move that takes the pointer along is guarded by the gates on activation too: there is no way around them.
        """
        return [
            gate
            for gate in self._book.current().gates
            if gate.covers(type, name, dict(labels))
            and (gate.guards(origin, to) or (activates and gate.guards(origin, ACTIVATION)))
        ]

    def guards_activation(self, type: str, name: str, labels: Mapping[str, str]) -> bool:
        """Tell whether any gate has to be asked before the pointer of a resource moves."""
        return bool(self.on_edge(type, name, labels, "", ACTIVATION, activates=True))

    def judge(self, gates: Sequence[Gate], case: Case) -> tuple[GateResult, ...]:
        """Ask each gate; those for people last, but reported where they stand in the rules.

        Every gate is asked, also when one has said no: who has to mend something sees all of it at once. People are
        asked only for what is in order otherwise.
        """
        results: dict[str, GateResult] = {}
        for gate in sorted(gates, key=lambda gate: isinstance(gate, ApprovalGate)):
            results[gate.name] = self._ask(gate, case)
        return tuple(results[gate.name] for gate in gates)

    def _ask(self, gate: Gate, case: Case) -> GateResult:
        begun = time.monotonic()
        try:
            said = JUDGES[gate.kind](gate, case, self._court)
        except Exception as error:  # noqa: BLE001 - a gate that errs blocks, whatever the error
            _log.exception("a gate erred", gate=gate.name, promotion=case.promotion)
            said = Judgement(verdict=Verdict.ERROR, summary=f"the gate erred: {type(error).__name__}: {error}")
        return GateResult(
            gate=gate.name,
            kind=gate.kind,
            verdict=said.verdict,
            summary=short(said.summary),
            details=bounded(said.details),
            seconds=round(time.monotonic() - begun, 3),
        )


def ending(results: Sequence[GateResult]) -> PromotionState:
    """Tell how a promotion ends with these reports: one no, or one gate that could not be asked, is enough to deny."""
    verdicts = {result.verdict for result in results}
    if verdicts & {Verdict.FAILED, Verdict.ERROR}:
        return PromotionState.DENIED
    return PromotionState.WAITING if Verdict.WAITING in verdicts else PromotionState.DONE


def sentence(results: Sequence[GateResult]) -> str:
    """Say in words which gates stand in the way."""
    blocking = [result for result in results if result.verdict in (Verdict.FAILED, Verdict.ERROR)]
    waiting = [result for result in results if result.verdict is Verdict.WAITING]
    return "; ".join(f"gate {each.gate} ({each.verdict}): {each.summary}" for each in blocking or waiting)
