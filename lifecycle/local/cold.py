"""The verbs of the cold tier: archive and restore."""

from __future__ import annotations

from alluxio_lance.errors import NotFound
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.returning import Returning
from alluxio_lance.lifecycle.uri import parse_name
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Verb, Version

__all__ = ["ColdVerbs"]


class ColdVerbs(Returning):
    """Archive and restore."""

    def archive_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        self._allow(Verb.ARCHIVE, type, name, request_id=request_id)
        semver, missing = self._archivable(type, name, version, request_id)

        def work(running: Running) -> Version:
            if missing is not None:
                raise missing
            return self._rooms.archiver.archive(running, on_progress)

        params = {"semver": semver, "message": message}
        return self._version(self._run(Verb.ARCHIVE, type, name, params, request_id, work))

    def _archivable(self, type: str, name: str, selector: str, request_id: str | None) -> tuple[str, NotFound | None]:
        """Find the version that is meant, or why there is none: a request that was done before is answered all the same."""
        try:
            return self._find(type, name, selector).semver, None
        except NotFound as error:
            if request_id is None:
                raise
            return selector, error

    def restore_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        wait: bool = True,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        # All who want a version back share one operation, so the request id is not the caller's; asking again is safe.
        self._allow(Verb.RESTORE, type, name, request_id=request_id)
        found = self._find(type, name, version)
        return self._version(self.bring_back(found, wait=wait, on_progress=on_progress, message=message))
