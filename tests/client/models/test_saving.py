"""Saving and naming models through a manager: one in this process, which behaves as a connected one."""

from __future__ import annotations

import numpy as np
import pytest

from alluxio_lance.client.models.naming import model_name
from alluxio_lance.client.models.saving import save
from alluxio_lance.client.models.versioning import version_model
from alluxio_lance.errors import AlreadyExists, InvalidArgument, InvalidURI, NotFound
from alluxio_lance.manager import ResourceManager
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import File, Notes, Tensor

URI = "alluxio://models/team/small"


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """One for all tests, which save under names of their own."""
    with ResourceManager.embedded(tmp_path_factory.mktemp("root")) as found:
        yield found


def tensor(name: str, values: list[float], reads: list[str] | None = None) -> Tensor:
    """Make a tensor that notes when it is read."""

    def data() -> memoryview:
        if reads is not None:
            reads.append(name)
        return np.array(values, "<f4").data.cast("B")

    return Tensor(TensorSpec(name=name, dtype="F32", shape=(len(values),)), data)


def test_the_first_save_registers_and_the_next_updates(manager):
    """Versions follow each other; what the caller says of one arrives; tensors are read once."""
    reads: list[str] = []
    parts = [tensor("a", [1.0], reads), tensor("b", [2.0, 3.0], reads)]
    first = save(URI, parts, [File("x.txt", lambda: memoryview(b"x"))], Notes(), manager=manager, version="0.2.0")
    assert (first.type, first.name, first.semver) == ("models", "team/small", "0.2.0")
    assert sorted(reads) == ["a", "b"]
    second = save(
        URI,
        [tensor("a", [5.0])],
        manager=manager,
        message="tuned",
        metadata={"lr": 0.1},
        provenance={"data": "alluxio://datasets/x@v1"},
        metrics={"loss": 0.5},
    )
    assert (second.semver, second.message, second.metadata, second.metrics) == (
        "0.3.0",
        "tuned",
        {"lr": 0.1},
        {"loss": 0.5},
    )
    assert second.provenance == {"data": "alluxio://datasets/x@v1"}
    assert save(URI, [tensor("a", [6.0])], manager=manager, bump="major", activate=False).semver == "1.0.0"
    assert version_model(URI, manager=manager).semver == "0.3.0"


@pytest.mark.parametrize("count", [1, 2])
def test_a_repeated_request_is_done_once(manager, count):
    """Whether the first call of that id registered or updated; metrics that it did not attach are attached then."""
    uri = f"alluxio://models/again{count}"
    for number in range(count):
        made = save(uri, [tensor("a", [number])], manager=manager, request_id=f"{count}:{number}")
    again = save(uri, [tensor("a", [9.0])], manager=manager, request_id=f"{count}:{count - 1}", metrics={"loss": 1})
    assert (again.semver, again.content_hash) == (made.semver, made.content_hash)
    assert again.metrics == {"loss": 1}
    assert len(manager.list_versions("models", f"again{count}")) == count


def test_a_signature_is_made_of_the_manifest(manager):
    """Once, when all hashes are known."""
    signed: list[bytes] = []

    def sign(manifest: bytes) -> bytes:
        signed.append(manifest)
        return b"signature"

    save("alluxio://models/signed", [tensor("a", [1.0])], manager=manager, sign=sign)
    assert len(signed) == 1
    assert b'"a":{"dtype":"F32"' in signed[0]


def test_parts_that_cannot_be_change_nothing(manager):
    """A name twice, a tie to nothing, bytes that do not fit the shape: no version and no resource is left."""
    wrong = Tensor(TensorSpec(name="a", dtype="F32", shape=(3,)), lambda: memoryview(b"1234"))
    for parts, notes in (
        ([tensor("a", [1.0]), tensor("a", [1.0])], None),
        ([tensor("a", [1.0])], Notes(tied={"b": "c"})),
        ([wrong], None),
    ):
        with pytest.raises(InvalidArgument, match=r"'[ab]'"):
            save("alluxio://models/wrong", parts, (), notes, manager=manager)
    with pytest.raises(NotFound):
        manager.list_versions("models", "wrong")


def test_a_dataset_is_not_overwritten_by_a_model(manager):
    """Its type says what it is for."""
    with pytest.raises(InvalidArgument):
        save("alluxio://datasets/x", [tensor("a", [1.0])], manager=manager)


def test_version_model_names_measures_and_promotes(manager):
    """All at once on one version; a taken tag is refused and the rest stays."""
    uri = "alluxio://models/named"
    for number in range(2):
        save(uri, [tensor("a", [number])], manager=manager)
    named = version_model(
        f"{uri}@1.0.0", tag="golden", promote="validation", metrics={"loss": 2}, reason="why", manager=manager
    )
    assert (named.semver, named.tags, named.stage, named.metrics) == ("1.0.0", ("golden",), "validation", {"loss": 2})
    with pytest.raises(AlreadyExists):
        version_model(uri, tag="golden", metrics={"loss": 3}, manager=manager)
    assert version_model(f"{uri}@golden", manager=manager).semver == "1.0.0"
    assert version_model(uri, manager=manager).metrics == {"loss": 3}
    with pytest.raises(NotFound):
        version_model(f"{uri}@7.0.0", manager=manager)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("alluxio://models/a", ("models", "a", None)),
        ("alluxio://models/a/b@1.0", ("models", "a/b", "1.0")),
        ("alluxio://nets/a@production", ("nets", "a", "production")),
    ],
)
def test_uris_are_taken_apart(uri, parts):
    """Type, name with slashes, selector."""
    assert model_name(uri) == parts


@pytest.mark.parametrize(
    "uri",
    ["", "models/a", "alluxio://models", "alluxio://models/", "alluxio:///models/a", "alluxio://models/a@", "s3://m/a"],
)
def test_other_texts_are_no_uris(uri):
    """Nothing is guessed."""
    with pytest.raises(InvalidURI, match="alluxio://models/NAME"):
        model_name(uri)


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": object()}, {"loss": np.float32(1)}])
def test_metrics_that_cannot_be_leave_no_version(manager, metrics):
    """They are attached last, and looked at first."""
    with pytest.raises(InvalidArgument, match="metrics of the model are no JSON"):
        save("alluxio://models/unmeasured", [tensor("a", [1.0])], manager=manager, metrics=metrics)
    with pytest.raises(NotFound):
        manager.list_versions("models", "unmeasured")
