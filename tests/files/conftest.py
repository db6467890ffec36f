"""Files of a real Alluxio, in a folder of the test's own."""

import re
import uuid

import pytest

from alluxio_lance.files.files import AlluxioFiles


@pytest.fixture
def files(cluster, folder):
    """The files, read from the worker's block files where they can be."""
    with AlluxioFiles.connect(cluster.uri) as found:
        yield found


@pytest.fixture
def far(cluster, folder):
    """The same files, for a node that has no worker."""
    with AlluxioFiles.connect(re.sub(r"worker=\d+", "worker=1", cluster.uri)) as found:
        yield found


@pytest.fixture
def folder(cluster):
    """An empty place; it goes with all that is in it."""
    name = f"/files-{uuid.uuid4().hex[:12]}"
    yield name
    with AlluxioFiles.connect(cluster.uri) as found:
        found.namespace.remove(name)
