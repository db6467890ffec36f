"""The verbs that give names: tags, labels, branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from alluxio_lance.errors import NotFound
from alluxio_lance.lifecycle.branching import BranchParams
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.data import DataVerbs
from alluxio_lance.lifecycle.naming import check_branch_name, check_labels, check_tag_name
from alluxio_lance.lifecycle.uri import parse_name, parse_selector
from alluxio_lance.lifecycle.writing import MergeParams, as_params, check_bump
from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.values import Resource, Verb, Version

__all__ = ["NameVerbs"]


class NameVerbs(DataVerbs):
    """Tag, untag, label, branch, unbranch, merge."""

    def tag_resource(
        self,
        type: str,
        name: str,
        version: str,
        tag: str,
        *,
        move: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        parse_name(type, name)
        parse_selector(version)
        check_tag_name(tag)
        params = {"version": version, "tag": tag, "move": move, "message": message}

        def work(running: Running) -> Version:
            return self._rooms.namer.tag(running, version, tag, message, move=move)

        return self._version(self._run(Verb.TAG, type, name, params, request_id, work, locked=False, tag=tag))

    def untag_resource(
        self, type: str, name: str, tag: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        parse_name(type, name)
        check_tag_name(tag)
        params = {"tag": tag, "message": message}

        def work(running: Running) -> Version:
            return self._rooms.namer.untag(running, tag, message)

        return self._version(self._run(Verb.UNTAG, type, name, params, request_id, work, locked=False, tag=tag))

    def label_resource(
        self,
        type: str,
        name: str,
        labels: Mapping[str, str | None],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Resource:
        parse_name(type, name)
        checked = check_labels(labels)
        self._check_labels_free(type, name, checked, request_id)
        params = {"labels": checked, "message": message}

        def work(running: Running) -> None:
            self._rooms.namer.label(running, checked, message)

        self._run(Verb.LABEL, type, name, params, request_id, work, locked=False)
        resource = self.catalog.resource(type, name)
        if resource is None:
            raise NotFound(f"{type}/{name} has been deleted since: see `alluxio-lance list --deleted`")
        return self._located(resource)

    def _check_labels_free(
        self, type: str, name: str, labels: Mapping[str, str | None], request_id: str | None
    ) -> None:
        """Keep the labels by which rights and gates go for those who may change the rules.

        Who labels could else bring a resource under his own grant, or take it from under a gate.
        """
        self._allow(Verb.LABEL, type, name, request_id=request_id)
        access = self._rooms.access
        taken = sorted(access.deciding_labels() & set(labels))
        if taken and not access.may(self._identity, Verb.CONFIGURE):
            access.refuse(
                self._identity,
                Verb.LABEL,
                type,
                name,
                f"may not label {type}/{name} with {', '.join(taken)}: grants, gates or automations go by it - ask "
                "somebody who may change the rules",
                request_id=request_id,
                labels=taken,
            )

    def branch_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        version: str | None = None,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        parse_name(type, name)
        check_branch_name(branch)
        if version is not None:
            parse_selector(version)
        params = BranchParams(branch=branch, version=version, message=message)

        def work(running: Running) -> Version:
            return self._rooms.brancher.branch(running, params, self._rooms.namer)

        return self._version(
            self._bringing_back(
                type, name, lambda: self._run(Verb.BRANCH, type, name, asdict(params), request_id, work)
            )
        )

    def unbranch_resource(
        self, type: str, name: str, branch: str, *, message: str = "", request_id: str | None = None
    ) -> None:
        parse_name(type, name)
        check_branch_name(branch)
        params = {"branch": branch, "message": message}

        def work(running: Running) -> None:
            self._rooms.brancher.unbranch(running, branch, message)

        self._run(Verb.UNBRANCH, type, name, params, request_id, work)

    def merge_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        bump: Bump | None = None,
        activate: bool = True,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        check_branch_name(branch)
        check_bump(bump)
        self._allow_new(Verb.MERGE, type, name, request_id, activate=activate)
        guarded = activate and self._is_guarded(type, name)
        params = MergeParams(branch=branch, bump=bump, message=message, activate=activate and not guarded)

        def work(running: Running) -> Version:
            return self._rooms.brancher.merge(running, params, on_progress)

        made = self._bringing_back(
            type, name, lambda: self._run(Verb.MERGE, type, name, as_params(params), request_id, work)
        )
        return self._version(self._ask_gates(made, message) if guarded else made)
