"""The connected manager, verb by verb, against a real sidecar."""

import threading

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.errors import AlreadyExists, InvalidArgument, InvalidURI, NotActive, NotFound, Unavailable
from alluxio_lance.values import Kind, State, Verb


def test_every_verb_works_over_the_wire(manager, rows):
    """The whole life of a resource, with what each verb returns."""
    first = manager.register_resource(
        "datasets", "a/b", rows(3), message="one", metadata={"n": 1, "deep": {"x": [True, None, 2.5, "t"]}}
    )
    assert (first.semver, first.state, first.num_rows) == ("1.0.0", State.ACTIVE, 3)
    assert first.metadata == {"n": 1, "deep": {"x": [True, None, 2.5, "t"]}}
    assert isinstance(first.metadata["n"], int)
    assert first.created_by.endswith("@here")
    second = manager.update_resource("datasets", "a/b", rows(2, 3), provenance={"from": "here"})
    assert (second.semver, second.num_rows) == ("1.1.0", 5)
    assert manager.rollback_resource("datasets", "a/b").semver == "1.0.0"
    assert manager.activate_resource("datasets", "a/b", "1.1").semver == "1.1.0"
    assert manager.deprecate_resource("datasets", "a/b", "1.0.0").state is State.DEPRECATED
    assert [v.semver for v in manager.list_versions("datasets", "a/b")] == ["1.1.0", "1.0.0"]
    (resource,) = manager.list_resources("datasets")
    assert (resource.kind, resource.active.semver, resource.versions) == (Kind.DATASET, "1.1.0", 2)
    assert manager.list_resources("models") == []
    verbs = [event.verb for event in manager.history("datasets", "a/b")]
    assert verbs == [Verb.REGISTER, Verb.UPDATE, Verb.ROLLBACK, Verb.ACTIVATE, Verb.DEPRECATE]
    handle = manager.get_resource("datasets", "a/b", "1.0.0")
    assert (handle.num_rows, handle.schema.names) == (3, ["id"])
    assert handle.to_lance().to_table()["id"].to_pylist() == [0, 1, 2]
    manager.delete_resource("datasets", "a/b", message="done")
    assert manager.list_resources() == []


def test_an_update_of_metadata_alone_sends_no_data(manager, rows):
    """A patch."""
    manager.register_resource("datasets", "a", rows(3), metadata={"a": 1})
    assert manager.update_resource("datasets", "a", metadata={"b": 2}).semver == "1.0.1"


@pytest.mark.parametrize(
    "make",
    [
        lambda: pa.table({"id": [1, 2, 3]}),
        lambda: pa.record_batch({"id": [1, 2, 3]}),
        lambda: pa.table({"id": [1, 2, 3]}).to_reader(),
        lambda: iter(pa.table({"id": [1, 2, 3]}).to_batches(max_chunksize=1)),
        lambda: pd.DataFrame({"id": [1, 2, 3]}),
        lambda: pl.DataFrame({"id": [1, 2, 3]}),
        lambda: pl.LazyFrame({"id": [1, 2, 3]}),
    ],
    ids=["table", "batch", "reader", "iterable", "pandas", "polars", "lazy polars"],
)
def test_data_of_any_kind_arrive_as_they_are(manager, tmp_path, make):
    """The same rows, schema and content hash as the embedded manager makes of them."""
    import alluxio_lance as al

    version = manager.register_resource("datasets", "a", make())
    with al.ResourceManager.embedded(tmp_path / "other") as embedded:
        assert embedded.register_resource("datasets", "a", make()).content_hash == version.content_hash
    assert manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist() == [1, 2, 3]


