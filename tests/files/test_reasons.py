"""What is said of an HTTP library's error."""

import json
import socket

import pytest
import requests

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.files.reasons import reason
from alluxio_lance.storage.alluxio.cluster import Ports


def caught(call):
    """Return the error that a call ends with."""
    with pytest.raises(Exception) as found:
        call()
    return found.value


def unanswered():
    """Ask a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        requests.get(f"http://127.0.0.1:{silent.getsockname()[1]}/x", timeout=0.2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: requests.get(f"http://localhost:{Ports.free().proxy}/x", timeout=5), "Connection refused"),
        (unanswered, "no answer in time"),
        (lambda: json.loads("<html>"), "what answers is no Alluxio"),
    ],
)
def test_a_reason_is_a_few_words(call, says):
    """It names neither classes nor URLs of the library."""
    assert reason(caught(call)) == says


def test_another_error_says_its_first_line():
    """No further."""
    assert reason(RuntimeError("first\nsecond")) == "first"
    assert reason(RuntimeError()) == "RuntimeError"


def test_a_proxy_that_is_down_is_told_in_one_sentence():
    """Where, why and what to do, without the text of the library."""
    with Namespace("localhost", Ports.free().proxy) as nowhere:
        error = caught(nowhere.check)
    said = str(error)
    assert isinstance(error, Unavailable)
    assert "does not answer (Connection refused): is it up?" in said
    assert "HTTPConnection" not in said
