"""Expressions: what they see, what they answer, and when they give no answer."""

import pytest

from alluxio_lance.lifecycle.rules.checking import GATE_NAMES
from alluxio_lance.lifecycle.rules.expressions import Expression, Faulty, plain

DATA = {
    "metrics": {"accuracy": 0.93, "whole": 1, "top 1": 0.5, "list": [1, 2]},
    "metadata": {"license": "MIT", "owner": {"team": "a.b"}},
    "version": {"num_rows": 10, "tags": ["golden"]},
    "current": {"metrics": {"accuracy": 1}},
}

HOLDS = [
    "metrics.accuracy >= 0.92",
    "metrics.accuracy >= current.metrics.accuracy - 0.07",
    "metrics.whole - 0.5 == 0.5",
    "metrics['top 1'] > 0.4",
    "metrics.list[1] == 2",
    "metadata.owner.team == 'a.b'",
    "metadata.license.startsWith('M') && size(metadata.license) == 3",
    "'golden' in version.tags && version.tags.exists(t, t == 'golden')",
    "has(metrics.accuracy) && !has(metrics.nope)",
]


@pytest.mark.parametrize("text", HOLDS)
def test_holds(text):
    """What is true is found true, whole numbers and fractions alike."""
    assert Expression(text, GATE_NAMES).ask(DATA).holds


def test_reports_the_values_it_saw():
    """The report has each value that the expression reads, and not what stands in its texts."""
    seen = Expression("metrics['top 1'] > 0.6 || metadata.license == 'metrics.accuracy'", GATE_NAMES).ask(DATA)
    assert not seen.holds
    assert seen.values == {"metrics['top 1']": 0.5, "metadata.license": "MIT"}


NO_ANSWER = {
    "metrics.nope > 1": r"there is no metrics\.nope",
    "metrics.accuracy": "gives 0.93, not true or false",
    "metrics.whole - 1 > 0": "numbers are doubles",
    "metadata.license > 1": "do not go together",
    "metadata.license.matches('(') == true": "it saw metadata.license = MIT",
}


@pytest.mark.parametrize("text", NO_ANSWER)
def test_no_answer(text):
    """An expression that cannot be evaluated is no yes and no no: it says why."""
    with pytest.raises(Faulty, match=NO_ANSWER[text]):
        Expression(text, GATE_NAMES).ask(DATA)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("metrics.accuracy >= current.metrics.accuracy", True),
        ("current == null || metrics.accuracy > 2", True),
        ("current != null && metrics.accuracy > 0.5", False),
    ],
)
def test_without_a_current_version(text, holds):
    """A comparison with a version that is not there holds, unless the expression asks whether it is there."""
    assert Expression(text, GATE_NAMES).ask({**DATA, "current": None}).holds is holds


@pytest.mark.parametrize("text", ["current.metrics.x < metrics.nope", "metrics.nope > current.metrics.x"])
def test_without_a_current_version_the_rest_must_be_there(text):
    """That there is nothing to compare with does not excuse a metric that was never measured."""
    with pytest.raises(Faulty, match=r"metrics\.nope = \(absent\)"):
        Expression(text, GATE_NAMES).ask({**DATA, "current": None})


def test_a_number_too_large():
    """A number that no double holds is a fault, and no crash."""
    with pytest.raises(Faulty, match="too large"):
        Expression("metrics.a > 1", GATE_NAMES).ask({"metrics": {"a": 10**400}})


def test_plain():
    """Values in reports are JSON, finite and short."""
    assert plain(float("nan")) == "nan"
    assert plain(3.0) == 3
    assert plain(True) is True
    assert plain(7) == 7
    assert plain({"a": 1.5, "b": [1]}) == "{a: 1.5, b: [1]}"
    assert len(plain("x" * 1000)) == 200


@pytest.mark.parametrize(
    ("text", "metrics", "holds"),
    [
        ("metrics.a >= 0.9 && metrics.a >= current.metrics.a - 0.1", {"a": 0.95}, True),
        ("(metrics.a >= 0.9 && (metrics.a > current.metrics.a))", {"a": 0.95}, True),
        ("metrics.a >= current.metrics.a - 0.1 && metrics.t == 'a && b || (c'", {"a": 1, "t": "a && b || (c"}, True),
        ("metrics.a >= 0.9 || metrics.a >= current.metrics.a", {"a": 0.5}, True),
        ("metrics.a >= current.metrics.other", {"a": 0.5}, True),
        ("metrics.a >= 0.9 && metrics.a >= current.metrics.a", {"a": 0.5}, False),
        ("metrics.a >= 0.9 && metrics.a >= current.metrics.a", {"a": "high"}, None),
        ("metrics.a >= 0.9 && metrics.a > current.metrics.a", {"a": "high"}, None),
        ("(metrics.a >= 0.9 && metrics.a > current.metrics.a)", {"a": "high"}, None),
        ("metrics.a >= current.metrics.a - 0.1", {"a": "high"}, None),
        ("metrics.l[0] > 1.0 && metrics.a > current.metrics.a", {"a": 1, "l": []}, None),
        ("metrics.l[size(metrics.l) - 1] > 1.0 && metrics.a > current.metrics.a", {"a": 1, "l": []}, None),
    ],
)
def test_without_a_current_version_all_else_must_hold(text, metrics, holds):
    """An error beside the comparison is one, though nothing is there to be compared with: it does not open the gate."""
    expression = Expression(text, GATE_NAMES)
    values = {"metrics": metrics, "metadata": {}, "version": {}, "current": None}
    if holds is None:
        with pytest.raises(Faulty):
            expression.ask(values)
    else:
        assert expression.ask(values).holds is holds
