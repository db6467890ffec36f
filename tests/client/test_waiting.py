"""Waiting for an archived version: asking again, telling how far it is, ending with whatever comes instead."""

import pytest

from alluxio_lance.client import waiting
from alluxio_lance.client.waiting import when_back
from alluxio_lance.errors import Corrupt, Restoring
from alluxio_lance.values import Progress


@pytest.fixture
def pauses(monkeypatch):
    """Note the pauses instead of making them."""
    made = []
    monkeypatch.setattr(waiting.time, "sleep", made.append)
    return made


def answering(*answers):
    """Give one answer after the other and note what was asked with."""
    left, asked = list(answers), []

    def ask(operation):
        asked.append(operation)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask, asked


def test_it_asks_until_the_version_is_back_and_tells_how_far_it_is(pauses):
    """Each question names the operation of the answer before; the pauses grow up to a limit."""
    far = Restoring("…", progress=0.5, operation="abc", step="copy", bytes=5, total_bytes=10)
    ask, asked = answering(Restoring("…", progress=0.0), *[far] * 15, "lease")
    told = []
    assert when_back(ask, told.append) == "lease"
    assert asked == ["", "", *["abc"] * 15]
    assert told[0] == Progress(step="restore")
    assert told[1] == Progress(step="copy", bytes=5, total_bytes=10)
    assert len(told) == len(pauses) == 16
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.05, 2.0)


def test_another_error_ends_the_wait(pauses):
    """A restore that failed is not waited for any longer."""
    ask, _ = answering(Restoring("…", progress=0.0, operation="abc"), Corrupt("the copy is broken"))
    with pytest.raises(Corrupt, match="broken"):
        when_back(ask)
