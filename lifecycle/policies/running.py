"""A plan, done row by row with the manager's own verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.policies.planning import Policies
from alluxio_lance.manager import ResourceManager
from alluxio_lance.upkeep import Action, Planned, PolicyPlan

__all__ = ["DONE", "STOPPED", "run_plan"]

_log = structlog.get_logger(__name__)

DONE: Final = "done"
STOPPED: Final = "not done: the janitor was stopped before"


def run_plan(
    plan: PolicyPlan, policies: Policies, manager: ResourceManager, *, go_on: Callable[[], bool]
) -> PolicyPlan:
    """Do a plan and tell how each row ended. What one row raises stops no other.

    Parameters
    ----------
    manager
        Acts as the janitor.
    go_on
        Asked before each row; after a no, nothing more is done.
    """
    outcome: dict[int, str] = {}
    for number, row in enumerate(plan.rows):
        outcome[number] = row.blocked or (_attempt(row, policies, manager) if go_on() else STOPPED)
    return replace(plan, outcome=outcome)


def _attempt(row: Planned, policies: Policies, manager: ResourceManager) -> str:
    try:
        hindrance = policies.hindrance(row)
        if hindrance is not None:
            return hindrance
        _do(row, manager)
    except AlluxioLanceError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a fault in one row must not keep the others from being done
        _log.warning("a policy could not be carried out", row=row, exc_info=True)
        return f"{type(error).__name__}: {error} - this is a fault of alluxio-lance, please report it"
    return DONE


def _do(row: Planned, manager: ResourceManager) -> None:
    message = f"policy {row.policy}: {row.reason}"
    if row.action is Action.PURGE:
        manager.purge_resource(row.type, row.name, row.semver, message=message)
    elif row.action is Action.DELETE:
        manager.delete_resource(row.type, row.name, row.semver, message=message)
    else:
        assert row.semver is not None
        manager.archive_resource(row.type, row.name, row.semver, message=message)
