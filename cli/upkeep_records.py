"""The JSON records of what versions take and of what the upkeep does about it. Documented in docs/cli.md."""

from __future__ import annotations

from typing import Any

from alluxio_lance.cli.records import moment
from alluxio_lance.upkeep import Planned, PolicyPlan, StorageReport
from alluxio_lance.values import Finding

__all__ = ["finding_record", "plan_record", "storage_record"]


def storage_record(report: StorageReport) -> dict[str, Any]:
    """Return what a resource takes, in bytes."""
    return {
        "table_bytes": report.table_bytes,
        "cold_bytes": report.cold_bytes,
        "versions": [
            {
                "semver": each.semver,
                "branch": each.branch,
                "state": each.state.value,
                "hot_bytes": each.hot_bytes,
                "unique_bytes": each.unique_bytes,
                "shared_bytes": each.shared_bytes,
                "cold_bytes": each.cold_bytes,
                "cached_bytes": each.cached_bytes,
            }
            for each in report.versions
        ],
    }


def plan_record(plan: PolicyPlan) -> dict[str, Any]:
    """Return what policies would do, or did: ``outcome`` is null in a plan."""
    return {
        "at": moment(plan.at),
        "rows": [_planned_record(row) | {"outcome": plan.outcome.get(number)} for number, row in enumerate(plan.rows)],
    }


def _planned_record(row: Planned) -> dict[str, Any]:
    return {
        "action": row.action.value,
        "type": row.type,
        "name": row.name,
        "semver": row.semver,
        "policy": row.policy,
        "reason": row.reason,
        "frees_hot": row.frees_hot,
        "frees_cold": row.frees_cold,
        "adds_cold": row.adds_cold,
        "blocked": row.blocked,
        "holders": [dict(holder) for holder in row.holders],
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return what reconcile did about one operation."""
    return {
        "operation": finding.operation,
        "verb": finding.verb.value,
        "type": finding.type,
        "name": finding.name,
        "outcome": finding.outcome,
        "reason": finding.reason,
    }
