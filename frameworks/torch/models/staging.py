"""Tensors on their way to CUDA: through two pinned buffers, one filled while the other is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

__all__ = ["mover", "on_cpu"]

_STAGED: Final = 32 << 20
"""Bytes of each buffer."""


def on_cpu(device: torch.device | str | int | None) -> bool:
    """Tell whether tensors stay where they are."""
    return device is None or torch.device(device).type == "cpu"


def mover(device: torch.device | str | int | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what moves tensors to a device: nothing to the CPU, pinned staging to CUDA, ``to`` elsewhere.

    Mapped memory itself is not pinned: to pin a page that is copied on write is to copy it.
    """
    if device is None or on_cpu(device):
        return lambda tensor: tensor
    wanted = torch.device(device)
    if wanted.type == "cuda":
        return _Stage(wanted).move
    return lambda tensor: tensor.to(wanted)


class _Stage:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: list[tuple[torch.Tensor, Any]] = []
        self._turn = 0

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        """Send one tensor; it is complete for whatever is queued on the current stream after it."""
        if tensor.is_quantized or not tensor.numel():
            return tensor.to(self._device)
        there = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)
        source = tensor.contiguous().reshape(-1).view(torch.uint8)
        target = there.reshape(-1).view(torch.uint8)
        for start in range(0, source.numel(), _STAGED):
            piece = source[start : start + _STAGED]
            buffer, sent = self._next()
            buffer[: piece.numel()].copy_(piece)
            target[start : start + piece.numel()].copy_(buffer[: piece.numel()], non_blocking=True)
            sent.record(torch.cuda.current_stream(self._device))
        return there

    def _next(self) -> tuple[torch.Tensor, Any]:
        if len(self._buffers) < 2:  # noqa: PLR2004 - one is filled while the other is sent
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch gives it no types
            self._buffers.append((torch.empty(_STAGED, dtype=torch.uint8, pin_memory=True), sent))
            return self._buffers[-1]
        buffer, sent = self._buffers[self._turn]
        self._turn = 1 - self._turn
        # Its last bytes may still be on their way.
        sent.synchronize()
        return buffer, sent
