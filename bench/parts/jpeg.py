"""Where the time goes with JPEG files: read, decode, hand over; beside torchvision's ImageFolder on the same files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image

from alluxio_lance import ResourceManager
from alluxio_lance.bench.parts.results import Found, Group
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.rows import uri_of
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving
from alluxio_lance.errors import Corrupt

__all__ = ["measure", "probe"]

_SIDE: Final = 256
_BATCH: Final = 64
_CLASSES: Final = 10
_WORKERS: Final = 2
_OURS, _PILLOW, _SAME, _TF = "alluxio-lance", "ImageFolder", "ImageFolder, torchvision's decoder", "alluxio-lance, tf"
_STAGES: Final = {
    "read": "read only",
    "decoded": "read and decode",
    "loader_0": "DataLoader, 0 workers",
    "loader_2": f"DataLoader, {_WORKERS} workers",
}


def measure(setting: Setting) -> Found:
    """Measure in a fresh process for each way and repetition."""
    count = 256 if setting.quick else 2000
    folder = setting.work / "pictures"
    setting.tell(f"write {count:,} pictures")
    size = _write(folder, count, setting.seed)
    rounds = Rounds()
    with serving(setting.work / "sidecar") as address:
        _register(address, folder)
        tasks = {way: {"way": way, "folder": str(folder), "rows": count} for way in (_OURS, _PILLOW, _SAME, _TF)}
        rounds.run(
            {way: lambda task=task: setting.fresh("jpeg", task, address) for way, task in tasks.items()},  # type: ignore[misc]  # mypy cannot infer a lambda's default
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
    groups = [
        Group(
            title=title,
            unit="microseconds per picture",
            against=f"as fast as {_PILLOW}",
            lines=tuple(
                rounds.line(way, stage, against=None if way == _PILLOW else (_PILLOW, stage), inverse=True)
                for way in (_OURS, _PILLOW, _SAME)
            ),
        )
        for stage, title in _STAGES.items()
    ]
    pipeline = rounds.line(
        _TF, "pipeline", name="alluxio-lance, alluxio.tf", against=(_PILLOW, "loader_2"), inverse=True
    )
    groups[-1] = Group(
        title=f"{groups[-1].title}; tf.data with its own threads",
        unit=groups[-1].unit,
        against=groups[-1].against,
        lines=(*groups[-1].lines, pipeline),
    )
    return Found(
        part="jpeg",
        title=f"{count:,} JPEG pictures of {_SIDE} x {_SIDE}, {size / count / 1e3:.0f} KB each, shuffled, batches of {_BATCH}",
        settings={**setting.facts(), "rows": count, "bytes": size, "batch_size": _BATCH},
        groups=tuple(groups),
        notes=(
            "The difference from one stage to the next is what that stage costs; decoding is the most of it, whoever reads.",
            (
                "ImageFolder decodes with Pillow unless told otherwise; the same files through torchvision's decoder show "
                "how much of the difference is the decoder. Its files are in the page cache."
            ),
            "Pictures are noise that was blurred, which compresses like photographs of that size but looks like none.",
        ),
        measurements=rounds.numbers,
    )


def _write(folder: Path, count: int, seed: int) -> int:
    """Write the files, one folder for each class; returns their bytes."""
    random = np.random.default_rng(seed)
    size = 0
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        into = folder / f"class{number % _CLASSES}" / f"{number:06d}.jpg"
        into.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(into, quality=90)
        size += into.stat().st_size
    return size


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def _register(address: str, folder: Path) -> None:
    files = _files(folder)
    table = pa.table(
        {"photo": pa.array([file.read_bytes() for file in files], pa.binary()), "number": np.arange(len(files))}
    )
    with ResourceManager.connect(address) as manager:
        manager.register_resource("datasets", "jpeg", table)


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Take the time of every stage of one way, in microseconds per picture."""
    rows, way = task["rows"], task["way"]
    if way == _TF:
        stages = {"pipeline": _tf_epoch()}
    else:
        stages = _our_stages() if way == _OURS else _folder_stages(Path(task["folder"]), own=way == _PILLOW)
    found: dict[str, float] = {}
    for name, epoch in stages.items():
        # Once untimed: libraries are loaded, workers and pages are there.
        for _ in range(2):
            begun = perf_counter()
            seen = epoch()
            found[name] = (perf_counter() - begun) * 1e6 / rows
            if seen != rows:
                raise Corrupt(f"{way}, {name}: {seen} of {rows} pictures came", expected=rows, found=seen)
    return found


