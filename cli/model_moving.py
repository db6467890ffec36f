"""The commands that bring models in and out: save and load."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from rich.text import Text
from typer import Argument, Context, Option

from alluxio_lance.cli.advising import advised
from alluxio_lance.cli.human import count, size
from alluxio_lance.cli.model_opening import open_model
from alluxio_lance.cli.options import Bump, Json, Message, Metadata, MetadataFile, RequestId, Selected
from alluxio_lance.cli.outcome import print_version
from alluxio_lance.cli.pairs import json_pairs, metadata_from
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.returning import when_back
from alluxio_lance.cli.session import Session, session_of
from alluxio_lance.cli.target import plain_target, target
from alluxio_lance.client.models.mapped import TENSORS, MappedModel
from alluxio_lance.client.models.saving import save as save_parts
from alluxio_lance.client.models.signing import signer
from alluxio_lance.client.models.signing import verify as verify_model
from alluxio_lance.client.models.verifying import parts_of
from alluxio_lance.errors import InvalidArgument, NotFound, Unavailable
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.values import Version
from alluxio_lance.weights.exporting import export_file, export_folder, export_npz
from alluxio_lance.weights.importing import read_model
from alluxio_lance.weights.importing.pickles import is_pickle
from alluxio_lance.weights.manifest import MANIFEST, SIGNATURE
from alluxio_lance.weights.rows import Tensor

__all__ = ["load", "save"]

_TORCH: Final = frozenset({".pt", ".pth", ".bin", ".ckpt"})
_FRAMEWORKS: Final = {"torch": "PyTorch", "tf": "TensorFlow"}


def save(
    context: Context,
    resource: Annotated[
        str, Argument(metavar="TYPE/NAME", help="The model, such as models/minilm.", show_default=False)
    ],
    path: Annotated[
        Path,
        Argument(
            metavar="PATH",
            help="A .safetensors or .npz file; a folder with safetensors files and what belongs to them; .pt, .pth, "
            ".bin, .ckpt (PyTorch); .keras or a SavedModel (TensorFlow); or another file, such as .onnx, kept as it is.",
            show_default=False,
        ),
    ],
    bump: Bump = None,
    version: Annotated[
        str | None, Option("--version", metavar="MAJOR.MINOR.PATCH", help="The semantic version.", show_default=False)
    ] = None,
    message: Message = "",
    metadata: Metadata = None,
    metadata_file: MetadataFile = None,
    metric: Annotated[
        list[str] | None,
        Option("--metric", metavar="NAME=VALUE", help="What was measured on it; repeat it.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option("--exclude", metavar="PATTERN", help="Paths of a folder to leave out; repeat it.", show_default=False),
    ] = None,
    sign_with: Annotated[
        Path | None, Option("--sign-with", metavar="KEY", help="Sign it with this private key.", show_default=False)
    ] = None,
    no_activate: Annotated[
        bool, Option("--no-activate", help="Keep it aside: readers go on with the version before.")
    ] = False,
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Save a model as a new version; of the one before, only what has changed is written."""
    session, name = session_of(context), plain_target(resource)
    path = path.expanduser().absolute()
    if not path.exists():
        raise NotFound(f"there is no {path}: give a file or a folder that exists")
    options = {
        "bump": bump,
        "version": version,
        "message": message,
        "metadata": metadata_from(metadata or (), metadata_file),
        "metrics": json_pairs("--metric", metric) if metric else None,
        "activate": not no_activate,
        "request_id": request_id,
    }
    framework = _framework(path)
    if exclude and framework is not None:
        raise InvalidArgument(f"--exclude is for folders that are read without {_FRAMEWORKS[framework]}")
    if framework == "tf":
        into = _by_tensorflow(path, sign_with, session)
    else:
        into = _by_parts(path, exclude or (), sign_with, framework)
    subject = f"{name.type}/{name.name}"
    with session.manager() as manager, advised(session, subject, f"activate {subject}@VERSION"):

        def work() -> Version:
            with progress_bar(session.err, silent=as_json) as on_progress:
                return into(f"alluxio://{subject}", manager, on_progress=on_progress, **options)

        made = when_back(session, manager, name, None, work, silent=as_json)
    print_version(session, "saved", made, as_json=as_json, then=f"model show {subject}@{made.semver}")


_Into = Callable[..., Version]


def _framework(path: Path) -> str | None:
    """Return the framework that has to read a path; None when none has to."""
    if path.is_dir():
        return "tf" if (path / "saved_model.pb").exists() else None
    if path.suffix.lower() == ".keras":
        return "tf"
    # .bin is the suffix of much else, too.
    return "torch" if path.suffix.lower() in _TORCH and is_pickle(path) else None


