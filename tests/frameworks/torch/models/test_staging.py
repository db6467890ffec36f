"""Tensors on their way to a device; a stand-in for CUDA, which the machines of the tests lack."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alluxio_lance.frameworks.torch.models import staging

pytestmark = pytest.mark.torch

STAGED = 1 << 10


class Event:
    """Stands in for an event of CUDA: it keeps account of what must have been waited for."""

    log: list[tuple[str, int]]

    def record(self, stream: Any) -> None:
        """Note that bytes were sent."""
        assert stream == "stream"
        self.log.append(("sent", id(self)))

    def synchronize(self) -> None:
        """Note that they have arrived."""
        self.log.append(("arrived", id(self)))


@pytest.fixture
def log(monkeypatch):
    """Let pinned memory, events and the device be those of the CPU."""
    found: list[tuple[str, int]] = []
    Event.log = found
    empty = torch.empty

    def on_cpu(*shape: Any, **options: Any) -> torch.Tensor:
        return empty(*shape, dtype=options["dtype"])

    monkeypatch.setattr(torch, "empty", on_cpu)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "stream")
    monkeypatch.setattr(staging, "_STAGED", STAGED)
    return found


@pytest.mark.parametrize("count", [0, 1, STAGED - 1, STAGED, STAGED + 1, 5 * STAGED + 3])
def test_every_byte_goes_through_two_buffers(log, count):
    """Whatever the size; no buffer is filled anew before what was in it has arrived."""
    stage = staging._Stage(torch.device("cpu"))
    tensor = torch.arange(count, dtype=torch.int64).to(torch.uint8)
    for wanted in (tensor, tensor.view(torch.int8), torch.tensor(1.5), torch.eye(3, dtype=torch.bfloat16).t()):
        moved = stage.move(wanted)
        assert torch.equal(moved, wanted)
        assert moved.dtype == wanted.dtype
    assert len({event for _, event in log}) <= 2
    flying: set[int] = set()
    for what, event in log:
        assert (event in flying) is (what == "arrived")
        flying ^= {event}


def test_the_cpu_is_no_journey():
    """The tensor itself, without a copy."""
    tensor = torch.zeros(3)
    for device in (None, "cpu", torch.device("cpu")):
        assert staging.mover(device)(tensor) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    """On the device itself."""
    tensor = torch.randn(9_000_001)
    moved = staging.mover("cuda")(tensor)
    torch.cuda.synchronize()
    assert torch.equal(moved.cpu(), tensor)
