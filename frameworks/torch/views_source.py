"""One dataset under a view, as it was when the view was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alluxio_lance.errors import Conflict
from alluxio_lance.frameworks.torch.views_reader import AnyReader

if TYPE_CHECKING:
    from alluxio_lance.frameworks.torch.dataset import AlluxioDataset

__all__ = ["Source"]

Transform = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A dataset, the version that its rows were chosen of, and what is made of its samples."""

    dataset: AlluxioDataset
    version: int
    content_hash: str
    semver: str
    rows: int
    transform: Transform | None

    @classmethod
    def of(cls, dataset: AlluxioDataset) -> Source:
        """Note the version that a dataset is at."""
        return cls(dataset, dataset.version, dataset.content_hash, dataset.semver, len(dataset), dataset.transform)

    def transformed(self, transform: Transform | None) -> Source:
        """Return the same with another transform."""
        return replace(self, transform=transform)

    @property
    def decoded(self) -> list[str]:
        """The columns whose pictures are decoded."""
        return self.dataset._live().decoded  # noqa: SLF001 - a view is a part of its dataset

    def reader(self) -> AnyReader:
        """Return what reads it.

        Raises
        ------
        Conflict
            When the dataset has been refreshed to another version, where the rows of the view mean other ones.
        """
        reader = self.dataset._live()  # noqa: SLF001 - a view is a part of its dataset
        layout = reader.table.layout
        if (layout.version, layout.content_hash) != (self.version, self.content_hash):
            raise Conflict(
                f"this view shows rows of {self.dataset.uri} at {self.semver}, and the dataset was refreshed to "
                f"{layout.semver} - make the view anew, and its DataLoader with it",
                semver=self.semver,
            )
        return reader
