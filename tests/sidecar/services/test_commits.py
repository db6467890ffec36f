"""What a sidecar says at its start about commits, of a real Alluxio."""

import pytest
from structlog.testing import capture_logs

from alluxio_lance.sidecar.commits import log_commits


@pytest.mark.parametrize(
    ("store", "level", "says"),
    [
        ("", None, ""),
        ("alluxio", "info", "locked by the catalog: this endpoint overwrites"),
        ("alluxio://localhost:1/x?proxy=1", "warning", "is not known"),
    ],
    ids=["folder", "alluxio", "nobody"],
)
def test_it_is_said_once_how_commits_are_kept_apart(request, store, level, says):
    """Nothing of a folder; a store that does not answer just now stops nothing, since the lock is held anyway."""
    with capture_logs() as said:
        silence = log_commits(request.getfixturevalue(store) if store == "alluxio" else store)
    assert [each["log_level"] for each in said] == ([level] if level else [])
    assert all(says in each["event"] for each in said)
    assert bool(silence) == (level == "warning")
