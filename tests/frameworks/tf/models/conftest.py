"""A model for each test."""

from __future__ import annotations

import pytest


@pytest.fixture
def uri(request) -> str:
    """A model of the test's own."""
    return f"alluxio://models/keras-{request.node.name.replace('[', '-').rstrip(']')}"
