"""Every verb for every role, on both faces: allowed or denied as the table says; what is denied is audited and changes nothing."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pytest

from alluxio_lance.errors import Conflict, PermissionDenied, PolicyDenied
from alluxio_lance.governance import Identity
from alluxio_lance.values import Verb

DEVELOPERS = {"developer", "releaser", "admin"}
RELEASERS = {"releaser", "admin"}
ADMINS = {"admin"}
EVERYBODY = {"viewer", *DEVELOPERS, "limited"}
NUMBERS = itertools.count()


def rows(start=0):
    """Make two rows."""
    return pa.table({"id": pa.array([start, start + 1], pa.int64())})


class Place:
    """A resource of one test, made by the admin."""

    def __init__(self, system, name):
        self.system = system
        self.admin = system.admin
        self.of = ("datasets", name)
        self.uri = f"alluxio://datasets/{name}"
        self.id = None

    def register(self):
        """Make it, with an active version 1.0.0."""
        self.admin.register_resource(*self.of, rows(), version="1.0.0")

    def update(self, version="1.1.0", *, activate=False):
        """Add a version."""
        self.admin.update_resource(*self.of, rows(2), version=version, activate=activate)

    def promote(self, *stages, version="1.1.0"):
        """Lead a version through stages."""
        for stage in stages:
            self.admin.promote_resource(*self.of, version, to=stage)


def evict(cache, uri):
    """Drop a version, which may just be on its way into memory: then there is nothing to drop yet."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return cache.evict(uri)
        except Conflict:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)


def nothing(place):
    """Prepare nothing."""


def one(place):
    """Prepare one version, the active one."""
    place.register()


def two(place):
    """Prepare an active version, and a newer one."""
    place.register()
    place.update()


def validated(place):
    """Prepare a version that waits for production."""
    two(place)
    place.promote("validation")


def moved(place):
    """Prepare a pointer that has moved."""
    place.register()
    place.update(activate=True)


def archived(place):
    """Prepare an archived version."""
    two(place)
    place.admin.archive_resource(*place.of, "1.1.0")


def tagged(place):
    """Prepare tags."""
    two(place)
    for tag in ("mine", "golden"):
        place.admin.tag_resource(*place.of, "1.1.0", tag)


def branched(place):
    """Prepare a branch."""
    one(place)
    place.admin.branch_resource(*place.of, "exp")


def deleted(place):
    """Prepare a deleted version."""
    two(place)
    place.admin.delete_resource(*place.of, "1.1.0")


def waiting(place):
    """Prepare a promotion to production that waits."""
    validated(place)
    with pytest.raises(PolicyDenied) as caught:
        place.promote("production")
    place.id = caught.value.details["promotion"]


def token(place):
    """Prepare a token."""
    place.id = place.admin.issue_token(f"t{next(NUMBERS)}", ["viewer"])[0].id


def look(who, place):
    """Look in every way there is."""
    manager = who.manager
    manager.find_version(*place.of)
    manager.list_resources()
    manager.list_versions(*place.of)
    manager.history(*place.of)
    manager.storage(*place.of)
    manager.rules()
    manager.list_promotions(*place.of)
    manager.plan_policies()
    manager.explain_resource(*place.of)
    assert manager.get_resource(*place.of).version == 1


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    id: str
    verb: Verb
    prepare: Callable
    do: Callable
    may: set
    """Who may; a releaser who is limited may what a releaser may, within his limits."""
    limited: bool | None = None
    """Whether the limited one may, within his names; by default as a releaser."""
    name: str = ""


def verbs(who, place, name, *arguments, **options):
    """Call a verb of the manager on the place."""
    return getattr(who.manager, f"{name}_resource")(*place.of, *arguments, **options)