def test_a_hugging_face_dataset_arrives_in_the_order_of_its_indices(manager, tmp_path):
    """Also one that was shuffled or filtered: its Arrow table alone would be wrong."""
    import datasets

    import alluxio_lance as al

    data = datasets.Dataset.from_dict(
        {"id": [1, 2, 3, 4], "label": [0, 1, 0, 1]},
        features=datasets.Features({"id": datasets.Value("int64"), "label": datasets.ClassLabel(names=["a", "b"])}),
    ).select([3, 1])
    version = manager.register_resource("datasets", "a", data)
    table = manager.get_resource("datasets", "a").to_lance().to_table()
    assert table["id"].to_pylist() == [4, 2]
    with al.ResourceManager.embedded(tmp_path / "other") as embedded:
        assert embedded.register_resource("datasets", "a", data).content_hash == version.content_hash


def test_a_path_is_opened_by_the_sidecar(manager, tmp_path, rows, monkeypatch):
    """A relative one is meant from where the caller is."""
    pyarrow.parquet.write_table(rows(7), tmp_path / "data.parquet")
    monkeypatch.chdir(tmp_path)
    assert manager.register_resource("datasets", "a", "data.parquet").num_rows == 7
    assert manager.register_resource("datasets", "b", tmp_path / "data.parquet", format="parquet").num_rows == 7
    for wrong in ("missing.parquet", "", "s3://bucket/key"):
        with pytest.raises((InvalidArgument, NotFound)):
            manager.register_resource("datasets", "c", wrong)
    with pytest.raises(InvalidArgument, match="are for paths"):
        manager.register_resource("datasets", "c", rows(1), format="parquet")


def test_large_batches_go_in_chunks_and_dictionaries_survive(manager):
    """More than one message may hold; values come back as they went."""
    words = pa.array([f"w{i % 7}" for i in range(100_000)]).dictionary_encode()
    data = pa.table({"image": pa.array([b"x" * 500] * 100_000), "word": words})
    version = manager.register_resource("datasets", "a", data)
    assert version.num_rows == 100_000
    table = manager.get_resource("datasets", "a").to_lance().to_table()
    assert table["word"].to_pylist() == words.to_pylist()


def test_empty_data_are_a_version_without_rows(manager, rows):
    """The schema is there all the same."""
    assert manager.register_resource("datasets", "a", rows(0)).num_rows == 0
    assert manager.get_resource("datasets", "a").schema.names == ["id"]


@pytest.mark.parametrize("data", [7, object(), [], [1, 2], b"bytes", {"id": [1]}, [pa.table({"x": [1]}), 7]])
def test_what_is_no_data_is_refused_before_anything_is_sent(manager, data):
    """With a sentence that says what is accepted."""
    with pytest.raises(InvalidArgument):
        manager.register_resource("datasets", "a", data)
    assert manager.list_resources() == []


def test_an_error_of_the_source_is_the_caller_s_and_undoes_the_call(manager, rows):
    """It is raised as it is; nothing is left, and the name is free."""

    def batches():
        yield from rows(10).to_batches()
        raise ZeroDivisionError("in the source")

    with pytest.raises(ZeroDivisionError, match="in the source"):
        manager.register_resource("datasets", "a", batches())
    assert manager.list_resources() == []
    assert manager.register_resource("datasets", "a", rows(1)).semver == "1.0.0"


def test_progress_is_told_while_the_call_runs(manager, rows):
    """In the caller's thread."""
    seen = []
    manager.register_resource(
        "datasets", "a", rows(1000), on_progress=lambda p: seen.append((p.step, threading.current_thread()))
    )
    assert {step for step, _ in seen} >= {"write", "hash"}
    assert {thread for _, thread in seen} == {threading.current_thread()}


def test_a_callback_that_raises_ends_the_call(manager, rows):
    """Its error is the caller's; the sidecar undoes what it did, or has done it already."""

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.register_resource("datasets", "a", rows(1000), on_progress=stop)


