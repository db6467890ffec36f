"""How a bucket says what is wrong, and which addresses and options it takes."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.cold import open_cold
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.place import Patch, patched


@pytest.mark.parametrize(
    ("start", "expected"), [(0, b"abXYef"), (4, b"abcdXY"), (5, b"abcdeX"), (-1, b"Ybcdef"), (6, b"abcdef")]
)
def test_a_patch_covers_what_it_meets(start, expected):
    """A chunk has any part of it, or none."""
    offset = 10
    at = {0: 12, 4: 14, 5: 15, -1: 9, 6: 16}[start]
    assert patched(Patch(at, b"XY"), b"abcdef", offset) == expected
    assert patched(None, b"abcdef", offset) == b"abcdef"


def test_a_bucket_without_its_keys_refuses(s3_server):
    """The sentence says what to look at, and no secret."""
    options = {**s3_server.options, "secret_access_key": "wrong-secret"}
    with pytest.raises(Unavailable, match="access_key_id") as caught:
        open_cold("s3://bucket/x", options).files("a")
    assert "wrong-secret" not in str(caught.value)
    assert caught.value.details["what"] == "s3://bucket/x"


def test_a_bucket_that_does_not_exist(s3_server):
    """It is the operator's to make."""
    with pytest.raises(Unavailable, match="s3://nobucket/x/a lies in a bucket that does not exist"):
        open_cold("s3://nobucket/x", s3_server.options).files("a")


def test_an_endpoint_that_does_not_answer(tmp_path):
    """Tried again for as long as was said, then told."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"endpoint": f"http://127.0.0.1:{port}", "allow_http": "true", "retry_timeout": "0.2"}
    with pytest.raises(Unavailable, match="check the endpoint and the network"):
        open_cold("s3://bucket", {**options, "access_key_id": "a", "secret_access_key": "b"}).files("a")


def test_what_fails_once_is_tried_again():
    """A stand-in for an endpoint, since a real one cannot be told to fail: busy twice, then it answers."""
    asked = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = b"<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
            self.send_response(503 if len(asked) < 3 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = {"endpoint": f"http://127.0.0.1:{server.server_port}", "allow_http": "true"}
        place = open_cold("s3://bucket", {**options, "access_key_id": "a", "secret_access_key": "b"})
        assert place.files("a") == {}
        server.shutdown()
    assert len(asked) == 3


def test_without_the_cold_tier_nothing_is_archived_and_nothing_changes(tmp_path, write, source):
    """Neither way."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"endpoint": f"http://127.0.0.1:{port}", "allow_http": "true", "retry_timeout": "0.2"}
    store = LanceStore.local(
        tmp_path / "data", "s3://bucket", {**options, "access_key_id": "a", "secret_access_key": "b"}
    )
    store.create("a.lance", source(pa.table({"id": [1]})), write())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for verb in (
        lambda: store.archive("a.lance", 1, "c", {}, write()),
        lambda: store.unarchive("c", "a.lance", 1, {}, write()),
        lambda: store.drop_cold("c"),
    ):
        with pytest.raises(Unavailable, match="s3://bucket/c cannot be reached"):
            verb()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_usual_variables_stand_in(s3_server, monkeypatch):
    """Keys, endpoint and region need not be said twice; Lance gets the same."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.KEYS["secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.options["endpoint"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    place = open_cold("s3://bucket/variables/", {"allow_http": "true"})
    place.put("a", "x", [b"1"])
    assert place.files("a") == {"x": 1}
    address = place.address("a")
    assert address.uri == "s3://bucket/variables/a"
    assert address.storage_options["aws_access_key_id"] == s3_server.KEYS["access_key_id"]
    assert (address.storage_options["aws_region"], address.storage_options["allow_http"]) == ("us-east-1", "true")
    assert place.free_bytes() is None
    with place.spool() as spool:
        assert spool.write(b"1") == 1


def test_all_options_reach_the_client():
    """None is dropped without a word."""
    options = {
        "endpoint": "https://s3.example",
        "region": "eu-1",
        "access_key_id": "a",
        "secret_access_key": "b",
        "session_token": "c",
        "virtual_hosted_style_request": "true",
        "retry_timeout": "7",
    }
    said = open_cold("s3://bucket/p", options).address("a").storage_options
    for key in (
        "endpoint",
        "region",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "virtual_hosted_style_request",
    ):
        assert said[f"aws_{key}"] == options[key]
    assert said["client_retry_timeout"] == "7"


@pytest.mark.parametrize(
    ("address", "options", "sentence"),
    [
        ("s3://", {}, "is no bucket"),
        ("s3://Bucket/x", {}, "is no bucket"),
        ("gs://bucket", {}, "of no known kind"),
        ("/a/folder", {"region": "x"}, "takes no options"),
        ("s3://bucket", {"regoin": "x"}, "has no option 'regoin'"),
        ("s3://bucket", {"allow_http": "yes"}, "give true or false"),
        ("s3://bucket", {"retry_timeout": "soon"}, "give seconds"),
        ("s3://bucket", {"endpoint": "example.com"}, "is no URL"),
        ("s3://bucket", {"endpoint": "http://example.com"}, "has no TLS"),
    ],
)
def test_addresses_and_options_that_are_wrong(address, options, sentence):
    """Said when the store is opened, not when the first version is archived."""
    with pytest.raises(InvalidArgument, match=sentence):
        open_cold(address, options)


def test_a_folder_is_made_when_it_is_needed(tmp_path):
    """A cold tier that nobody uses leaves no trace."""
    place = open_cold(tmp_path / "cold")
    assert isinstance(place, LocalRoot)
    assert place.files("a") == {}
    place.drop("a")
    assert not (tmp_path / "cold").exists()
    place.put("a", "x", [b"1"])
    assert (tmp_path / "cold" / "a" / "x").read_bytes() == b"1"