TABLE = [
    Row("read", Verb.READ, one, look, EVERYBODY),
    Row("register", Verb.REGISTER, nothing, lambda w, p: verbs(w, p, "register", rows(), activate=False), DEVELOPERS),
    Row("register active", Verb.REGISTER, nothing, lambda w, p: verbs(w, p, "register", rows()), RELEASERS),
    Row("update", Verb.UPDATE, one, lambda w, p: verbs(w, p, "update", rows(9), activate=False), DEVELOPERS),
    Row("update active", Verb.UPDATE, one, lambda w, p: verbs(w, p, "update", rows(9)), RELEASERS),
    Row("merge", Verb.MERGE, branched, lambda w, p: verbs(w, p, "merge", "exp", activate=False), DEVELOPERS),
    Row("merge active", Verb.MERGE, branched, lambda w, p: verbs(w, p, "merge", "exp"), RELEASERS),
    Row("activate", Verb.ACTIVATE, two, lambda w, p: verbs(w, p, "activate", "1.1.0"), RELEASERS),
    Row("deprecate", Verb.DEPRECATE, two, lambda w, p: verbs(w, p, "deprecate", "1.1.0"), DEVELOPERS),
    Row("rollback", Verb.ROLLBACK, moved, lambda w, p: verbs(w, p, "rollback"), RELEASERS),
    Row("archive", Verb.ARCHIVE, two, lambda w, p: verbs(w, p, "archive", "1.1.0"), RELEASERS),
    Row("restore", Verb.RESTORE, archived, lambda w, p: verbs(w, p, "restore", "1.1.0"), DEVELOPERS),
    Row("to validation", Verb.PROMOTE, two, lambda w, p: verbs(w, p, "promote", "1.1.0", to="validation"), DEVELOPERS, limited=False),
    Row("to production", Verb.PROMOTE, validated, lambda w, p: verbs(w, p, "promote", "1.1.0", to="production"), RELEASERS),
    Row("approve", Verb.APPROVE, waiting, lambda w, p: w.manager.approve_promotion(p.id), RELEASERS, name="approval-"),
    Row("reject", Verb.REJECT, waiting, lambda w, p: w.manager.reject_promotion(p.id), RELEASERS, name="approval-"),
    Row("measure", Verb.MEASURE, one, lambda w, p: verbs(w, p, "measure", "1.0.0", {"accuracy": 1}), DEVELOPERS),
    Row("tag", Verb.TAG, two, lambda w, p: verbs(w, p, "tag", "1.1.0", "mine"), DEVELOPERS),
    Row("tag protected", Verb.TAG, two, lambda w, p: verbs(w, p, "tag", "1.1.0", "golden"), ADMINS),
    Row("move protected", Verb.TAG, tagged, lambda w, p: verbs(w, p, "tag", "1.0.0", "golden", move=True), ADMINS),
    Row("untag", Verb.UNTAG, tagged, lambda w, p: verbs(w, p, "untag", "mine"), DEVELOPERS),
    Row("untag protected", Verb.UNTAG, tagged, lambda w, p: verbs(w, p, "untag", "golden"), ADMINS),
    Row("label", Verb.LABEL, one, lambda w, p: verbs(w, p, "label", {"team": "a"}), DEVELOPERS),
    Row("branch", Verb.BRANCH, one, lambda w, p: verbs(w, p, "branch", "exp"), DEVELOPERS),
    Row("unbranch", Verb.UNBRANCH, branched, lambda w, p: verbs(w, p, "unbranch", "exp"), ADMINS),
    Row("delete", Verb.DELETE, two, lambda w, p: verbs(w, p, "delete", "1.1.0"), ADMINS),
    Row("delete all", Verb.DELETE, two, lambda w, p: verbs(w, p, "delete"), ADMINS),
    Row("undelete", Verb.UNDELETE, deleted, lambda w, p: verbs(w, p, "undelete", "1.1.0"), ADMINS),
    Row("purge", Verb.PURGE, deleted, lambda w, p: verbs(w, p, "purge", "1.1.0"), ADMINS),
    Row("force", Verb.PURGE, two, lambda w, p: verbs(w, p, "delete", "1.1.0", force=True), ADMINS),
    Row("prefetch", Verb.PREFETCH, one, lambda w, p: list(w.cache.prefetch(p.uri) or ()), DEVELOPERS),
    Row("evict", Verb.EVICT, one, lambda w, p: evict(w.cache, p.uri), ADMINS),
    Row("warm", Verb.PREFETCH, one, lambda w, p: verbs(w, p, "warm"), DEVELOPERS),
    Row("cool", Verb.EVICT, two, lambda w, p: verbs(w, p, "cool", "1.1.0"), ADMINS),
    Row("set rules", Verb.CONFIGURE, nothing, lambda w, p: w.manager.set_rules(p.admin.rules().text), ADMINS),
    Row("issue token", Verb.ISSUE_TOKEN, nothing, lambda w, _: w.manager.issue_token("x", ["viewer"]), ADMINS),
    Row("revoke token", Verb.REVOKE_TOKEN, token, lambda w, p: w.manager.revoke_token(p.id), ADMINS),
    Row("reconcile", Verb.RECONCILE, nothing, lambda w, _: w.manager.reconcile(), ADMINS),
    Row("run policies", Verb.JANITOR, nothing, lambda w, _: w.manager.run_policies(), ADMINS),
]  # fmt: skip