def _by_parts(path: Path, exclude: Sequence[str], sign_with: Path | None, framework: str | None) -> _Into:
    sign = None if sign_with is None else signer(sign_with.expanduser())
    if framework is None:
        parts = read_model(path, exclude=exclude)
    else:
        parts = _loaded(framework, path, "alluxio_lance.frameworks.torch.models.checkpoints").read_checkpoint(path)

    def into(uri: str, manager: ResourceManager, **options: Any) -> Version:
        return save_parts(uri, parts.tensors, parts.files, parts.notes, sign=sign, manager=manager, **options)

    return into


def _by_tensorflow(path: Path, sign_with: Path | None, session: Session) -> _Into:
    """Leave it to TensorFlow, which knows a sidecar only, and no key."""
    if session.embedded is not None:
        raise InvalidArgument("what TensorFlow reads is saved through a sidecar: leave --embedded out")
    if sign_with is not None:
        raise InvalidArgument("--sign-with is not for what TensorFlow reads: save it, then sign it with `model sign`")
    door = _loaded("tf", path, "alluxio.tf")

    def into(uri: str, _manager: ResourceManager, **options: Any) -> Version:
        made: Version = door.save_model(uri, path, address=session.address, **options)
        return made

    return into


def _loaded(framework: str, path: Path, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"{path.name} is read by {_FRAMEWORKS[framework]}: pip install 'alluxio-lance[{framework}]'", what=framework
        ) from error


_Format = Literal["safetensors", "folder", "npz"]


def load(
    context: Context,
    resource: Selected,
    destination: Annotated[Path, Argument(metavar="DEST", help="The file or folder to make.", show_default=False)],
    format: Annotated[
        _Format | None,
        Option(
            "--format",
            metavar="FORMAT",
            help="safetensors (tensors alone), folder (tensors and files) or npz (tensors, for numpy); by default what "
            "the suffix of DEST says, else a folder.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[bool, Option("--verify", help="Compare every byte with the manifest first.")] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model as files; they appear under their name when they are whole."""
    session, uri = session_of(context), str(target(resource))
    destination = destination.expanduser().absolute()
    kind = format or _format_of(destination)
    if overwrite and kind == "folder":
        raise InvalidArgument("--overwrite replaces a file: a folder that is there stays, choose another name")
    with (
        open_model(session, uri, silent=as_json) as found,
        progress_bar(session.err, silent=as_json) as on_progress,
    ):
        if verify:
            verify_model(found, on_progress=on_progress)
        _EXPORTS[kind](found, destination, overwrite, on_progress)
        left_out = 0 if kind == "folder" else len(found.files.keys() - {MANIFEST, SIGNATURE})
        tensors, exact = found.tensors, found.uri
        written = sum(placed.size for placed in tensors.values())
    if as_json:
        session.print_json(
            {
                "uri": exact,
                "path": str(destination),
                "format": kind,
                "tensors": len(tensors),
                "files_left_out": left_out,
            }
        )
        return
    session.line((exact, "bold"), f": tensors: {count(len(tensors))}, {size(written)}; in {destination}")
    if left_out:
        notice = f"files of the model that are not in it: {count(left_out)}; --format folder has them"
        session.err.print(Text(notice, style="yellow"), soft_wrap=True)


def _format_of(destination: Path) -> _Format:
    suffix = destination.suffix.lower()
    if suffix == ".safetensors":
        return "safetensors"
    return "npz" if suffix == ".npz" else "folder"


def _length(model: MappedModel) -> int:
    """Return the bytes of the safetensors file with the tensors; its memory may have more."""
    (segment,) = next(column.segments for column in model.layout.columns if column.name == TENSORS)
    return segment.data.length


def _to_file(model: MappedModel, path: Path, overwrite: bool, on_progress: OnProgress | None) -> None:
    export_file(model.descriptor, _length(model), path, overwrite=overwrite, on_progress=on_progress)


def _to_folder(model: MappedModel, path: Path, _overwrite: bool, on_progress: OnProgress | None) -> None:
    descriptor = model.descriptor if model.tensors else None
    export_folder(descriptor, _length(model), model.files, path, on_progress=on_progress)


def _to_npz(model: MappedModel, path: Path, overwrite: bool, on_progress: OnProgress | None) -> None:
    tensors, _ = parts_of(model)
    # An archive has no place to say what is tied: every name has its bytes.
    tied = [
        Tensor(replace(model.tensors[stored].spec, name=alias), partial(model.data, stored))
        for alias, stored in model.notes.tied.items()
    ]
    views = model.notes.views
    views = {**views, **{alias: views[stored] for alias, stored in model.notes.tied.items() if stored in views}}
    export_npz([*tensors, *tied], path, views, overwrite=overwrite, on_progress=on_progress)


_EXPORTS: Final[dict[str, Callable[[MappedModel, Path, bool, OnProgress | None], None]]] = {
    "safetensors": _to_file,
    "folder": _to_folder,
    "npz": _to_npz,
}
