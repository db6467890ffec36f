"""The verbs of stages and gates: promote, approve, reject, measure, alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alluxio_lance.client import governed, wire
from alluxio_lance.client.remote.base import Remote, followed
from alluxio_lance.codes import PROMOTION_STATES
from alluxio_lance.governance import Promotion, PromotionState
from alluxio_lance.manager import OnProgress
from alluxio_lance.structs import to_struct
from alluxio_lance.v1 import governance_pb2, lifecycle_pb2
from alluxio_lance.values import Event, Version

__all__ = ["StageVerbs"]


class StageVerbs(Remote):
    """Promote, approve, reject, measure, alert."""

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
        request = lifecycle_pb2.PromoteRequest(
            type=type,
            name=name,
            version=version,
            to=to,
            reason=reason,
            wait=wait,
            timeout_seconds=timeout,
            request_id=request_id or "",
        )
        with self._channel.speaking() as stubs:
            return followed(stubs.lifecycle.Promote(request), on_progress)

    def approve_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        request = governance_pb2.ApprovePromotionRequest(promotion=promotion, reason=reason)
        with self._channel.speaking() as stubs:
            return governed.promotion(stubs.governance.ApprovePromotion(request).promotion)

    def reject_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        request = governance_pb2.RejectPromotionRequest(promotion=promotion, reason=reason)
        with self._channel.speaking() as stubs:
            return governed.promotion(stubs.governance.RejectPromotion(request).promotion)

    def list_promotions(
        self, type: str | None = None, name: str | None = None, *, state: PromotionState | None = None
    ) -> list[Promotion]:
        request = governance_pb2.ListPromotionsRequest(
            type=type or "",
            name=name or "",
            state=governance_pb2.PROMOTION_STATE_UNSPECIFIED if state is None else PROMOTION_STATES.number(state),
        )
        with self._channel.speaking() as stubs:
            pages = stubs.governance.ListPromotions(request)
            return [governed.promotion(promotion) for page in pages for promotion in page.promotions]

    def measure_resource(
        self,
        type: str,
        name: str,
        version: str,
        metrics: Mapping[str, Any],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        request = lifecycle_pb2.MeasureRequest(
            type=type,
            name=name,
            version=version,
            metrics=to_struct("metrics", metrics),
            message=message,
            request_id=request_id or "",
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Measure(request).version)

    def alert(self, alert: Mapping[str, Any]) -> list[Event]:
        request = governance_pb2.AlertRequest(alert=to_struct("alert", alert))
        with self._channel.speaking() as stubs:
            return [wire.event(event) for event in stubs.governance.Alert(request).events]
