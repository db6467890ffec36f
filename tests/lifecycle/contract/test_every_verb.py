"""Every verb of the face, on both managers: there, and refusing what does not exist with the same error."""

import inspect

import pyarrow as pa
import pytest

from alluxio_lance.errors import NotFound
from alluxio_lance.manager import ResourceManager

NAME = ("datasets", "nope")
ABOUT_A_RESOURCE = {
    "update_resource": lambda m: m.update_resource(*NAME, pa.table({"x": [1]})),
    "activate_resource": lambda m: m.activate_resource(*NAME, "1.0.0"),
    "deprecate_resource": lambda m: m.deprecate_resource(*NAME, "1.0.0"),
    "rollback_resource": lambda m: m.rollback_resource(*NAME),
    "archive_resource": lambda m: m.archive_resource(*NAME, "1.0.0"),
    "restore_resource": lambda m: m.restore_resource(*NAME, "1.0.0"),
    "promote_resource": lambda m: m.promote_resource(*NAME, "1.0.0", to="validation"),
    "measure_resource": lambda m: m.measure_resource(*NAME, "1.0.0", {"a": 1}),
    "tag_resource": lambda m: m.tag_resource(*NAME, "1.0.0", "golden"),
    "untag_resource": lambda m: m.untag_resource(*NAME, "golden"),
    "label_resource": lambda m: m.label_resource(*NAME, {"a": "b"}),
    "branch_resource": lambda m: m.branch_resource(*NAME, "exp"),
    "unbranch_resource": lambda m: m.unbranch_resource(*NAME, "exp"),
    "merge_resource": lambda m: m.merge_resource(*NAME, "exp"),
    "delete_resource": lambda m: m.delete_resource(*NAME),
    "undelete_resource": lambda m: m.undelete_resource(*NAME),
    "purge_resource": lambda m: m.purge_resource(*NAME),
    "get_resource": lambda m: m.get_resource(*NAME),
    "find_version": lambda m: m.find_version(*NAME),
    "list_versions": lambda m: m.list_versions(*NAME),
    "history": lambda m: m.history(*NAME),
    "storage": lambda m: m.storage(*NAME),
    "warm_resource": lambda m: m.warm_resource(*NAME),
    "cool_resource": lambda m: m.cool_resource(*NAME, "1.0.0"),
    "explain_resource": lambda m: m.explain_resource(*NAME),
}


def refused(verb, *arguments):
    """Ask for something that there is not."""
    with pytest.raises(NotFound) as refusal:
        verb(*arguments)
    return refusal.value


ABOUT_EVERYTHING = {
    "register_resource": lambda m: m.register_resource("datasets", "a", pa.table({"x": [1]})),
    "approve_promotion": lambda m: refused(m.approve_promotion, "0" * 8),
    "reject_promotion": lambda m: refused(m.reject_promotion, "0" * 8),
    "list_promotions": lambda m: m.list_promotions(),
    "list_resources": lambda m: m.list_resources(),
    "watch": lambda m: m.watch(),
    "rules": lambda m: m.rules(),
    "set_rules": lambda m: m.set_rules(""),
    "plan_policies": lambda m: m.plan_policies(),
    "run_policies": lambda m: m.run_policies(),
    "whoami": lambda m: m.whoami(),
    "issue_token": lambda m: m.issue_token("ci", ["viewer"]),
    "list_tokens": lambda m: m.list_tokens(),
    "revoke_token": lambda m: refused(m.revoke_token, "0" * 12),
    "reconcile": lambda m: m.reconcile(),
    "alert": lambda m: m.alert({"status": "firing", "alerts": []}),
}


def test_the_tables_of_this_file_have_every_verb():
    """A new verb needs a row."""
    verbs = {name for name, member in inspect.getmembers(ResourceManager) if getattr(member, "__isabstractmethod__", 0)}
    assert verbs - {"close"} == {*ABOUT_A_RESOURCE, *ABOUT_EVERYTHING}


def test_every_verb_says_when_there_is_no_such_resource(manager):
    """The same error, with its type and name in the sentence."""
    for verb, call in ABOUT_A_RESOURCE.items():
        with pytest.raises(NotFound, match="nope"):
            pytest.fail(f"{verb} returned {call(manager)!r}")


def test_every_verb_without_a_resource_works_on_an_empty_catalog(manager):
    """None is left out on the way."""
    for call in ABOUT_EVERYTHING.values():
        assert call(manager) is not None


STORY = [
    ("register", lambda m: m.register_resource("datasets", "a", pa.table({"x": [1]}))),
    ("update", lambda m: m.update_resource("datasets", "a", pa.table({"x": [2]}))),
    ("tag", lambda m: m.tag_resource("datasets", "a", "1.0.0", "golden")),
    ("untag", lambda m: m.untag_resource("datasets", "a", "golden")),
    ("label", lambda m: m.label_resource("datasets", "a", {"team": "vision"})),
    ("measure", lambda m: m.measure_resource("datasets", "a", "1.0.0", {"accuracy": 1})),
    ("promote", lambda m: m.promote_resource("datasets", "a", "1.1.0", to="validation")),
    ("deprecate", lambda m: m.deprecate_resource("datasets", "a", "1.0.0")),
    ("archive", lambda m: m.archive_resource("datasets", "a", "1.0.0")),
    ("restore", lambda m: m.restore_resource("datasets", "a", "1.0.0")),
    ("activate", lambda m: m.activate_resource("datasets", "a", "1.0.0")),
    ("rollback", lambda m: m.rollback_resource("datasets", "a")),
    ("branch", lambda m: m.branch_resource("datasets", "a", "exp")),
    ("merge", lambda m: m.merge_resource("datasets", "a", "exp")),
    ("unbranch", lambda m: m.unbranch_resource("datasets", "a", "exp")),
    ("delete", lambda m: m.delete_resource("datasets", "a", "1.0.0")),
    ("undelete", lambda m: m.undelete_resource("datasets", "a", "1.0.0")),
    ("delete", lambda m: m.delete_resource("datasets", "a")),
    ("purge", lambda m: m.purge_resource("datasets", "a")),
]


def test_a_watch_tells_of_every_verb_as_it_happens(manager):
    """In order, each as the history has it."""
    events = manager.watch(after=0)
    seen = []
    for verb, call in STORY:
        call(manager)
        seen.append(next(events))
        assert seen[-1].verb == verb
    events.close()
    assert seen == manager.history("datasets", "a")
