"""Policies: what stays where for how long; planned first, then done by the manager's own verbs."""

from alluxio_lance.lifecycle.policies.planning import Policies
from alluxio_lance.lifecycle.policies.running import DONE, STOPPED, run_plan

__all__ = ["DONE", "STOPPED", "Policies", "run_plan"]
