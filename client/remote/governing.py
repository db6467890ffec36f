"""Governing: rules, policies, tokens, who is who, and mending."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from alluxio_lance.client import governed
from alluxio_lance.client.remote.base import Remote
from alluxio_lance.governance import Identity, Rules, Token
from alluxio_lance.upkeep import PolicyPlan
from alluxio_lance.v1 import governance_pb2 as pb
from alluxio_lance.values import Finding

__all__ = ["Governing"]


class Governing(Remote):
    """Rules, policies, tokens, who is who, reconcile."""

    def rules(self) -> Rules:
        with self._channel.speaking() as stubs:
            return governed.rules(stubs.governance.GetRules(pb.GetRulesRequest()).rules)

    def set_rules(self, text: str, *, revision: int | None = None, message: str = "") -> Rules:
        request = pb.SetRulesRequest(text=text, revision=revision, message=message)
        with self._channel.speaking() as stubs:
            return governed.rules(stubs.governance.SetRules(request).rules)

    def plan_policies(self, type: str | None = None, name: str | None = None) -> PolicyPlan:
        request = pb.PlanPoliciesRequest(type=type or "", name=name or "")
        with self._channel.speaking() as stubs:
            return governed.plan(stubs.governance.PlanPolicies(request).plan)

    def run_policies(self, type: str | None = None, name: str | None = None) -> PolicyPlan:
        request = pb.RunPoliciesRequest(type=type or "", name=name or "")
        with self._channel.speaking() as stubs:
            return governed.plan(stubs.governance.RunPolicies(request).plan)

    def whoami(self) -> Identity:
        with self._channel.speaking() as stubs:
            response = stubs.governance.WhoAmI(pb.WhoAmIRequest())
        return Identity(
            actor=response.actor, roles=tuple(response.roles), method=response.method, origin=response.origin
        )

    def issue_token(
        self, name: str, roles: Sequence[str], *, lifetime: timedelta | None = None, message: str = ""
    ) -> tuple[Token, str]:
        request = pb.IssueTokenRequest(name=name, roles=roles, lifetime=_duration(lifetime), message=message)
        with self._channel.speaking() as stubs:
            response = stubs.governance.IssueToken(request)
        return governed.token(response.token), response.secret

    def list_tokens(self) -> list[Token]:
        with self._channel.speaking() as stubs:
            return [governed.token(token) for token in stubs.governance.ListTokens(pb.ListTokensRequest()).tokens]

    def revoke_token(self, id: str, *, message: str = "") -> Token:
        request = pb.RevokeTokenRequest(id=id, message=message)
        with self._channel.speaking() as stubs:
            return governed.token(stubs.governance.RevokeToken(request).token)

    def reconcile(self) -> list[Finding]:
        with self._channel.speaking() as stubs:
            return [governed.finding(found) for found in stubs.governance.Reconcile(pb.ReconcileRequest()).findings]


def _duration(lifetime: timedelta | None) -> Duration | None:
    if lifetime is None:
        return None
    duration = Duration()
    duration.FromTimedelta(lifetime)
    return duration
