"""The whole manager: the verbs of all kinds over one set of rooms."""

from __future__ import annotations

import os
import threading

from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.access import Access
from alluxio_lance.lifecycle.archiving import Archiver
from alluxio_lance.lifecycle.automation import Automator
from alluxio_lance.lifecycle.branching import Brancher
from alluxio_lance.lifecycle.caching import Pinner
from alluxio_lance.lifecycle.gates import GateKeeper
from alluxio_lance.lifecycle.hooks import Notifier
from alluxio_lance.lifecycle.journal import Journal, Observer
from alluxio_lance.lifecycle.local.automating import Automating
from alluxio_lance.lifecycle.local.cold import ColdVerbs
from alluxio_lance.lifecycle.local.data import DataVerbs
from alluxio_lance.lifecycle.local.governing import Governing
from alluxio_lance.lifecycle.local.looking import Looking
from alluxio_lance.lifecycle.local.names import NameVerbs
from alluxio_lance.lifecycle.local.removal import RemovalVerbs
from alluxio_lance.lifecycle.local.rooms import Rooms
from alluxio_lance.lifecycle.local.upkeep import Upkeep
from alluxio_lance.lifecycle.local.warming import CacheVerbs
from alluxio_lance.lifecycle.naming import Namer
from alluxio_lance.lifecycle.pointing import Pointer
from alluxio_lance.lifecycle.policies import Policies
from alluxio_lance.lifecycle.ports import Catalog, Store
from alluxio_lance.lifecycle.process import current_owner, default_actor
from alluxio_lance.lifecycle.promoting import Promoter
from alluxio_lance.lifecycle.reconcile import Reconciler
from alluxio_lance.lifecycle.removing import Remover
from alluxio_lance.lifecycle.restoring import Restorer
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.settling import Settler
from alluxio_lance.lifecycle.writing import Writer
from alluxio_lance.values import Verb

__all__ = ["LocalManager"]


class LocalManager(NameVerbs, DataVerbs, Automating, ColdVerbs, RemovalVerbs, Upkeep, CacheVerbs, Governing, Looking):
    """The lifecycle over a catalog and a store.

    Parameters
    ----------
    identity
        Who acts; by default the user of this process, who is admin: the folder is his.
    node
        The name of this node; the host name by default.
    ttl, lock_timeout
        Seconds, see `Journal`.
    observer
        Told about each step of each operation.
    settle_behind
        For a process that stays: who moves a pointer is answered before the Lance tags and the pins in the cache follow.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        *,
        identity: Identity | None = None,
        node: str | None = None,
        ttl: float = 30.0,
        lock_timeout: float = 600.0,
        observer: Observer | None = None,
        settle_behind: bool = False,
    ) -> None:
        journal = Journal(catalog, current_owner(node), ttl=ttl, lock_timeout=lock_timeout, observer=observer)
        store.guard_commits(journal.guard)
        book = RulesBook(catalog)
        gates = GateKeeper(catalog, store, book)
        writer = Writer(journal, store)
        remover, archiver, restorer = (
            Remover(journal, store, book),
            Archiver(journal, store, book),
            Restorer(journal, store),
        )
        brancher = Brancher(journal, store, writer)
        pinner = Pinner(catalog, store, book)
        reconciler = Reconciler(
            journal,
            store,
            {
                Verb.REGISTER: writer,
                Verb.UPDATE: writer,
                Verb.PURGE: remover,
                Verb.ARCHIVE: archiver,
                Verb.RESTORE: restorer,
                Verb.BRANCH: brancher,
                Verb.UNBRANCH: brancher,
                Verb.MERGE: brancher,
            },
            pinner,
        )
        self._pid = os.getpid()
        self._shared = Rooms(
            catalog=catalog,
            store=store,
            journal=journal,
            book=book,
            access=Access(catalog, book),
            writer=writer,
            pointer=Pointer(catalog, book),
            archiver=archiver,
            restorer=restorer,
            remover=remover,
            namer=Namer(catalog, book),
            brancher=brancher,
            gates=gates,
            promoter=Promoter(journal, gates, book, reconciler),
            automator=Automator(catalog, book),
            policies=Policies(catalog, store, book),
            pinner=pinner,
            notifier=Notifier(book, catalog),
            reconciler=reconciler,
            settler=Settler(reconciler.settle_or_leave) if settle_behind else None,
            changed=threading.Condition(),
            closed=threading.Event(),
        )
        self._identity = identity or Identity(
            actor=default_actor(node), roles=("admin",), method="embedded", origin=f"embedded:pid={os.getpid()}"
        )
        self._is_view = False
        self._is_closed = False

    # -- the end -------------------------------------------------------------------------------------------------------

    def cease(self) -> None:
        """Let all who wait for others give up, and restores with them, whoever runs them; what else is at work ends first.

        A server does this before it waits for its calls: a lock of another node may be held for hours.
        """
        self._rooms.closed.set()
        self._tell()
        self._rooms.journal.cease()
        self._rooms.restorer.cease()

    def close(self) -> None:
        if self._is_view or os.getpid() != self._pid or self._is_closed:
            return
        self._is_closed = True
        self.cease()
        if self._rooms.settler is not None:
            self._rooms.settler.close()
        self._rooms.notifier.close()
        self._rooms.journal.close()
        self._rooms.restorer.close()
        self.catalog.close()
