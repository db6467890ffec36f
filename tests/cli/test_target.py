"""What a command is about."""

import pytest

from alluxio_lance.cli.target import plain_target, required, selector_of, target, versioned_target, whole_or_nothing
from alluxio_lance.errors import InvalidArgument, InvalidURI


@pytest.mark.parametrize(
    ("text", "type", "name", "selector"),
    [
        ("datasets/cifar10", "datasets", "cifar10", None),
        ("datasets/vision/cifar10@1.4", "datasets", "vision/cifar10", "1.4"),
        ("alluxio://datasets/cifar10@v7", "datasets", "cifar10", "v7"),
        ("datasets/cifar10@active", "datasets", "cifar10", None),
        ("datasets/cifar10@sha-3fa9c1d2", "datasets", "cifar10", "sha-3fa9c1d2"),
        ("datasets/cifar10@production", "datasets", "cifar10", "production"),
        ("datasets/cifar10@1.4.0-exp.3", "datasets", "cifar10", "1.4.0-exp.3"),
    ],
)
def test_names_and_uris_mean_the_same(text, type, name, selector):
    """The scheme may be left out; ``@active`` is what no selector means."""
    found = target(text)
    assert (found.type, found.name, selector_of(found)) == (type, name, selector)


@pytest.mark.parametrize(
    ("read", "text", "error", "says"),
    [
        (target, "cifar10", InvalidURI, "a name must follow the type"),
        (target, "datasets/a b", InvalidURI, "may only have letters"),
        (target, "alluxio:///models/x.params", InvalidArgument, "plain file path"),
        (plain_target, "datasets/cifar10@1.0.0", InvalidArgument, "the whole datasets/cifar10"),
        (lambda text: versioned_target(text, "1.0.0"), "datasets/x@2.0.0", InvalidArgument, "named twice"),
    ],
)
def test_what_is_no_target_is_refused(read, text, error, says):
    """With a sentence that names the fault."""
    with pytest.raises(error, match=says):
        read(text)


def test_a_version_stands_behind_or_beside_the_name():
    """Both ways give the same."""
    behind = versioned_target("datasets/x@1.0.0", None)
    beside = versioned_target("datasets/x", "1.0.0")
    assert behind[1] == beside[1] == "1.0.0"
    assert versioned_target("datasets/x", None)[1] is None
    assert plain_target("datasets/x").name == "x"


def test_a_part_of_the_catalog_is_a_type_or_a_resource():
    """Or all of it; one version is no part."""
    assert whole_or_nothing(None) == (None, None)
    assert whole_or_nothing("datasets") == ("datasets", None)
    assert whole_or_nothing("datasets/vision/x") == ("datasets", "vision/x")
    with pytest.raises(InvalidArgument, match="names one version"):
        whole_or_nothing("datasets/x@1.0.0")


def test_a_version_that_is_needed_is_asked_for():
    """With an example that fits."""
    assert required("datasets/x", "1.0.0") == "1.0.0"
    with pytest.raises(InvalidArgument, match=r"datasets/x@1\.0\.0"):
        required("datasets/x", None)
