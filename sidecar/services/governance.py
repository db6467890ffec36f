"""The service Governance: promotions, rules, policies, tokens, mending, on behalf of whoever calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from alluxio_lance.codes import PROMOTION_STATES
from alluxio_lance.manager import ResourceManager
from alluxio_lance.sidecar.services import governed, wire
from alluxio_lance.sidecar.services.calls.base import paged
from alluxio_lance.sidecar.services.guard import identity
from alluxio_lance.sidecar.services.ports import Managers
from alluxio_lance.structs import from_struct
from alluxio_lance.v1 import governance_pb2 as pb
from alluxio_lance.v1.governance_pb2_grpc import GovernanceServicer

__all__ = ["Governance"]


class Governance(GovernanceServicer):
    """The service.

    Parameters
    ----------
    manager
        Does the work.
    settle
        Waits until leases that ended just now are known to the catalog, before a policy looks for holders.
    """

    def __init__(self, manager: Managers, *, settle: Callable[[], None]) -> None:
        self._manager = manager
        self._settle = settle

    # -- promotions ------------------------------------------------------------------------------------------------

    def ListPromotions(
        self, request: pb.ListPromotionsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ListPromotionsResponse]:
        promotions = self._as(context).list_promotions(
            request.type or None, request.name or None, state=PROMOTION_STATES.value_if_any(request.state)
        )
        for page in paged(governed.promotion(promotion) for promotion in promotions):
            yield pb.ListPromotionsResponse(promotions=page)

    def ApprovePromotion(
        self, request: pb.ApprovePromotionRequest, context: grpc.ServicerContext
    ) -> pb.ApprovePromotionResponse:
        promotion = self._as(context).approve_promotion(request.promotion, reason=request.reason)
        return pb.ApprovePromotionResponse(promotion=governed.promotion(promotion))

    def RejectPromotion(
        self, request: pb.RejectPromotionRequest, context: grpc.ServicerContext
    ) -> pb.RejectPromotionResponse:
        promotion = self._as(context).reject_promotion(request.promotion, reason=request.reason)
        return pb.RejectPromotionResponse(promotion=governed.promotion(promotion))

    # -- rules and policies ----------------------------------------------------------------------------------------

    def GetRules(self, request: pb.GetRulesRequest, context: grpc.ServicerContext) -> pb.GetRulesResponse:
        return pb.GetRulesResponse(rules=governed.rules(self._as(context).rules()))

    def SetRules(self, request: pb.SetRulesRequest, context: grpc.ServicerContext) -> pb.SetRulesResponse:
        rules = self._as(context).set_rules(
            request.text,
            revision=request.revision if request.HasField("revision") else None,
            message=request.message,
        )
        return pb.SetRulesResponse(rules=governed.rules(rules))

    def PlanPolicies(self, request: pb.PlanPoliciesRequest, context: grpc.ServicerContext) -> pb.PlanPoliciesResponse:
        self._settle()
        plan = self._as(context).plan_policies(request.type or None, request.name or None)
        return pb.PlanPoliciesResponse(plan=governed.plan(plan))

    def RunPolicies(self, request: pb.RunPoliciesRequest, context: grpc.ServicerContext) -> pb.RunPoliciesResponse:
        self._settle()
        plan = self._as(context).run_policies(request.type or None, request.name or None)
        return pb.RunPoliciesResponse(plan=governed.plan(plan))

    # -- who is who ------------------------------------------------------------------------------------------------

    def WhoAmI(self, request: pb.WhoAmIRequest, context: grpc.ServicerContext) -> pb.WhoAmIResponse:
        who = self._as(context).whoami()
        return pb.WhoAmIResponse(actor=who.actor, roles=who.roles, method=who.method, origin=who.origin)

    def IssueToken(self, request: pb.IssueTokenRequest, context: grpc.ServicerContext) -> pb.IssueTokenResponse:
        token, secret = self._as(context).issue_token(
            request.name,
            list(request.roles),
            lifetime=request.lifetime.ToTimedelta() if request.HasField("lifetime") else None,
            message=request.message,
        )
        return pb.IssueTokenResponse(token=governed.token(token), secret=secret)

    def ListTokens(self, request: pb.ListTokensRequest, context: grpc.ServicerContext) -> pb.ListTokensResponse:
        return pb.ListTokensResponse(tokens=[governed.token(token) for token in self._as(context).list_tokens()])

    def RevokeToken(self, request: pb.RevokeTokenRequest, context: grpc.ServicerContext) -> pb.RevokeTokenResponse:
        token = self._as(context).revoke_token(request.id, message=request.message)
        return pb.RevokeTokenResponse(token=governed.token(token))

    # -- mending and automation ------------------------------------------------------------------------------------

    def Reconcile(self, request: pb.ReconcileRequest, context: grpc.ServicerContext) -> pb.ReconcileResponse:
        return pb.ReconcileResponse(findings=[governed.finding(found) for found in self._as(context).reconcile()])

    def Alert(self, request: pb.AlertRequest, context: grpc.ServicerContext) -> pb.AlertResponse:
        events = self._as(context).alert(from_struct(request.alert))
        return pb.AlertResponse(events=[wire.event(event) for event in events])

    def _as(self, context: grpc.ServicerContext) -> ResourceManager:
        return self._manager.acting_as(identity(context))
