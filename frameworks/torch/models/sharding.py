"""One rank's share of tensors: slices along one dimension, cut as `torch.distributed.tensor.Shard` cuts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from alluxio_lance.errors import InvalidArgument

__all__ = ["Shard", "read_shard"]


@dataclass(frozen=True, slots=True)
class Shard:
    """A rank and what it takes of each tensor."""

    rank: int
    world: int
    dims: Mapping[str, int] | None
    """By pattern of the name: the first that matches counts; None: the first dimension of every tensor that has one."""

    def dim_of(self, names: Sequence[str], shape: Sequence[int]) -> int | None:
        """Return the dimension along which a tensor is cut; None when every rank has all of it.

        Parameters
        ----------
        names
            All that it has: what is tied is one tensor, and cut once.

        Raises
        ------
        InvalidArgument
            When it has no such dimension.
        """
        if self.dims is None:
            return 0 if shape else None
        for pattern, dim in self.dims.items():
            if any(fnmatchcase(name, pattern) for name in names):
                if not -len(shape) <= dim < len(shape):
                    raise InvalidArgument(
                        f"tensor {names[0]!r} has the shape {list(shape)}, and no dimension {dim} to cut"
                    )
                return dim % len(shape)
        return None

    def bounds(self, length: int) -> tuple[int, int]:
        """Return where this rank's part of a dimension begins and ends: all equal, rounded up; the last may be empty."""
        each = -(-length // self.world)
        start = min(self.rank * each, length)
        return start, min(start + each, length)


def read_shard(shard: Any, names: Sequence[str]) -> Shard | None:
    """Read ``(rank, world)`` or ``(rank, world, {pattern: dim})``.

    Raises
    ------
    InvalidArgument
        When it is neither, or a pattern matches no tensor.
    """
    if shard is None:
        return None
    rank, world, dims = (*shard, None) if isinstance(shard, tuple) and len(shard) == _WITHOUT_DIMS else _checked(shard)
    if type(rank) is not int or type(world) is not int or not 0 <= rank < world:
        raise InvalidArgument(
            f"shard=({rank!r}, {world!r}, …) is no rank and number of ranks: (0, 8) is the first of eight"
        )
    if dims is None:
        return Shard(rank, world, None)
    if not isinstance(dims, Mapping) or not all(type(dim) is int for dim in dims.values()):
        raise InvalidArgument(f"shard=(…, {dims!r}) says no dimensions: {{'*.weight': 0}} is their form")
    for pattern in dims:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidArgument(f"shard names the pattern {pattern!r}, which matches no tensor that is loaded")
    return Shard(rank, world, dict(dims))


_WITHOUT_DIMS = 2


def _checked(shard: Any) -> tuple[Any, Any, Any]:
    if not isinstance(shard, tuple) or len(shard) != _WITHOUT_DIMS + 1:
        raise InvalidArgument(f"shard={shard!r} is neither (rank, world) nor (rank, world, {{pattern: dim}})")
    return shard
