"""The verbs with which a resource or version goes: delete, undelete, purge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.values import Verb

__all__ = ["RemovalVerbs"]


class RemovalVerbs(Base):
    """Delete, undelete, purge."""

    def delete_resource(
        self,
        type: str,
        name: str,
        version: str | None = None,
        *,
        force: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> None:
        params = {"message": message, "force": force}
        self._remove(Verb.DELETE, type, name, version, params, request_id, self._rooms.remover.delete, force=force)

    def undelete_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        undelete = self._rooms.remover.undelete
        self._remove(Verb.UNDELETE, type, name, version, {"message": message}, request_id, undelete)

    def purge_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        self._remove(Verb.PURGE, type, name, version, {"message": message}, request_id, self._rooms.remover.purge)

    def _remove(
        self,
        verb: Verb,
        type: str,
        name: str,
        selector: str | None,
        params: Mapping[str, Any],
        request_id: str | None,
        do: Callable[[Running], None],
        *,
        force: bool = False,
    ) -> None:
        """Run one of the three verbs; the operation keeps the whole number of the version, not what was typed."""
        parse_name(type, name)
        if force:
            # It takes a version from under its readers, as a purge does.
            self._allow(Verb.PURGE, type, name, request_id=request_id)
        wanted = ResourceName(type, name, parse_selector(selector)) if selector is not None else None
        semver, missing = self._semver(verb, wanted, request_id)

        def work(running: Running) -> None:
            if missing is not None:
                raise missing
            do(running)

        self._run(verb, type, name, {**params, "semver": semver}, request_id, work)

    def _semver(
        self, verb: Verb, wanted: ResourceName | None, request_id: str | None
    ) -> tuple[str | None, NotFound | InvalidArgument | None]:
        """Find the version that is meant, or why there is none: a request that was done before is answered all the same."""
        if wanted is None:
            return None, None
        self._allow(verb, wanted.type, wanted.name, request_id=request_id)
        try:
            return self.catalog.find(wanted, deleted=verb is not Verb.DELETE).semver, None
        except NotFound as error:
            missing = self._not_deleted(wanted) if verb is not Verb.DELETE else None
            if request_id is None:
                raise missing or error from None
            return str(wanted.selector), missing or error

    def _not_deleted(self, wanted: ResourceName) -> InvalidArgument | None:
        """Say so when a version is there, but was not deleted."""
        try:
            version = self.catalog.find(wanted)
        except NotFound:
            return None
        return InvalidArgument(
            f"{wanted.type}/{wanted.name} {version.semver} is not deleted: `alluxio-lance delete {wanted.type}/{wanted.name}@{version.semver}` comes first"
        )
