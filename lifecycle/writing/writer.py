"""The bodies of register and update under one roof, as manager and reconcile call them."""

from __future__ import annotations

from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Operation, Source, Store
from alluxio_lance.lifecycle.writing.adding import Adder
from alluxio_lance.lifecycle.writing.leftovers import UNDOING, Leftovers
from alluxio_lance.lifecycle.writing.params import RegisterParams, UpdateParams
from alluxio_lance.lifecycle.writing.registering import Registrar
from alluxio_lance.lifecycle.writing.updating import Updater
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Verb, Version

__all__ = ["Writer"]


class Writer:
    """Register and update over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self.leftovers = Leftovers(journal, store)
        self.adder = Adder(journal, store, self.leftovers)
        self._registrar = Registrar(journal, store, self.leftovers)
        self._updater = Updater(journal, store, self.leftovers, self.adder)

    def register(
        self, running: Running, params: RegisterParams, source: Source, on_progress: OnProgress | None
    ) -> Version:
        """Write the first version of a resource; see `Registrar.register`."""
        return self._registrar.register(running, params, source, on_progress)

    def update(
        self, running: Running, params: UpdateParams, source: Source | None, on_progress: OnProgress | None
    ) -> Version:
        """Write the next version of a line; see `Updater.update`."""
        return self._updater.update(running, params, source, on_progress)

    def finish(self, running: Running) -> bool:
        """Complete a register or update whose process died after the table was written; False when it was not.

        Then what it left is removed, and the caller abandons the operation.
        """
        if running.operation.verb is Verb.REGISTER:
            return self._registrar.finish(running)
        return self._updater.finish(running)

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether it failed and what it wrote is still to be removed; until it is committed it can be undone."""
        return operation.step == UNDOING

    def settle(self, running: Running) -> None:
        """Do nothing: a committed version is whole."""