def test_a_request_id_makes_a_call_safe_to_repeat(manager, rows):
    """The second call returns the first one's version, without reading its data."""
    first = manager.register_resource("datasets", "a", rows(3), request_id="r1")
    assert manager.register_resource("datasets", "a", rows(3), request_id="r1") == first
    assert manager.update_resource("datasets", "a", rows(3), request_id="r2") == manager.update_resource(
        "datasets", "a", rows(3), request_id="r2"
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m, rows: m.register_resource("datasets", "a", rows(1)), AlreadyExists),
        (lambda m, rows: m.register_resource("data sets", "a", rows(1)), InvalidURI),
        (lambda m, rows: m.register_resource("datasets", "b", rows(1), version="x"), InvalidArgument),
        (lambda m, rows: m.register_resource("datasets", "b", rows(1), metadata={"x": {1, 2}}), InvalidArgument),
        (lambda m, rows: m.register_resource("datasets", "b", rows(1), metadata={1: 2}), InvalidArgument),
        (lambda m, rows: m.register_resource("datasets", "b", rows(1), metadata={"x": 2**60}), InvalidArgument),
        (lambda m, rows: m.register_resource("datasets", "b", rows(1), metadata={"x": float("nan")}), InvalidArgument),
        (lambda m, rows: m.update_resource("datasets", "none", rows(1)), NotFound),
        (lambda m, rows: m.update_resource("datasets", "a", rows(1), mode="sideways"), InvalidArgument),
        (lambda m, _: m.update_resource("datasets", "a"), InvalidArgument),
        (lambda m, _: m.get_resource("datasets", "a", "9.9.9"), NotFound),
        (lambda m, _: m.activate_resource("datasets", "a", "9.9.9"), NotFound),
        (lambda m, _: m.rollback_resource("datasets", "a"), NotActive),
        (lambda m, _: m.delete_resource("datasets", "none"), NotFound),
        (lambda m, _: m.list_versions("datasets", "none"), NotFound),
        (lambda m, _: m.history("datasets", "none"), NotFound),
    ],
)
def test_refusals_arrive_in_their_class(manager, rows, call, error):
    """With the sentence, and nothing changed."""
    manager.register_resource("datasets", "a", rows(1))
    with pytest.raises(error) as caught:
        call(manager, rows)
    assert type(caught.value) is error
    assert [r.name for r in manager.list_resources()] == ["a"]


def test_a_watch_sees_what_happens_from_its_call_on(manager, rows):
    """Not from its first event on; with ``after`` also what happened before."""
    manager.register_resource("datasets", "a", rows(1))
    events = manager.watch()
    manager.update_resource("datasets", "a", rows(1))
    manager.rollback_resource("datasets", "a")
    assert [next(events).verb for _ in range(2)] == [Verb.UPDATE, Verb.ROLLBACK]
    events.close()
    again = manager.watch(after=0)
    assert [next(again).sequence for _ in range(3)] == [1, 2, 3]
    again.close()


def test_watches_that_end_leave_no_thread_behind(manager, sidecar):
    """Also when nothing ever happens that would wake them."""
    for _ in range(20):
        manager.watch().close()
    with RemoteManager.open(sidecar.address) as other:
        other.watch()


def test_closing_is_final_and_may_be_repeated(sidecar):
    """A call after it says so."""
    manager = RemoteManager.open(str(sidecar.address.run_folder))
    manager.close()
    manager.close()
    with pytest.raises(Unavailable, match="was closed"):
        manager.list_resources()


def test_without_a_sidecar_the_address_and_the_command_are_named(tmp_path):
    """Somebody who forgot to start one reads what to do."""
    with pytest.raises(Unavailable, match=r"alluxio-lance up") as caught:
        RemoteManager.open(str(tmp_path), timeout=1)
    assert str(tmp_path) in str(caught.value)


def test_plain_lance_is_asked_for_by_name_when_it_is_not_installed(manager, rows, monkeypatch):
    """The base install has no pylance."""
    manager.register_resource("datasets", "a", rows(1))
    handle = manager.get_resource("datasets", "a")
    monkeypatch.setitem(__import__("sys").modules, "lance", None)
    with pytest.raises(Unavailable, match=r"alluxio-lance\[server\]"):
        handle.to_lance()
