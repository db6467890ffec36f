"""How a resource leaves: hidden first, so that no reader can begin; then its table; then its rows."""

from __future__ import annotations

from alluxio_lance.errors import Conflict, NotFound
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.ports import Catalog, Change, Operation, Store

__all__ = ["Remover"]


class Remover:
    """Delete over a catalog and a store. The caller holds the commit lock."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    def delete(self, running: Running) -> None:
        """Remove a resource with all its versions.

        Once it is hidden there is no way back: an error after that leaves the operation pending, and reconcile goes on.

        Raises
        ------
        NotFound
            When there is no such resource.
        Conflict
            When another deletion could not be ended.
        Leased
            While a reader holds any version.
        """
        operation = running.operation
        if self.is_hidden(operation):
            raise Conflict(
                f"{operation.type}/{operation.name} is being deleted, and that has not ended: try again when it has"
            )
        if self._catalog.resource(operation.type, operation.name) is None:
            raise NotFound(f"there is no {operation.type}/{operation.name}: see `alluxio-lance list`")
        self._catalog.hide(operation.id, operation.type, operation.name)
        running.step("hidden")
        self._purge(running)

    def finish(self, running: Running) -> bool:
        """Go on with a deletion whose process died; False when it had not begun in earnest."""
        if not self.is_hidden(running.operation):
            return False
        self._purge(running)
        return True

    def is_hidden(self, operation: Operation) -> bool:
        """Tell whether the resource is out of sight, but not yet gone."""
        return (
            self._catalog.resource(operation.type, operation.name) is None
            and self._catalog.location(operation.type, operation.name) is not None
        )

    def _purge(self, running: Running) -> None:
        operation = running.operation
        location = self._catalog.location(operation.type, operation.name)
        if location is not None:
            self._store.drop(location)
        running.step("dropped")
        change = Change(
            verb=operation.verb,
            type=operation.type,
            name=operation.name,
            actor=operation.actor,
            message=str(operation.params["message"]),
            remove=True,
        )
        self._catalog.commit(running.id, change, locked=True)
