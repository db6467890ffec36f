"""The grammar of alluxio:// URIs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.errors import InvalidURI
from alluxio_lance.lifecycle.uri import (
    Active,
    ContentHash,
    FilePath,
    Label,
    LanceVersion,
    ResourceName,
    SemverPrefix,
    parse_name,
    parse_selector,
    parse_uri,
)

GOOD = [
    ("alluxio://datasets/cifar10", ResourceName("datasets", "cifar10", Active())),
    ("alluxio://datasets/vision/cifar10", ResourceName("datasets", "vision/cifar10", Active())),
    ("alluxio://datasets/cifar10@active", ResourceName("datasets", "cifar10", Active())),
    ("alluxio://datasets/cifar10@1.4.0", ResourceName("datasets", "cifar10", SemverPrefix(1, 4, 0))),
    ("alluxio://datasets/cifar10@1.4", ResourceName("datasets", "cifar10", SemverPrefix(1, 4))),
    ("alluxio://datasets/cifar10@1", ResourceName("datasets", "cifar10", SemverPrefix(1))),
    ("alluxio://datasets/cifar10@v7", ResourceName("datasets", "cifar10", LanceVersion(7))),
    ("alluxio://datasets/cifar10@sha-3fa9c1d2", ResourceName("datasets", "cifar10", ContentHash("3fa9c1d2"))),
    ("alluxio://datasets/cifar10@production", ResourceName("datasets", "cifar10", Label("production"))),
    ("alluxio://datasets/cifar10@golden-2", ResourceName("datasets", "cifar10", Label("golden-2"))),
    ("alluxio://d/x.y_z-1", ResourceName("d", "x.y_z-1", Active())),
    ("alluxio:///models/resnet50.params", FilePath("/models/resnet50.params")),
]

BAD = [
    ("", 0),
    ("s3://datasets/x", 0),
    ("alluxio://", 10),
    ("alluxio://datasets", 18),
    ("alluxio://datasets/", 19),
    ("alluxio://datasets//x", 19),
    ("alluxio://datasets/a b", 19),
    ("alluxio://datasets/../x", 19),
    ("alluxio://datasets/-x", 19),
    ("alluxio://datasets/x.lance", 19),
    ("alluxio://datasets/x@", 21),
    ("alluxio://datasets/x@1.", 21),
    ("alluxio://datasets/x@01.2.3", 21),
    ("alluxio://datasets/x@1.2.3.4", 21),
    ("alluxio://datasets/x@v0", 21),
    ("alluxio://datasets/x@sha-3fa9", 21),
    ("alluxio://datasets/x@sha-3FA9C1D2", 21),
    ("alluxio://datasets/x@1.0.0+abc", 21),
    ("alluxio://datasets/" + "x" * 300, 210),
    ("alluxio:///a/../b", 13),
    ("alluxio:///", 11),
    ("alluxio:///a//b", 13),
]


@pytest.mark.parametrize(("text", "parsed"), GOOD, ids=lambda value: str(value)[:40])
def test_every_form_of_the_grammar_is_read(text, parsed):
    """Each line of the grammar becomes the value that it means."""
    assert parse_uri(text) == parsed


@pytest.mark.parametrize(("text", "parsed"), GOOD, ids=lambda value: str(value)[:40])
def test_a_value_writes_itself_as_a_uri_that_means_the_same(text, parsed):
    """str() and parse_uri are inverse to each other."""
    assert parse_uri(str(parsed)) == parsed


@pytest.mark.parametrize(("text", "place"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_uri_is_refused_with_the_place_and_the_grammar(text, place):
    """The error points at the fault and shows what would be right."""
    with pytest.raises(InvalidURI) as caught:
        parse_uri(text)
    assert caught.value.details["place"] == place
    assert "alluxio://TYPE/NAME" in caught.value.message
    if text:
        assert f"  {text}\n  {' ' * place}^" in caught.value.message


@given(st.text(max_size=60))
def test_no_text_crashes_the_parser(text):
    """Any text is read or refused with InvalidURI, never with another error."""
    for candidate in (text, f"alluxio://{text}", f"alluxio://datasets/{text}", f"alluxio://datasets/x@{text}"):
        try:
            parse_uri(candidate)
        except InvalidURI:
            continue


def test_a_selector_may_come_with_or_without_its_at_sign():
    """People copy selectors out of URIs."""
    assert parse_selector("@1.4") == parse_selector("1.4") == SemverPrefix(1, 4)


@pytest.mark.parametrize(
    ("type", "name"), [("datasets", "x@1.0.0"), ("a/b", "c"), ("", "x"), ("datasets", ""), ("/", "x")]
)
def test_a_type_and_name_that_do_not_fit_a_uri_are_refused(type, name):
    """What a manager's verb takes must be nameable afterwards."""
    with pytest.raises(InvalidURI):
        parse_name(type, name)
