"""What is written on versions and resources without touching their data: tags, labels, metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from alluxio_lance.errors import AlreadyExists, Internal, InvalidArgument, InvalidURI, NotFound
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.ports import Catalog, Change
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.uri import Label, ResourceName, parse_selector
from alluxio_lance.values import Version

__all__ = ["Namer", "check_branch_name", "check_labels", "check_metrics", "check_tag_name"]

_BRANCH: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_LABEL_KEY: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_LONGEST_VALUE: Final = 200
_METRIC: Final = re.compile(r"[^\s\x00-\x1f](?:[^\x00-\x1f]{0,98}[^\s\x00-\x1f])?")


class Namer:
    """Tag, untag, label and measure over a catalog. Each is one transaction and takes no lock."""

    def __init__(self, catalog: Catalog, book: RulesBook) -> None:
        self._catalog = catalog
        self._book = book

    def tag(self, running: Running, selector: str, tag: str, message: str, *, move: bool) -> Version:
        """Give a version a tag.

        Raises
        ------
        AlreadyExists
            When another version has it and ``move`` is off.
        InvalidArgument
            When the name is one of a stage or branch.
        """
        operation = running.operation
        self._check_free(tag, operation.type, operation.name)
        target = self._catalog.find(ResourceName(operation.type, operation.name, parse_selector(selector)))
        change = replace(
            Change.of(operation, message),
            about=target.semver,
            tags={tag: target.semver},
            move_tags=move,
        )
        return self._committed(running, change)

    def untag(self, running: Running, tag: str, message: str) -> Version:
        """Take a tag away and return the version that had it.

        Raises
        ------
        NotFound
            When no version has it.
        """
        operation = running.operation
        versions = self._catalog.versions(operation.type, operation.name)
        target = next((version for version in versions if tag in version.tags), None)
        if target is None:
            have = ", ".join(sorted(tag for version in versions for tag in version.tags)) or "none"
            raise NotFound(
                f"no version of {operation.type}/{operation.name} has the tag {tag!r}; the tags there are: {have}"
            )
        change = replace(
            Change.of(operation, message),
            about=target.semver,
            tags={tag: None},
        )
        return self._committed(running, change)

    def label(self, running: Running, labels: Mapping[str, str | None], message: str) -> None:
        """Set labels of a resource; None removes one."""
        operation = running.operation
        if self._catalog.resource(operation.type, operation.name) is None:
            raise NotFound(f"there is no {operation.type}/{operation.name} to label: see `alluxio-lance list`")
        change = replace(
            Change.of(operation, message),
            labels=labels,
        )
        self._catalog.commit(running.id, change, locked=False)

    def measure(self, running: Running, selector: str, metrics: Mapping[str, Any], message: str) -> Version:
        """Add metrics to a version; a value of None removes one. `check_metrics` comes first."""
        operation = running.operation
        target = self._catalog.find(ResourceName(operation.type, operation.name, parse_selector(selector)))
        change = replace(
            Change.of(operation, message),
            about=target.semver,
            metrics={target.semver: metrics},
        )
        return self._committed(running, change)

    def check_free_for_branch(self, branch: str, type: str, name: str) -> None:
        """Refuse a branch whose name already means something else.

        Raises
        ------
        AlreadyExists
            When there is such a branch, or a version has a tag of that name.
        InvalidArgument
            When a stage is called so.
        """
        self._check_no_stage("branch", branch)
        if branch in {each.name for each in self._catalog.branches(type, name)}:
            raise AlreadyExists(
                f"{type}/{name} has a branch {branch!r} already: go on with it (`alluxio-lance update {type}/{name} DATA --branch {branch}`), or choose another name"
            )
        tagged = next((v for v in self._catalog.versions(type, name) if branch in v.tags), None)
        if tagged is not None:
            raise AlreadyExists(
                f"{branch!r} is a tag of {type}/{name} {tagged.semver}, and @{branch} means that: choose another name for the branch"
            )

    def _check_free(self, tag: str, type: str, name: str) -> None:
        self._check_no_stage("tag", tag)
        if tag in {branch.name for branch in self._catalog.branches(type, name)}:
            raise InvalidArgument(
                f"{tag!r} is a branch of {type}/{name}, and @{tag} means its newest version: choose another tag"
            )

    def _check_no_stage(self, what: str, text: str) -> None:
        stages: Collection[str] = self._book.current().stages
        if text in stages:
            raise InvalidArgument(
                f"{text!r} is a stage, and @{text} means who holds it: choose another name for the {what} (the stages are {', '.join(stages)})"
            )

    def _committed(self, running: Running, change: Change) -> Version:
        version = self._catalog.commit(running.id, change, locked=False)
        if version is None:
            raise Internal(f"the catalog wrote on {change.about} and returned no version")
        return version


# -- the grammars ------------------------------------------------------------------------------------------------------


def check_tag_name(tag: str) -> None:
    """Refuse what is no tag: what a URI reads as something else, or Lance's own tags cannot be called.

    Raises
    ------
    InvalidArgument
        With the grammar.
    """
    if not _is_label(tag) or ".." in tag or tag.endswith((".", ".lock")):
        raise InvalidArgument(
            f"{tag!r} is no tag: it begins with a letter, has letters, digits, '.', '_' and '-', 100 at most, no '..', does not end "
            "with '.' or '.lock', and is no version, 'active', 'v7' or 'sha-…'"
        )


def check_branch_name(branch: str) -> None:
    """Refuse what is no name of a branch.

    Raises
    ------
    InvalidArgument
        With the grammar.
    """
    if not _is_label(branch) or not _BRANCH.fullmatch(branch) or branch == "main":
        raise InvalidArgument(
            f"{branch!r} is no name of a branch: it begins with a letter, has letters, digits and '-', 63 at most, and is not 'main', "
            "'active', 'v7' or 'sha-…'"
        )


def _is_label(text: str) -> bool:
    try:
        # The selector drops an @ in front, which no name has.
        return not text.startswith("@") and isinstance(parse_selector(text), Label)
    except InvalidURI:
        return False


def check_labels(labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """Refuse what are no labels of a resource.

    Raises
    ------
    InvalidArgument
        With the grammar, or when there are none.
    """
    if not labels:
        raise InvalidArgument("there are no labels to set: give KEY=VALUE, or a key with None to remove it")
    for key, value in labels.items():
        if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
            raise InvalidArgument(
                f"{key!r} is no key of a label: it begins with a letter, ends with a letter or digit, and has letters, digits, '.', "
                "'_', '/' and '-', 63 at most"
            )
        if value is not None and not _is_label_value(value):
            raise InvalidArgument(
                f"the label {key} has the value {value!r}: give one line of text, 1 to {_LONGEST_VALUE} characters, without spaces at its ends"
            )
    return dict(labels)


def _is_label_value(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_VALUE
        and value == value.strip()
        and all(character.isprintable() for character in value)
    )


def check_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse what are no metrics: names that nobody could read, values that are no JSON.

    Raises
    ------
    InvalidArgument
        Naming the metric.
    """
    if not metrics:
        raise InvalidArgument("there are no metrics to add: give NAME=VALUE, or a name with None to remove it")
    checked: dict[str, Any] = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or not _METRIC.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} is no name of a metric: give one line of text, 1 to 100 characters, without spaces at its ends"
            )
        try:
            checked[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"the metric {name} is {value!r}, which is no JSON value: give a number ({error})"
            ) from None
    return checked
