"""What differs between two versions of a model: tensors with the size of the change, files, notes and metadata.

Both are mapped, not copied: a block at a time is compared, and blocks that are equal are not even made numbers of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.numbers import as_numbers
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.manifest import MANIFEST
from alluxio_lance.weights.rows import Notes

__all__ = ["Change", "Difference", "ModelDiff", "TensorChange", "change_text", "compare"]

_BLOCK: Final = 1 << 22
"""Bytes compared at once; as numbers of 64 bits they are at most eight times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How far the numbers of a tensor have moved. Norms are over its finite changes, in 64 bits."""

    elements: int
    """How many have other bits; a complex number counts as two."""
    l2: float
    """Euclidean norm of new minus old."""
    relative_l2: float | None
    """The same by the norm of the old tensor; None when that is zero."""
    max: float
    """The largest absolute change of one element."""
    relative_max: float | None
    """The same by the largest absolute element of the old tensor; None when that is zero."""
    not_finite: int
    """Changed elements where one of the two is infinite or no number: they are in no norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorChange:
    """A tensor that both have, and that is not the same in both."""

    name: str
    old: TensorSpec
    new: TensorSpec
    change: Change | None
    """None when type or shape differ, or there is no arithmetic for the type (4 and 6 bits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A value that differs; None stands for one that is not there."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDiff:
    """All differences between two versions of a model, by name."""

    old: str
    """The URI of exactly this version."""
    new: str
    added: tuple[TensorSpec, ...]
    removed: tuple[TensorSpec, ...]
    changed: tuple[TensorChange, ...]
    same: int
    """How many tensors are equal, bit for bit."""
    files: tuple[Difference, ...]
    """Files with the bytes that they have; the manifest, which differs whenever something does, is left out."""
    notes: tuple[Difference, ...]
    """Ties, views, quantisation and what frameworks noted: ``tied.lm_head.weight``."""
    metadata: tuple[Difference, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the two are the same."""
        return not (self.added or self.removed or self.changed or self.files or self.notes or self.metadata)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def compare(
    old: MappedModel,
    new: MappedModel,
    metadata: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
    *,
    on_progress: OnProgress | None = None,
) -> ModelDiff:
    """Compare two mapped versions, and the metadata that the catalog has of them."""
    before, after = old.tensors, new.tensors
    both = [name for name in before if name in after]
    total, done = sum(before[name].size for name in both), 0
    changed: list[TensorChange] = []
    for name in both:
        specs = before[name].spec, after[name].spec
        if specs[0] != specs[1]:
            changed.append(TensorChange(name=name, old=specs[0], new=specs[1], change=None))
        elif found := _change(specs[0].dtype, old.data(name), new.data(name)):
            change = None if isinstance(found, bool) else found
            changed.append(TensorChange(name=name, old=specs[0], new=specs[1], change=change))
        done += before[name].size
        if on_progress is not None:
            on_progress(Progress(step="compare", bytes=done, total_bytes=total))
    return ModelDiff(
        old=old.uri,
        new=new.uri,
        added=tuple(sorted((after[name].spec for name in after if name not in before), key=_name)),
        removed=tuple(sorted((before[name].spec for name in before if name not in after), key=_name)),
        changed=tuple(sorted(changed, key=_name)),
        same=len(both) - len(changed),
        files=tuple(_files(old.files, new.files)),
        notes=tuple(_differences(_flat(old.notes), _flat(new.notes))),
        metadata=tuple(_differences(*metadata)),
    )


def _name(each: TensorSpec | TensorChange) -> str:
    return each.name


def _change(dtype: str, old: memoryview, new: memoryview) -> Change | bool:
    """Return how two tensors of one type and shape differ: False when not at all, True when nobody can say how far."""
    first, second = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    blocks = [slice(start, start + _BLOCK) for start in range(0, first.size, _BLOCK)]
    differing = {at for at, block in enumerate(blocks) if not np.array_equal(first[block], second[block])}
    if not differing:
        return False
    if as_numbers(dtype, first[:0]) is None:
        return True
    sums = _Sums()
    for at, block in enumerate(blocks):
        before = as_numbers(dtype, first[block])
        assert before is not None
        sums.add_old(before)
        if at in differing:
            after = as_numbers(dtype, second[block])
            assert after is not None
            sums.add_change(before, after, first[block], second[block])
    return sums.result()


