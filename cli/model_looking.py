"""The commands that look into models: show and diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from alluxio_lance.cli.model_opening import open_model
from alluxio_lance.cli.model_records import diff_record, model_record
from alluxio_lance.cli.model_view import diff_view, model_view
from alluxio_lance.cli.options import Json, Selected, Target
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.cli.session import session_of
from alluxio_lance.cli.target import plain_target, target
from alluxio_lance.client.models.comparing import compare
from alluxio_lance.client.models.plotting import plot_diff
from alluxio_lance.client.models.signing import signed_by
from alluxio_lance.errors import NotFound

__all__ = ["diff", "show"]


def show(context: Context, resource: Selected, as_json: Json = False) -> None:
    """Show the tensors of a model with type, shape and bytes, its files, what is tied, and who says to have signed it."""
    session = session_of(context)
    with open_model(session, str(target(resource)), silent=as_json) as found:
        key = signed_by(found)
        if as_json:
            session.print_json({"model": model_record(found, key)})
        else:
            session.out.print(model_view(found, key))


_OneVersion = Annotated[
    str,
    Argument(metavar="VERSION", help="1.4.0, 1.4, v7, sha-3fa9c1d2, a stage, a tag or a branch.", show_default=False),
]


def diff(
    context: Context,
    resource: Target,
    old: _OneVersion,
    new: _OneVersion,
    plot: Annotated[
        Path | None,
        Option(
            "--plot",
            metavar="FILE",
            help="A picture of the relative change of each tensor, .png, .svg or .pdf; needs matplotlib.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two versions of a model: tensors with the size of their change, files, notes and metadata."""
    session, name = session_of(context), plain_target(resource)
    if plot is not None and not plot.expanduser().absolute().parent.is_dir():
        raise NotFound(f"there is no folder {plot.expanduser().absolute().parent}: make it first")
    versions = [str(target(f"{name.type}/{name.name}@{selector}")) for selector in (old, new)]
    with (
        open_model(session, versions[0], silent=as_json) as before,
        open_model(session, versions[1], silent=as_json) as after,
        progress_bar(session.err, silent=as_json) as on_progress,
        session.manager() as manager,
    ):
        metadata = [manager.find_version(name.type, name.name, each.layout.semver).metadata for each in (before, after)]
        found = compare(before, after, (metadata[0], metadata[1]), on_progress=on_progress)
    if plot is not None:
        plot_diff(found, plot.expanduser().absolute())
    if as_json:
        session.print_json({"diff": diff_record(found)})
    else:
        session.out.print(diff_view(found))
