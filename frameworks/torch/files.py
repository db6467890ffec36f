"""The map-style dataset of plain files: a folder in Alluxio as ``torchvision.datasets.ImageFolder`` shows a local one."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info

from alluxio_lance.client.generation import Generation
from alluxio_lance.errors import Conflict, InvalidArgument
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.frameworks.torch.files_listing import Labels, Samples, list_folder
from alluxio_lance.frameworks.torch.files_loading import FileBytes, Loader, default_loader

__all__ = ["FileDataset"]

_TOGETHER: Final = 16
"""Files that are read at once while those before them are decoded: twice the threads that read."""


class FileDataset(TorchDataset[Any]):
    """The files of a folder in Alluxio and of all folders below, listed once; a leading dot in a name hides.

    Each is read whole, by the nearest way: from the block files of this node's worker, else over the network. A
    ``DataLoader`` asks for a batch at a time: its files are read in parallel, and those that come first are decoded
    while the next ones are under way. With workers it also asks for the next batches ahead (``prefetch_factor``).

    Works with any number of workers and any start method; then ``loader``, ``transform``, ``target_transform`` and a
    ``labels`` function must be picklable for all but ``fork``.

    Parameters
    ----------
    uri
        ``alluxio:///images``, with three slashes.
    loader
        Called with a binary file in memory, seekable, whose ``name`` is the path in Alluxio: ``np.load``, ``torch.load``
        and ``PIL.Image.open`` take one. By default images, known by their ending, become RGB images of PIL, and other
        files ``bytes``.
    transform
        Called with what was loaded; what it returns takes its place.
    target_transform
        The same for the label.
    extensions
        Only files with one of these endings, in any case: ``(".jpg", ".png")``. All files by default.
    labels
        ``"folder"``: the name of the folder right below ``uri`` is the class; files that lie in none are left out, and
        the order is that of ``ImageFolder``. A function of the path below ``uri``, such as ``"a/b.jpg"``: text that it
        returns is the name of a class, any other value the label itself. None: items have no label. Without folders the
        order is that of the paths.
    address
        The Alluxio: ``alluxio://HOST:19998/?proxy=39999&worker=30000``. By default ``ALLUXIO_LANCE_FILES``, else the
        setting ``files``, else the Alluxio of the tables, else the one on this node.
    threads
        How many files of a batch are read at once, in each worker.

    Attributes
    ----------
    classes
        The names of the classes, sorted; empty where labels are none, or values.
    class_to_idx
        The label of each class.

    Raises
    ------
    NotFound
        When there is no such folder, no file in it, or a class without one.
    InvalidURI
        When it names no folder of files.
    InvalidArgument
        When ``labels``, ``threads`` or the address is wrong.
    Unavailable
        When Alluxio does not answer.

    Examples
    --------
    >>> images = FileDataset("alluxio:///images", transform=to_tensor)  # doctest: +SKIP
    >>> loader = DataLoader(images, batch_size=64, shuffle=True, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        uri: str,
        loader: Loader | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        extensions: str | Sequence[str] | None = None,
        labels: Labels = "folder",
        address: str | None = None,
        *,
        threads: int = 8,
    ) -> None:
        if threads < 1:
            raise InvalidArgument(f"threads={threads} reads nothing: give 1 or more")
        self._uri = uri
        self.loader: Loader = default_loader if loader is None else loader
        self.transform = transform
        self.target_transform = target_transform
        self._extensions = extensions
        self._labels = labels
        self._threads = threads
        self._files = AlluxioFiles.connect(address)
        self._listed = list_folder(self._files, uri, extensions, labels)
        self._generation = Generation()
        self._born = self._generation.number

    # -- items ---------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._listed.files)

    def __getitem__(self, index: int) -> Any:
        """Read one file: ``(item, label)``, or the item alone where there are no labels.

        Raises
        ------
        IndexError
            When there is none; negative indices count from the end.
        NotFound
            When the file is gone.
        Corrupt
            When it has another size than when it was listed, or is an image that cannot be decoded.
        Unavailable
            When Alluxio does not answer.
        Conflict
            In a worker that began before `refresh`.
        """
        self._check_generation()
        place = self._place(index)
        return self._item(place, self._files.read(self._listed.files[place]))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read what a DataLoader's batch sampler asks for; errors as for one."""
        self._check_generation()
        places = [self._place(index) for index in indices]
        return [self._item(place, data) for place, data in zip(places, self._read(places), strict=True)]

    def _read(self, places: Sequence[int]) -> Iterator[bytes]:
        """Read files in parallel, a few ahead of the one that is decoded."""
        files = self._listed.files
        groups = [places[start : start + _TOGETHER] for start in range(0, len(places), _TOGETHER)]
        # One thread per batch and none between: nothing to carry through fork, nothing to close.
        with ThreadPoolExecutor(1, thread_name_prefix="alluxio-batch") as reader:

            def begin(group: Sequence[int]) -> Any:
                return reader.submit(self._files.read_many, [files[place] for place in group], threads=self._threads)

            ahead = begin(groups[0]) if groups else None
            for following in [*groups[1:], None]:
                if ahead is None:
                    return
                data = ahead.result()
                ahead = None if following is None else begin(following)
                yield from data

    def _item(self, place: int, data: bytes) -> Any:
        path = self._listed.files.path(place)
        try:
            item = self.loader(FileBytes(data, path))
            if self.transform is not None:
                item = self.transform(item)
            if self._listed.targets is None:
                return item
            label = self._listed.targets[place]
            return item, label if self.target_transform is None else self.target_transform(label)
        except Exception as error:
            error.add_note(f"while making an item of {path} in Alluxio")
            raise

    def _place(self, index: int) -> int:
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"index {place} is out of range for the {len(self)} files of {self._uri}")
        return place % len(self)

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self._uri

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted; empty where labels are none, or values."""
        return self._listed.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def targets(self) -> list[Any]:
        """The label of each item, before ``target_transform``; empty without labels."""
        return self._listed.targets or []

    @property
    def samples(self) -> Sequence[tuple[str, Any]]:
        """The path in Alluxio and the label of each item; the label is None where there are none."""
        return Samples(self._listed)

    # -- the folder as it is now ---------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """List the folder again; call it between epochs.

        Nothing else ever changes the length or an item. Workers that are still running keep the old list and raise
        `Conflict` at their next batch, so that no epoch mixes the two; a DataLoader with ``persistent_workers=True`` must
        be made anew.

        Returns
        -------
        bool
            Whether there are other files or classes now, or files were written anew.

        Raises
        ------
        InvalidArgument
            In a worker of a DataLoader.
        NotFound, Unavailable
            As when it was made; the old list then stays.
        """
        if get_worker_info() is not None:
            raise InvalidArgument("refresh() was called in a worker of a DataLoader: call it in the main process")
        listed = list_folder(self._files, self._uri, self._extensions, self._labels)
        if listed.files == self._listed.files and listed.classes == self._listed.classes:
            return False
        self._listed = listed
        if not self._generation.ours:
            # A copy in a process of its own (one rank of many, say) goes its own way from here.
            self._generation = Generation()
        self._born = self._generation.advance()
        return True

    def _check_generation(self) -> None:
        if self._born != self._generation.number:
            raise Conflict(
                f"{self._uri} was listed again in process {self._generation.owner} while this process ({os.getpid()}) "
                "still read the old list: call refresh() between epochs, and make a new DataLoader afterwards if it has "
                "persistent_workers=True"
            )

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of connections and open files of this process; who reads on makes new ones."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FileDataset {self._uri} {len(self)} files, {len(self.classes)} classes>"
