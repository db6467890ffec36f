"""Which edition of Alluxio answers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.edition import Edition, detect, edition_of


def test_the_proxy_tells_it(cluster):
    """2.9 lacks nothing."""
    found = detect(AlluxioAddress.parse(cluster.uri, tables=False))
    assert found == Edition(version="2.9.6", dora=False, lacks=())


@pytest.mark.parametrize(
    ("version", "dora"),
    [("2.9.6", False), ("2.10.0-SNAPSHOT", False), ("300", True), ("313", True), ("400-x", True), ("?", False)],
)
def test_the_version_decides(version, dora):
    """From 300 on there is neither a namespace that can be told to free or mount, nor block files."""
    found = edition_of(version)
    assert (found.dora, found.lacks) == (dora, ("free", "mount", "block files") if dora else ())


def test_a_proxy_that_is_down_is_told():
    """With the command that looks at it."""
    with pytest.raises(Unavailable, match="alluxio status"):
        detect(AlluxioAddress.parse(f"alluxio://localhost/x?proxy={Ports.free().proxy}"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>"])
def test_a_proxy_that_swallows_the_call_is_told_the_switch(body):
    """A stand-in for one whose S3 service has its second version on: it answers every call with an empty 200."""

    class Swallows(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Swallows) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unavailable, match=r"s3\.v2\.version\.enabled=false"):
            detect(AlluxioAddress.parse(f"alluxio://127.0.0.1/x?proxy={server.server_port}"))
        server.shutdown()
