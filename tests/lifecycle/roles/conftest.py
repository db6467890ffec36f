"""One system, and on each of its faces one manager per role: views in this process, and tokens over gRPC."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.governance import Identity
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.values import Outcome, Verb

ROLES = ("viewer", "developer", "releaser", "admin", "limited")
RULES = """
[tags]
protected = ["golden"]

[roles.limited]
inherits = ["viewer"]
[[roles.limited.grants]]
types = ["datasets"]
names = ["vision/*"]
stages = ["production"]
verbs = [
  "register", "update", "deprecate", "tag", "untag", "label", "branch", "merge", "measure", "promote", "prefetch",
  "restore", "activate", "rollback", "approve", "reject", "archive",
]

[[gates]]
name = "two-eyes"
kind = "approval"
on = ["validation -> production"]
names = ["*approval*"]
role = "viewer"
allow_self = true
"""


class Somebody:
    """Who has one role, on one face."""

    def __init__(self, manager, cache, actor):
        self.manager = manager
        self.cache = cache
        self.actor = actor


class ViewCache:
    """The cache's verbs where there is no shared memory: only the check."""

    def __init__(self, manager):
        self._manager = manager

    def prefetch(self, uri):
        """Ask whether it may be."""
        self._manager.allow(Verb.PREFETCH, *uri.removeprefix("alluxio://").split("/", 1))

    def evict(self, uri):
        """Ask whether it may be."""
        self._manager.allow(Verb.EVICT, *uri.removeprefix("alluxio://").split("/", 1))


class System:
    """A running node, its admin, and the people on one face."""

    def __init__(self, sidecar, people):
        self.admin = sidecar.manager
        self.catalog = sidecar.manager.catalog
        self.people = people

    def denials(self):
        """Return the audit rows of what was refused, oldest first."""
        rows, after = [], 0
        while page := self.catalog.events(after=after, outcome=Outcome.DENIED):
            rows += page
            after = page[-1].sequence
        return rows

    def state(self, type, name):
        """Return what a verb could change: every change of anything writes an audit row, too."""
        admin = self.admin
        there = {
            deleted: self.catalog.versions(type, name, deleted=deleted)
            for deleted in (False, True)
            if self.catalog.resource(type, name, deleted=deleted)
        }
        tokens = [(token.id, token.revoked_at) for token in admin.list_tokens()]
        return there, self.catalog.resource(type, name), tokens, admin.rules(), self.catalog.last_event()


@pytest.fixture(scope="module", params=["in process", "grpc"])
def system(request):
    """One for all tests: each makes resources of its own."""
    with ExitStack() as stack:
        # Socket paths have at most 107 bytes: pytest's own folders are too deep.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="al-")))
        sidecar = stack.enter_context(
            Sidecar(Settings(root=folder / "root", run_dir=folder / "run", node="n1", memory_budget="64MiB"))
        )
        sidecar.manager.set_rules(RULES)
        people = {}
        for role in ROLES:
            if request.param == "grpc":
                people[role] = _bearer(stack, sidecar, role)
            else:
                who = Identity(actor=f"{role}@n1", roles=(role,), method="embedded", origin="unix:pid=1")
                view = sidecar.manager.acting_as(who)
                people[role] = Somebody(view, ViewCache(view), who.actor)
        yield System(sidecar, people)


def _bearer(stack, sidecar, role):
    _, secret = sidecar.manager.issue_token(role, [role])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLUXIO_LANCE_TOKEN", secret)
        manager = stack.enter_context(RemoteManager.open(sidecar.address))
        cache = stack.enter_context(RemoteCache.connect(sidecar.address))
    return Somebody(manager, cache, f"token:{role}")
