"""The verbs that bring data in: register and update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from alluxio_lance.errors import InvalidArgument, NotFound, Restoring
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.kinds import SAVE_MODEL, check_mode, check_rows, kind_of
from alluxio_lance.lifecycle.local.base import json_object
from alluxio_lance.lifecycle.local.cold import ColdVerbs
from alluxio_lance.lifecycle.naming import check_branch_name
from alluxio_lance.lifecycle.pointing import events_of
from alluxio_lance.lifecycle.ports import Source
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.lifecycle.versioning import parse_version
from alluxio_lance.lifecycle.writing import RegisterParams, UpdateParams, already_there, as_params, check_update
from alluxio_lance.manager import Bump, Mode, OnProgress
from alluxio_lance.values import Kind, State, Verb, Version

__all__ = ["DataVerbs"]


class DataVerbs(ColdVerbs):
    """Register and update."""

    def register_resource(
        self,
        type: str,
        name: str,
        data: Any,
        *,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        if version is not None:
            parse_version(version)
        self._allow_new(Verb.REGISTER, type, name, request_id, activate=activate)
        guarded = activate and self._rooms.promoter.activation_guarded(type, name, {})
        params = RegisterParams(
            version=version,
            message=message,
            metadata=json_object("metadata", metadata),
            provenance=json_object("provenance", provenance),
            activate=activate and not guarded,
        )

        def work(running: Running) -> Version:
            with self._reading(type, name, data, format, options) as source:
                return self._rooms.writer.register(running, params, source, on_progress)

        if request_id is None and self.catalog.resource(type, name) is not None:
            # Said before the operation begins: a plain mistake needs no trace in the journal.
            raise already_there(type, name)
        made = self._run(Verb.REGISTER, type, name, as_params(params), request_id, work)
        return self._version(self._ask_gates(made, message) if guarded else made)

    def update_resource(
        self,
        type: str,
        name: str,
        data: Any = None,
        *,
        mode: Mode = "append",
        on: str | Sequence[str] | None = None,
        bump: Bump | None = None,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        branch: str | None = None,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        keys = [on] if isinstance(on, str) else list(on or ())
        if branch is not None:
            check_branch_name(branch)
        check_update(mode, keys, bump, version, branch or "")
        if data is None and metadata is None:
            raise InvalidArgument(f"nothing to update in {type}/{name}: give data, metadata, or both")
        if data is not None:
            check_mode(type, name, mode)
        activate = activate and branch is None
        self._allow_new(Verb.UPDATE, type, name, request_id, activate=activate)
        guarded = activate and self._is_guarded(type, name)
        params = UpdateParams(
            mode=None if data is None else mode,
            on=keys,
            bump=bump,
            version=version,
            message=message,
            metadata=None if metadata is None else json_object("metadata", metadata),
            provenance=json_object("provenance", provenance),
            activate=activate and not guarded,
            branch=branch or "",
        )

        def work(running: Running) -> Version:
            if data is None:
                return self._rooms.writer.update(running, params, None, on_progress)
            with self._reading(type, name, data, format, options) as source:
                return self._rooms.writer.update(running, params, source, on_progress)

        if self.catalog.resource(type, name) is None:
            raise NotFound(f"there is no {type}/{name} to update: use `alluxio-lance register {type}/{name} …` first")
        made = self._bringing_back(
            type, name, lambda: self._run(Verb.UPDATE, type, name, as_params(params), request_id, work)
        )
        return self._version(self._ask_gates(made, message) if guarded else made)

    @contextmanager
    def _reading(
        self, type: str, name: str, data: Any, format: str | None, options: Mapping[str, Any] | None
    ) -> Iterator[Source]:
        """Open data for a resource, and close their reader in the end, also when it was not read to its end."""
        try:
            source = self._rooms.store.source(data, format=format, options=options or {})
        except InvalidArgument as unknown:
            if kind_of(type) is not Kind.MODEL:
                raise
            raise InvalidArgument(f"{type}/{name} is a model: {SAVE_MODEL}. {unknown.message}") from unknown
        with closing(source.reader):
            check_rows(type, name, source.reader.schema)
            yield source

    def _allow_new(self, verb: Verb, type: str, name: str, request_id: str | None, *, activate: bool) -> None:
        """Refuse a new version that the caller may not make, or may not make active: that is a right of its own."""
        self._allow(verb, type, name, request_id=request_id)
        if activate:
            self._allow(Verb.ACTIVATE, type, name, request_id=request_id)

    # -- what continues from an archived version -----------------------------------------------------------------------

    def _bringing_back(self, type: str, name: str, run: Callable[[], Version | None]) -> Version | None:
        """Run a verb; when the version that it continues from is archived, begin to restore that.

        Raises
        ------
        Restoring
            Then, with the progress.
        """
        while True:
            try:
                return run()
            except Restoring as needed:
                semver = needed.details.get("semver")
                if semver is None:
                    raise
                # Returns when it is back already, and raises with the progress else.
                self.bring_back(self.catalog.find(ResourceName(type, name, parse_selector(semver))))

    # -- gates on activation -------------------------------------------------------------------------------------------

    def _is_guarded(self, type: str, name: str) -> bool:
        """Tell whether a gate has to be asked before a version becomes active."""
        resource = self.catalog.resource(type, name)
        return resource is not None and self._rooms.promoter.activation_guarded(type, name, dict(resource.labels))

    def _ask_gates(self, version: Version | None, reason: str) -> Version | None:
        """Make a version that came in active, if the gates let it; it was committed as registered before.

        Nothing happens when the pointer has moved since the version was begun (a long update must not undo a rollback),
        or when this version was active once (the request was repeated).

        Raises
        ------
        PolicyDenied
            Naming the version and the promotion: it stays, as registered.
        """
        if version is None or version.state is not State.REGISTERED or self._was_active(version):
            return version
        resource = self.catalog.resource(version.type, version.name)
        active = resource.active.semver if resource and resource.active else None
        if active != self.catalog.operation(version.operation).params.get("active"):
            return version
        return self._rooms.promoter.activate(self._identity, version, reason)

    def _was_active(self, version: Version) -> bool:
        events = events_of(self.catalog, version.type, version.name)
        return any(event.after == str(version) for event in events)
