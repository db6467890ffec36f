"""Gates: what has to hold before a version moves along an edge. Each kind is a file; they meet in a table."""

from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.keeper import GateKeeper

__all__ = ["Case", "GateKeeper", "Judgement"]
