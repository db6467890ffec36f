"""What roles grant, and how a refusal reads; over real rules in a real catalog."""

import pytest

from alluxio_lance.errors import PermissionDenied
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.access import Access
from alluxio_lance.lifecycle.access.roles import BUILT_IN
from alluxio_lance.lifecycle.rules.checking import BUILT_IN_ROLES
from alluxio_lance.values import Outcome, Verb

RULES = """
[tags]
protected = ["golden", "release-*"]

[roles.shipper]
inherits = ["viewer"]
grants = [
  { verbs = ["promote", "activate", "tag"], types = ["models"], names = ["vision/*"], stages = ["production"], tags = ["release-*"] },
]
[roles.tagger]
grants = [{ verbs = ["tag", "untag"], tags = ["*"] }, { verbs = ["tag"], tags = ["**", "?*", "g?ld*"], names = ["b"] }]
[roles.team]
grants = [{ verbs = ["*"], labels = { team = "vision*" } }]
[roles.lead]
inherits = ["shipper", "tagger"]
[roles.boss]
inherits = ["admin"]
"""


def somebody(*roles):
    """Make an identity."""
    return Identity(actor="alice@n1", roles=roles, method="peer", origin="unix:pid=1")


@pytest.fixture
def access(catalog, book, configure):
    """The check, over the rules above."""
    configure(RULES)
    return Access(catalog, book)


VIEWER = {Verb.READ}
DEVELOPER = VIEWER | {
    Verb.REGISTER, Verb.UPDATE, Verb.DEPRECATE, Verb.TAG, Verb.UNTAG, Verb.LABEL, Verb.BRANCH, Verb.MERGE,
    Verb.MEASURE, Verb.PROMOTE, Verb.PREFETCH, Verb.RESTORE,
}  # fmt: skip
RELEASER = DEVELOPER | {Verb.ACTIVATE, Verb.ROLLBACK, Verb.APPROVE, Verb.REJECT, Verb.ARCHIVE}


@pytest.mark.parametrize("verb", Verb)
def test_the_built_in_roles_may_exactly_this(access, verb):
    """Verb by verb; the validation of rules knows the same names."""
    may = {role for role in BUILT_IN if access.may(somebody(role), verb, "datasets", "a")}
    expected = {"viewer": VIEWER, "developer": DEVELOPER, "releaser": RELEASER, "admin": set(Verb)}
    assert may == {role for role, verbs in expected.items() if verb in verbs}
    assert set(BUILT_IN) == BUILT_IN_ROLES
    assert not access.may(somebody(), verb, "datasets", "a")
    assert not access.may(somebody("nobody-defines-this"), verb, "datasets", "a")


@pytest.mark.parametrize(
    ("role", "stages"),
    [
        ("viewer", set()),
        ("developer", {"experiment", "validation"}),
        ("releaser", {"experiment", "validation", "production", "archived"}),
        ("shipper", {"production"}),
    ],
)
def test_a_promotion_needs_a_grant_of_its_stage(access, role, stages):
    """Developers promote up to validation."""
    all_stages = {"experiment", "validation", "production", "archived"}
    may = {s for s in all_stages if access.may(somebody(role), Verb.PROMOTE, "models", "vision/a", stage=s)}
    assert may == stages


@pytest.mark.parametrize(
    ("role", "type", "name", "may"),
    [
        ("shipper", "models", "vision/a", True),
        ("shipper", "models", "vision/a/b", True),
        ("shipper", "models", "audio/a", False),
        ("shipper", "datasets", "vision/a", False),
        ("shipper", "models", "", False),
        ("shipper", "", "", False),
        ("lead", "models", "vision/a", True),
        ("boss", "", "", True),
        ("admin", "models", "", True),
    ],
)
def test_a_grant_is_limited_to_types_and_names(access, role, type, name, may):
    """No name means all of them: only a grant without limits covers that."""
    assert access.may(somebody(role), Verb.ACTIVATE, type, name) is may


@pytest.mark.parametrize(
    ("role", "name", "tag", "may"),
    [
        ("developer", "b", "mine", True),
        ("developer", "b", "golden", False),
        ("releaser", "b", "release-1", False),
        ("admin", "b", "golden", True),
        ("boss", "b", "golden", True),
        ("tagger", "a", "mine", True),
        ("tagger", "a", "golden", False),
        ("tagger", "b", "golden", True),
        ("tagger", "b", "release-1", False),
        ("shipper", "vision/x", "release-1", True),
        ("shipper", "vision/x", "golden", False),
        ("shipper", "vision/x", "mine", False),
        ("lead", "vision/x", "mine", True),
    ],
)
def test_a_protected_tag_needs_a_grant_that_names_it(access, role, name, tag, may):
    """`*`, `**` and `?*` name nothing."""
    assert access.may(somebody(role), Verb.TAG, "models", name, tag=tag) is may