class _Sums:
    """The sums of squares and the largest values, as blocks go by."""

    def __init__(self) -> None:
        self._old = self._changes = self._largest_old = self._largest = 0.0
        self._elements = self._not_finite = 0

    def add_old(self, numbers: NDArray[np.float64]) -> None:
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            self._old += _squares(finite)
            self._largest_old = max(self._largest_old, float(np.abs(finite).max()))

    def add_change(
        self,
        old: NDArray[np.float64],
        new: NDArray[np.float64],
        old_bits: NDArray[np.uint8],
        new_bits: NDArray[np.uint8],
    ) -> None:
        width = old_bits.size // old.size
        # By bits: no number is equal to itself that is none, and 64 bits of an integer may be one float.
        moved = (old_bits.reshape(-1, width) != new_bits.reshape(-1, width)).any(axis=1)
        self._elements += int(moved.sum())
        with np.errstate(invalid="ignore", over="ignore"):
            changes = new[moved] - old[moved]
        finite = changes[np.isfinite(changes)]
        self._not_finite += changes.size - finite.size
        if finite.size:
            self._changes += _squares(finite)
            self._largest = max(self._largest, float(np.abs(finite).max()))

    def result(self) -> Change:
        l2, norm = math.sqrt(self._changes), math.sqrt(self._old)
        return Change(
            elements=self._elements,
            l2=l2,
            relative_l2=l2 / norm if norm else None,
            max=self._largest,
            relative_max=self._largest / self._largest_old if self._largest_old else None,
            not_finite=self._not_finite,
        )


def _squares(numbers: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore"):
        return float(np.square(numbers).sum())


def _files(old: Mapping[str, memoryview], new: Mapping[str, memoryview]) -> Iterator[Difference]:
    for path in sorted((old.keys() | new.keys()) - {MANIFEST}):
        before, after = old.get(path), new.get(path)
        if before != after:
            yield Difference(
                key=path,
                old=None if before is None else before.nbytes,
                new=None if after is None else after.nbytes,
            )


def _flat(notes: Notes) -> dict[str, Any]:
    parts = {"tied": notes.tied, "views": notes.views, "quantized": notes.quantized, "extra": notes.extra}
    return {f"{part}.{key}": value for part, found in parts.items() for key, value in found.items()}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Difference(key=key, old=old.get(key), new=new.get(key))


def _lines(diff: ModelDiff) -> Iterator[str]:
    yield f"{diff.old} → {diff.new}"
    if diff.is_empty:
        yield "the same, bit for bit"
        return
    for sign, specs in (("+", diff.added), ("-", diff.removed)):
        for spec in specs:
            yield f"{sign} tensor {spec.name}  {spec.dtype} {list(spec.shape)}"
    for each in diff.changed:
        yield f"~ tensor {each.name}  {change_text(each)}"
    yield f"= {diff.same} tensors are the same"
    for what, differences in (("file", diff.files), ("note", diff.notes), ("metadata", diff.metadata)):
        for difference in differences:
            yield _line(what, difference)


def change_text(each: TensorChange) -> str:
    """Return how a tensor changed, in one line."""
    if each.old != each.new:
        return f"{each.old.dtype} {list(each.old.shape)} → {each.new.dtype} {list(each.new.shape)}"
    if each.change is None:
        return f"{each.new.dtype} {list(each.new.shape)}  other bits"
    change = each.change
    relative = "" if change.relative_l2 is None else f" ({change.relative_l2:.3g} of the old)"
    odd = f", {change.not_finite} not finite" if change.not_finite else ""
    return f"{change.elements} elements, L2 {change.l2:.3g}{relative}, max {change.max:.3g}{odd}"


def _line(what: str, found: Difference) -> str:
    unit = " bytes" if what == "file" else ""
    if found.old is None:
        return f"+ {what} {found.key}: {found.new}{unit}"
    if found.new is None:
        return f"- {what} {found.key}: {found.old}{unit}"
    return f"~ {what} {found.key}: {found.old} → {found.new}{unit}"