def test_the_table_leaves_no_verb_out():
    """A new verb needs a row."""
    assert {row.verb for row in TABLE} == set(Verb)


def _who():
    for row in TABLE:
        limited = row.limited if row.limited is not None else "releaser" in row.may
        for role in ("viewer", "developer", "releaser", "admin"):
            yield pytest.param(row, role, "vision", role in row.may, id=f"{row.id}-{role}")
        yield pytest.param(row, "limited", "vision", limited, id=f"{row.id}-limited")
        yield pytest.param(row, "limited", "audio", row.may == EVERYBODY, id=f"{row.id}-limited elsewhere")


@pytest.mark.parametrize(("row", "role", "group", "may"), list(_who()))
def test_everybody_may_what_the_table_says_and_nothing_else(system, row, role, group, may):
    """Allowed: it is done. Denied: one audit row more, and nothing else has changed."""
    place = Place(system, f"{group}/{row.name}{next(NUMBERS)}")
    row.prepare(place)
    who = system.people[role]
    denials = len(system.denials())
    if may:
        row.do(who, place)
        assert len(system.denials()) == denials
        return
    before = system.state(*place.of)
    with pytest.raises(PermissionDenied) as caught:
        row.do(who, place)
    assert system.state(*place.of) == before
    added = system.denials()[denials:]
    assert [(event.actor, event.message) for event in added] == [(who.actor, caught.value.message)]
    expected = {row.verb, Verb.ACTIVATE} if row.id.endswith(" active") else {row.verb}
    assert added[0].verb in expected
    assert caught.value.details["allowed_roles"]
    assert role not in caught.value.details["allowed_roles"] or role == "limited"


def test_a_denied_call_does_not_tell_whether_the_resource_is_there(system):
    """Refused all the same."""
    for name in ("vision/never", "audio/never"):
        with pytest.raises(PermissionDenied):
            system.people["viewer"].manager.activate_resource("datasets", name, "1.0.0")


def test_who_has_no_grant_for_a_resource_does_not_see_it_in_the_list(system):
    """A role without viewer sees what its grants name."""
    for name in ("vision/seen", "audio/unseen"):
        Place(system, name).register()
    system.admin.set_rules(
        system.admin.rules().text.rstrip()
        + '\n[roles.narrow]\ngrants = [{ verbs = ["read"], types = ["datasets"], names = ["vision/s*"] }]\n'
    )
    view = system.admin.acting_as(Identity(actor="narrow@n1", roles=("narrow",), method="peer", origin="unix:pid=1"))
    assert [resource.name for resource in view.list_resources()] == ["vision/seen"]
    with pytest.raises(PermissionDenied):
        view.find_version("datasets", "audio/unseen")