@pytest.mark.parametrize(
    ("labels", "may"),
    [({"team": "vision"}, True), ({"team": "vision-2", "x": "y"}, True), ({"team": "audio"}, False), ({}, False)],
)
def test_a_grant_may_go_by_labels(access, labels, may):
    """Of the resource as it is."""
    assert access.may(somebody("team"), Verb.UPDATE, "models", "a", labels=labels) is may


class Counting:
    """The catalog, with a count of the looks at resources."""

    def __init__(self, catalog):
        self.catalog = catalog
        self.looks = 0

    def resource(self, *arguments, **options):
        """Count, then look."""
        self.looks += 1
        return self.catalog.resource(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.catalog, name)


def test_labels_are_looked_up_only_when_a_rule_needs_them(catalog, book, configure):
    """Most checks ask the catalog for nothing but the rules; a resource that is not there has no labels."""
    configure(RULES)
    counting = Counting(catalog)
    access = Access(counting, book)
    assert access.may(somebody("developer"), Verb.UPDATE, "models", "a")
    assert not access.may(somebody("developer", "shipper"), Verb.PURGE, "models", "a")
    assert counting.looks == 0
    assert not access.may(somebody("team"), Verb.UPDATE, "models", "a")
    assert counting.looks == 2
    assert not access.may(somebody("team"), Verb.CONFIGURE)
    assert counting.looks == 2


@pytest.mark.parametrize(
    ("roles", "role", "has"),
    [
        (("releaser",), "viewer", True),
        (("releaser",), "admin", False),
        (("lead",), "tagger", True),
        (("boss",), "anything", True),
        ((), "viewer", False),
        (("gone",), "gone", True),
    ],
)
def test_a_role_is_had_with_all_that_it_inherits(access, roles, role, has):
    """An admin has every role."""
    assert access.has_role(somebody(*roles), role) is has


@pytest.mark.parametrize(
    ("roles", "arguments", "options", "sentence", "able"),
    [
        (
            ("viewer",),
            (Verb.PROMOTE, "models", "vision/a"),
            {"stage": "production", "semver": "1.0.0", "request_id": "r1"},
            "alice@n1 with the role viewer may not promote models/vision/a to production - the roles admin, boss, lead,",
            ["admin", "boss", "lead", "releaser", "shipper"],
        ),
        (
            ("viewer", "developer"),
            (Verb.TAG, "models", "a"),
            {"tag": "golden"},
            "alice@n1 with the roles viewer, developer may not tag models/a with the tag golden - the roles admin and boss",
            ["admin", "boss"],
        ),
        ((), (Verb.READ, "", ""), {}, "alice@n1 without a role may not read all resources - the roles", None),
        (
            ("viewer",),
            (Verb.CONFIGURE, "", ""),
            {},
            "alice@n1 with the role viewer may not configure - the roles",
            None,
        ),
        (("tagger",), (Verb.READ, "models", ""), {}, "may not read models/* - the roles", None),
    ],
)
def test_a_refusal_says_all_and_is_audited_once(access, catalog, roles, arguments, options, sentence, able):
    """Who, with which roles, may not do what to what, and which roles could."""
    with pytest.raises(PermissionDenied) as caught:
        access.check(somebody(*roles), *arguments, **options)
    assert sentence in caught.value.message
    verb, type, name = arguments
    details = caught.value.details
    assert (details["actor"], details["roles"], details["verb"]) == ("alice@n1", list(roles), verb)
    assert (details["type"], details["name"], details.get("stage")) == (type, name, options.get("stage"))
    if able:
        assert details["allowed_roles"] == able
    [row] = catalog.events(outcome=Outcome.DENIED)
    assert (row.verb, row.type, row.name, row.actor) == (verb, type, name, "alice@n1")
    assert (row.origin, row.message) == ("unix:pid=1", caught.value.message)
    assert (row.semver, row.request_id) == (options.get("semver"), options.get("request_id"))


def test_only_admins_remain_when_no_other_role_may(catalog, book):
    """Then the sentence names that one."""
    with pytest.raises(PermissionDenied, match="the role admin may: ask somebody who has it"):
        Access(catalog, book).check(somebody("releaser"), Verb.PURGE, "models", "a")


def test_what_is_granted_passes_and_leaves_no_row(access, catalog):
    """Looking is not audited."""
    access.check(somebody("viewer"), Verb.READ, "", "")
    assert catalog.events(outcome=Outcome.DENIED) == []


def test_a_cycle_of_roles_ends(catalog, book, configure):
    """Rules are refused with one, but what stands in the catalog must not hang a check."""
    configure('[roles.a]\ninherits = ["b"]\n[roles.b]\ninherits = ["a", "viewer"]\n')
    access = Access(catalog, book)
    assert access.may(somebody("a"), Verb.READ)
    assert access.roles() == ["a", "admin", "b", "developer", "releaser", "viewer"]
