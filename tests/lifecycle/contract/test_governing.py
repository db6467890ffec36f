"""Governing, on both managers: rules, policies, tokens, who is who, reconcile, storage, search."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.upkeep import Action
from alluxio_lance.values import State

KEEP = """
[[policies]]
name = "few"
types = ["datasets"]
keep_last = 1
"""


def table(n):
    """Make n rows."""
    return pa.table({"id": pa.array(range(n), pa.int64())})


def test_the_rules_are_replaced_as_a_whole_and_only_from_the_revision_that_was_read(manager):
    """A faulty document changes nothing and says where it is wrong."""
    first = manager.rules()
    assert (first.revision, first.changed_at) == (0, None)
    second = manager.set_rules(KEEP, revision=0, message="tidy")
    assert (second.text, second.revision) == (KEEP, 1)
    assert second.changed_at is not None
    assert "@" in second.changed_by
    assert manager.rules() == second
    with pytest.raises(Conflict):
        manager.set_rules("", revision=0)
    with pytest.raises(InvalidArgument, match="policies"):
        manager.set_rules("[[policies]]\nkeep_last = 0")
    assert manager.set_rules("").revision == 2


def test_policies_are_planned_and_run(manager):
    """The plan changes nothing; the run tells for each row how it went."""
    manager.register_resource("datasets", "a", table(1))
    manager.update_resource("datasets", "a", table(1))
    assert manager.plan_policies().rows == ()
    manager.set_rules(KEEP)
    plan = manager.plan_policies("datasets", "a")
    (row,) = plan.rows
    assert (row.action, row.type, row.name, row.semver, row.policy) == (Action.DELETE, "datasets", "a", "1.0.0", "few")
    assert row.reason
    assert (row.blocked, row.holders) == (None, ())
    assert (plan.outcome, abs(datetime.now(UTC) - plan.at) < timedelta(minutes=1)) == ({}, True)
    assert len(manager.list_versions("datasets", "a")) == 2
    assert manager.run_policies("datasets", "a").outcome == {0: "done"}
    assert [version.state for version in manager.list_versions("datasets", "a", deleted=True)] == [State.DELETED]


def test_a_token_is_shown_once_listed_and_ended(manager):
    """The record has no secret."""
    token, secret = manager.issue_token("ci", ["viewer"], lifetime=timedelta(hours=1), message="for the build")
    assert len(token.id) == 12
    assert token.id in secret
    assert (token.name, token.roles, token.expires_at - token.created_at) == ("ci", ("viewer",), timedelta(hours=1))
    forever, _ = manager.issue_token("cron", ["viewer"])
    assert forever.expires_at is None
    assert [found.id for found in manager.list_tokens()] == [forever.id, token.id]
    ended = manager.revoke_token(token.id)
    assert ended.revoked_at is not None
    assert manager.list_tokens()[1] == ended
    with pytest.raises(NotFound):
        manager.revoke_token("0" * 12)
    with pytest.raises(InvalidArgument):
        manager.issue_token("ci", ["no-such-role"])


def test_the_user_of_the_process_is_admin(manager):
    """In process as over the socket."""
    who = manager.whoami()
    assert "admin" in who.roles
    assert "@" in who.actor
    assert who.method in ("embedded", "peer")
    assert who.origin


def test_reconcile_with_nothing_left_finds_nothing(manager):
    """Verbs that ended well leave no work."""
    manager.register_resource("datasets", "a", table(1))
    assert manager.reconcile() == []


def test_storage_tells_what_versions_take_alone_and_together(manager):
    """Newest first; shared files are counted in each."""
    manager.register_resource("datasets", "a", table(1000))
    manager.update_resource("datasets", "a", table(10))
    report = manager.storage("datasets", "a")
    assert (report.type, report.name) == ("datasets", "a")
    assert [version.semver for version in report.versions] == ["1.1.0", "1.0.0"]
    newest = report.versions[0]
    assert newest.shared_bytes > 0
    assert newest.hot_bytes == newest.unique_bytes + newest.shared_bytes
    assert report.table_bytes >= newest.hot_bytes
    assert (report.cold_bytes, newest.cold_bytes, newest.state) == (0, 0, State.ACTIVE)
    with pytest.raises(NotFound):
        manager.storage("datasets", "nope")


def test_resources_are_found_by_a_text_in_name_or_message(manager):
    """Archived versions count, too; in whichever case."""
    manager.register_resource("datasets", "birds", table(1), message="Photos of wrens")
    manager.update_resource("datasets", "birds", table(1), message="more")
    manager.register_resource("datasets", "fish", table(1))
    manager.archive_resource("datasets", "birds", "1.0.0")
    assert [r.name for r in manager.list_resources(search="WREN")] == ["birds"]
    assert [r.name for r in manager.list_resources("datasets", search="is")] == ["fish"]
    assert manager.list_resources(search="whale") == []


def test_events_carry_where_they_come_from_and_their_link(manager):
    """What the audit chain needs goes over the wire as well."""
    manager.register_resource("datasets", "a", table(1), request_id="r1")
    manager.deprecate_resource("datasets", "a", "1.0.0")
    first, second = manager.history("datasets", "a")
    assert (first.request_id, second.request_id) == ("r1", None)
    assert all(event.origin and len(event.hash) == 64 for event in (first, second))
    assert first.hash != second.hash
