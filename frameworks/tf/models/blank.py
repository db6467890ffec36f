"""A Keras model that was built of its architecture and waits for its state: what takes time can be done ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alluxio_lance.frameworks.tf.models.alike import alike
from alluxio_lance.frameworks.tf.models.architecture import build, uncompiled
from alluxio_lance.frameworks.tf.models.unfilled import Unfilled, unfilled_variables

__all__ = ["Blank", "blank_of"]


@dataclass(frozen=True, slots=True)
class Blank:
    """A model without its state. It takes one once."""

    architecture: bytes
    """What it was built of."""
    compiled: bool
    """Whether it is to be compiled as it was."""
    model: Any
    how: Any
    """How it was compiled; None when it was not."""
    unfilled: Unfilled
    """Its variables that have no initial values yet."""

    def fits(self, text: bytes, uri: str, *, compiled: bool) -> bool:
        """Tell whether a version of this architecture would be built alike, but for the numbers in Keras's own names."""
        if compiled != self.compiled:
            return False
        # A training that goes on with another learning rate changes how a model is compiled, and nothing else.
        return text == self.architecture or (
            not compiled and alike(uncompiled(text, uri), uncompiled(self.architecture, uri))
        )


def blank_of(text: bytes, uri: str, custom_objects: Mapping[str, Any] | None, *, compiled: bool) -> Blank:
    """Build one of an architecture; errors as of `architecture.build`."""
    with unfilled_variables() as unfilled:
        model, how = build(text, uri, custom_objects, compiled=compiled)
    return Blank(text, compiled, model, how, unfilled)
