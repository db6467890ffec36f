"""The rules document: what is a fault and where it lies, and what the graph of stages says."""

import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.access.roles import BUILT_IN
from alluxio_lance.lifecycle.rules import StageGraph, parse_rules, read_rules
from alluxio_lance.lifecycle.rules.checking import BUILT_IN_ROLES

GATE = '[[gates]]\nname = "g"\non = ["activate"]\n'
HOOK = '[[hooks]]\nname = "h"\n'
AUTO = '[[automations]]\nname = "a"\n'

FAULTS = {
    "initial stage": ('initial_stage = "none"', "initial_stage", "no stage 'none'"),
    "unknown stage": ('[stages.experiment]\nto = ["nowhere"]', "stages.experiment.to[0]", "'nowhere'"),
    "edge to itself": ('[stages.experiment]\nto = ["experiment"]', "stages.experiment.to[0]", "another stage"),
    "edge twice": ('[stages.experiment]\nto = ["b", "b"]\n[stages.b]', "stages.experiment.to[1]", "there already"),
    "stage like a version": ("[stages.experiment]\n[stages.v7]", "stages.v7", "something else"),
    "stage like the pointer": ("[stages.experiment]\n[stages.active]", "stages.active", "something else"),
    "displaced from many": (
        '[stages.experiment]\ndisplaced = "b"\n[stages.b]',
        "stages.experiment.displaced",
        "many holders",
    ),
    "displaced to nowhere": (
        '[stages.experiment]\nholders = "one"\ndisplaced = "b"',
        "stages.experiment.displaced",
        "no stage 'b'",
    ),
    "displaced to one": (
        '[stages.experiment]\nholders = "one"\ndisplaced = "b"\n[stages.b]\nholders = "one"',
        "stages.experiment.displaced",
        "many holders",
    ),
    "gate twice": (
        (GATE + 'kind = "approval"\n') * 2,
        "gates[1].name",
        "'g' is there already",
    ),
    "no edge": ('[[gates]]\nname = "g"\non = []\nkind = "approval"', "gates[0].on", "at least one edge"),
    "strange edge": ('[[gates]]\nname = "g"\non = ["x"]\nkind = "approval"', "gates[0].on[0]", "is no edge"),
    "unknown edge": (
        '[[gates]]\nname = "g"\non = ["archived -> production"]\nkind = "approval"',
        "gates[0].on[0]",
        "no edge is like",
    ),
    "expression syntax": (
        GATE + 'kind = "expectation"\nrequire = ["metrics.a >"]',
        "gates[0].require[0]",
        "no CEL expression",
    ),
    "expression name": (
        GATE + 'kind = "expectation"\nrequire = ["metrics.a > 1", "nope > 1"]',
        "gates[0].require[1]",
        "there is no nope",
    ),
    "expression function": (
        GATE + 'kind = "expectation"\nrequire = ["metrics.a.foo() > 1"]',
        "gates[0].require[0]",
        "no function foo",
    ),
    "expression of nothing": (
        GATE + 'kind = "expectation"\nrequire = ["1 < 2"]',
        "gates[0].require[0]",
        "reads nothing",
    ),
    "expression too long": (
        GATE + f'kind = "expectation"\nrequire = ["metrics.a > {"1" * 2000}"]',
        "gates[0].require[0]",
        "2000 are allowed",
    ),
    "alert in a gate": (
        GATE + 'kind = "expectation"\nrequire = ["alert.status == \'firing\'"]',
        "gates[0].require[0]",
        "no alert",
    ),
    "role": (GATE + 'kind = "approval"\nrole = "pope"', "gates[0].role", "no role 'pope'"),
    "memory": (GATE + 'kind = "command"\ncommand = ["x"]\nmemory = "many"', "gates[0].memory", "with a unit"),
    "too little memory": (GATE + 'kind = "command"\ncommand = ["x"]\nmemory = "1B"', "gates[0].memory", "1MiB"),
    "empty program": (GATE + 'kind = "command"\ncommand = [" "]', "gates[0].command[0]", "name a program"),
    "null in a program": (
        GATE + 'kind = "command"\ncommand = ["x", "a\\u0000b"]',
        "gates[0].command[1]",
        "null character",
    ),
    "environment": (
        GATE + 'kind = "command"\ncommand = ["x"]\nenvironment = {"A B" = "1"}',
        "gates[0].environment.A B",
        "no name of a variable",
    ),
    "timeout": (GATE + 'kind = "command"\ncommand = ["x"]\ntimeout = "0s"', "gates[0].timeout", "above zero"),
    "long timeout": (GATE + 'kind = "python"\nfunction = "x"\ntimeout = "2w"', "gates[0].timeout", "one day"),
    "no function": (GATE + 'kind = "python"\nfunction = " "', "gates[0].function", "entry point"),
    "url": (GATE + 'kind = "webhook"\nurl = "ftp://x"', "gates[0].url", "https://host/path"),
    "url with a blank": (GATE + 'kind = "webhook"\nurl = "https://x y"', "gates[0].url", "blanks"),
    "url with a password": (GATE + 'kind = "webhook"\nurl = "https://u:p@x"', "gates[0].url", "password"),
    "url with a fragment": (GATE + 'kind = "webhook"\nurl = "https://x/#a"', "gates[0].url", "#"),
    "url with port 0": (GATE + 'kind = "webhook"\nurl = "https://x:0/"', "gates[0].url", "port 0"),
    "private url": (GATE + 'kind = "webhook"\nurl = "https://10.0.0.1/"', "gates[0].url", "allow_private"),
    "secret": (
        GATE + 'kind = "webhook"\nurl = "https://x"\nsecret_env = "A-B"',
        "gates[0].secret_env",
        "no name of a variable",
    ),
    "licences without licence": (
        GATE + 'kind = "compliance"\nlicence = false\nlicences = ["MIT"]',
        "gates[0].licences",
        "asks for none",
    ),
    "empty licence": (GATE + 'kind = "compliance"\nlicences = [""]', "gates[0].licences[0]", "empty"),
    "compliance of nothing": (
        GATE + 'kind = "compliance"\nlicence = false\npii = false\ncompatible_schema = false',
        "gates[0]",
        "checks nothing",
    ),
    "pattern": (GATE + 'kind = "approval"\nnames = ["a[b]"]', "gates[0].names[0]", "can match no name"),
    "no pattern": (GATE + 'kind = "approval"\ntypes = []', "gates[0].types", "matches nothing"),
    "hook twice": ((HOOK + 'kind = "python"\nfunction = "f"\n') * 2, "hooks[1].name", "there already"),
    "hook of two kinds": (
        HOOK + 'kind = "python"\nfunction = "f"\nurl = "https://x"',
        "hooks[0].url",
        "kind python has no url",
    ),
    "hook url": (HOOK + 'kind = "webhook"\nurl = "https://127.0.0.1"', "hooks[0].url", "allow_private"),
    "hook program": (HOOK + 'kind = "command"\ncommand = [""]', "hooks[0].command[0]", "name a program"),
    "automation stage": (AUTO + 'on = "version"\ndo = "promote"\nto = "x"', "automations[0].to", "no stage 'x'"),
    "automation alert": (
        AUTO + 'on = "metrics"\ndo = "rollback"\nwhen = "alert.status == \'x\'"',
        "automations[0].when",
        "no alert",
    ),
    "rollback always": (AUTO + 'on = "version"\ndo = "rollback"', "automations[0].when", "would be rolled back"),
    "policy at once": ('[[policies]]\nname = "p"\narchive_after = "0d"', "policies[0].archive_after", "at once"),
    "policy of no state": ('[[policies]]\nname = "p"\nstates = []', "policies[0].states", "at least one state"),
    "cache policy twice": (
        '[[cache]]\nname = "c"\ntypes = ["a"]\n[[cache]]\nname = "c"\ntypes = ["b"]',
        "cache[1].name",
        "there already",
    ),
    "cache policy without a name": ("[[cache]]\npin = true", "cache[0].name", "must be there"),
    "cache policy that loads something": ('[[cache]]\nname = "c"\nload = "all"', "cache[0].load", "'active' or 'none'"),
    "cache policy with more": ('[[cache]]\nname = "c"\nkeep = 3', "cache[0].keep", "no such key"),
    "cache policy of no name": ('[[cache]]\nname = "c"\nnames = ["a b"]', "cache[0].names[0]", "can match no name"),
    "cache policy of nothing": ('[[cache]]\nname = "c"\ntypes = []', "cache[0].types", "matches nothing"),
    "cache policy behind all": (
        '[[cache]]\nname = "all"\n[[cache]]\nname = "c"\nlabels = { tier = "gold" }',
        "cache[1]",
        "'all' covers all that it covers",
    ),
    "cache policy behind a wider one": (
        '[[cache]]\nname = "wide"\ntypes = ["m*"]\nlabels = { tier = "g*" }\n[[cache]]\nname = "c"\ntypes = ["m?x*"]\nlabels = { tier = "gold" }',
        "cache[1]",
        "'wide' covers all that it covers",
    ),
    "built-in role": ("[roles.admin]", "roles.admin", "built in"),
    "unknown ancestor": ('[roles.x]\ninherits = ["y"]', "roles.x.inherits[0]", "no role 'y'"),
    "ring of roles": (
        '[roles.x]\ninherits = ["y"]\n[roles.y]\ninherits = ["x"]',
        "roles.x.inherits",
        "inherit from itself",
    ),
    "no verb": ("[[roles.x.grants]]\nverbs = []", "roles.x.grants[0].verbs", "at least one verb"),
    "grant stage": (
        '[[roles.x.grants]]\nverbs = ["promote"]\nstages = ["nowhere"]',
        "roles.x.grants[0].stages[0]",
        "no stage 'nowhere'",
    ),
    "user's role": ('[access.users]\nann = ["x"]', "access.users.ann[0]", "no role 'x'"),
    "issuer's role": (
        '[[access.issuers]]\nissuer = "https://i"\naudience = "a"\nroles = {dev = ["x"]}',
        "access.issuers[0].roles.dev[0]",
        "no role 'x'",
    ),
    "unknown key": ("initial_stag = 'x'", "initial_stag", "there is no such key"),
    "missing key": ('[[gates]]\nkind = "approval"\non = ["activate"]', "gates[0].approval.name", "must be there"),
    "unknown kind": (GATE + 'kind = "approvel"', "gates[0]", "no kind 'approvel': it may be 'expectation', "),
    "no kind": (GATE, "gates[0]", "must say its kind"),
    "no unit": ('[deletion]\ngrace = "7"', "deletion.grace", "deletion.grace: give a time"),
    "protected tag": ('[tags]\nprotected = ["a b"]', "tags.protected[0]", "can match no name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault):
    """A document with a fault is refused, with its place and what is wrong there."""
    text, place, words = FAULTS[fault]
    with pytest.raises(InvalidArgument) as refused:
        read_rules(text)
    found = [each for each in refused.value.details["faults"] if each.startswith(f"{place}: ")]
    assert found, refused.value.message
    assert words in found[0]


def test_all_faults_at_once():
    """Who writes rules sees every fault in one go."""
    with pytest.raises(InvalidArgument) as refused:
        read_rules('initial_stage = "x"\n' + GATE + 'kind = "approval"\nrole = "y"')
    assert len(refused.value.details["faults"]) == 2


def test_defaults_have_no_fault():
    """The built-in rules pass their own check, and so does what is read by its types alone."""
    assert read_rules("") == parse_rules("")


def test_good_document():
    """Expressions over all names, patterns, own stages and roles, comprehensions and methods are no faults."""
    rules = read_rules("""
        initial_stage = "dev"
        [stages.dev]
        to = ["prod"]
        [stages.prod]
        to = ["old"]
        holders = "one"
        activate = true
        displaced = "old"
        [stages.old]
        [[gates]]
        name = "all"
        on = ["* -> prod", "activate"]
        kind = "expectation"
        names = ["vision/*"]
        require = [
          "metadata.license.startsWith('Apache') && metrics['top 1'] >= 0.5",
          "profile.columns.all(c, profile.columns[c].null_share < 0.5) && version.num_rows > 10",
          "current == null || metrics.loss <= current.metrics.loss",
        ]
        [roles.lead]
        inherits = ["releaser"]
        [[automations]]
        name = "back"
        on = "alert"
        when = "alert.labels.severity == 'critical'"
        do = "rollback"
        [access]
        users = {ann = ["lead"]}
    """)
    assert StageGraph(rules).edges() == [("dev", "prod"), ("prod", "old")]


def test_role_names_agree():
    """The check knows the built-in roles that access has."""
    assert set(BUILT_IN) == BUILT_IN_ROLES


def test_graph():
    """A version goes along edges only; one whose stage left the rules begins anew; who stays where it is, may."""
    graph = StageGraph(read_rules(""))
    graph.check_edge(None, "validation")
    graph.check_edge("gone", "validation")
    graph.check_edge("production", "production")
    with pytest.raises(InvalidArgument, match="from experiment a version may go to: validation"):
        graph.check_edge(None, "production")
    with pytest.raises(InvalidArgument, match="there is no stage 'x': the rules have experiment"):
        graph.check_edge(None, "x")
    assert graph.moving_with_pointer("production")
    assert not graph.moving_with_pointer("validation")
    assert not graph.moving_with_pointer(None)