def _orders(rows: int) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    order = np.random.default_rng(0).permutation(rows)
    return (order[start : start + _BATCH] for start in range(0, rows, _BATCH))


def _loaded(dataset: Any, workers: int, taken: Callable[[Any], Any]) -> Callable[[], int]:
    from torch.utils.data import DataLoader  # noqa: PLC0415 - the process that measures tf.data loads no torch

    loader: Any = DataLoader(
        dataset, batch_size=_BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: sum(_checked(taken(batch)) for batch in loader)


def _checked(pictures: Any) -> int:
    """Count the pictures of a batch that is whole."""
    return len(pictures) if tuple(pictures.shape[1:]) == (3, _SIDE, _SIDE) else 0


def _our_stages() -> dict[str, Callable[[], int]]:
    from alluxio.torch import Dataset  # noqa: PLC0415 - as said above

    raw, decoded = Dataset(uri_of("jpeg")), Dataset(uri_of("jpeg"), decode="image")
    return {
        "read": lambda: sum(len(raw.batch(rows)["photo"]) for rows in _orders(len(raw))),
        "decoded": lambda: sum(_checked(decoded.batch(rows)["photo"]) for rows in _orders(len(raw))),
        "loader_0": _loaded(decoded, 0, lambda batch: batch["photo"]),
        "loader_2": _loaded(decoded, _WORKERS, lambda batch: batch["photo"]),
    }


class _ToTensor:
    """What ImageFolder does with a picture of Pillow's; of a class, so that any start method takes it to workers."""

    def __call__(self, picture: Any) -> Any:
        from torchvision.transforms.functional import pil_to_tensor  # noqa: PLC0415 - as said above

        return pil_to_tensor(picture)


def _with_torchvision(path: str) -> Any:
    from torchvision.io import ImageReadMode, decode_image  # noqa: PLC0415 - as said above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode_image(path, mode=ImageReadMode.RGB)


def _folder_stages(folder: Path, *, own: bool) -> dict[str, Callable[[], int]]:
    import torch  # noqa: PLC0415 - as said above
    from torchvision.datasets import ImageFolder  # noqa: PLC0415 - as said above

    files = _files(folder)
    pictures = (
        ImageFolder(str(folder), transform=_ToTensor()) if own else ImageFolder(str(folder), loader=_with_torchvision)
    )

    def decoded(rows: Sequence[int]) -> int:
        return _checked(torch.stack([pictures[row][0] for row in rows]))

    return {
        "read": lambda: sum(len([io.BytesIO(files[row].read_bytes()) for row in rows]) for rows in _orders(len(files))),
        "decoded": lambda: sum(decoded(rows.tolist()) for rows in _orders(len(files))),
        "loader_0": _loaded(pictures, 0, lambda batch: batch[0]),
        "loader_2": _loaded(pictures, _WORKERS, lambda batch: batch[0]),
    }


def _tf_epoch() -> Callable[[], int]:
    from alluxio.tf import Dataset  # noqa: PLC0415 - only this process loads TensorFlow

    dataset = Dataset(uri_of("jpeg"), _BATCH, shuffle=True, decode="image")
    return lambda: sum(len(batch["photo"]) for batch in dataset if batch["photo"].shape[1:] == (_SIDE, _SIDE, 3))
