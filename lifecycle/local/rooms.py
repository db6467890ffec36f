"""What all views of one manager share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from alluxio_lance.lifecycle.access import Access
from alluxio_lance.lifecycle.archiving import Archiver
from alluxio_lance.lifecycle.automation import Automator
from alluxio_lance.lifecycle.branching import Brancher
from alluxio_lance.lifecycle.caching import Pinner
from alluxio_lance.lifecycle.gates import GateKeeper
from alluxio_lance.lifecycle.hooks import Notifier
from alluxio_lance.lifecycle.journal import Journal
from alluxio_lance.lifecycle.naming import Namer
from alluxio_lance.lifecycle.pointing import Pointer
from alluxio_lance.lifecycle.policies import Policies
from alluxio_lance.lifecycle.ports import Catalog, Store
from alluxio_lance.lifecycle.promoting import Promoter
from alluxio_lance.lifecycle.reconcile import Reconciler
from alluxio_lance.lifecycle.removing import Remover
from alluxio_lance.lifecycle.restoring import Restorer
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.settling import Settler
from alluxio_lance.lifecycle.writing import Writer

__all__ = ["Rooms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The parts of a manager, each of which does one kind of work over the catalog and the store."""

    catalog: Catalog
    store: Store
    journal: Journal
    book: RulesBook
    access: Access
    writer: Writer
    pointer: Pointer
    archiver: Archiver
    restorer: Restorer
    remover: Remover
    namer: Namer
    brancher: Brancher
    gates: GateKeeper
    promoter: Promoter
    automator: Automator
    policies: Policies
    pinner: Pinner
    notifier: Notifier
    reconciler: Reconciler
    settler: Settler | None
    """Takes last steps behind the answers; None: each caller waits for his own."""
    changed: threading.Condition
    closed: threading.Event
