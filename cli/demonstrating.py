"""The command demo: the main job on real images, or on the user's own data, every result checked."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

from rich.text import Text
from typer import Context, Exit, Option

from alluxio_lance.cli.session import session_of
from alluxio_lance.errors import NotFound

__all__ = ["demo"]

_FOLDER: Final = Path(".demo")


def demo(
    context: Context,
    data: Annotated[
        Path | None,
        Option("--data", metavar="PATH", help="Your own folder or file instead of the digits.", show_default=False),
    ] = None,
    folder: Annotated[Path, Option("--folder", metavar="DIR", help="Where to work.")] = _FOLDER,
    keep: Annotated[
        bool, Option("--keep", help="Leave the folder in the end; after a failure it stays anyway.")
    ] = False,
    store: Annotated[
        str,
        Option(
            "--store",
            metavar="WHERE",
            help="Where the tables lie: `alluxio` runs a real Alluxio for the demo (Java needed), "
            "alluxio://HOST:19998/FOLDER?proxy=39999 takes one that is there; by default a folder.",
            show_default=False,
        ),
    ] = "",
    no_torch: Annotated[bool, Option("--no-torch", help="Leave PyTorch out.")] = False,
    no_tf: Annotated[bool, Option("--no-tf", help="Leave TensorFlow out.")] = False,
) -> None:
    """Register, train in PyTorch and Keras from one memory, update, roll back - and check every step."""
    from alluxio_lance.cli.demo.material import digits, own  # noqa: PLC0415 - numpy and gRPC load only where they are used
    from alluxio_lance.cli.demo.stores import demo_store  # noqa: PLC0415 - as the others
    from alluxio_lance.cli.demo.story import Story  # noqa: PLC0415 - numpy and gRPC load only where they are used
    from alluxio_lance.cli.demo.workplace import workplace  # noqa: PLC0415 - as the others

    session = session_of(context)
    if data is not None and not data.exists():
        raise NotFound(f"there is no {data}: give a file or a folder that exists")
    wanted = frozenset(extra for extra, left_out in (("torch", no_torch), ("tf", no_tf)) if not left_out)
    # The path of a socket is short, whatever the working folder.
    with workplace(folder.absolute()) as place, tempfile.TemporaryDirectory(prefix="alluxio-lance-") as run_dir:
        try:
            session.out.print(Text("the images come first: a moment", style="dim") if data is None else Text(str(data)))
            material = digits(place) if data is None else own(data.absolute())
            with demo_store(store, place, session.out) as where:
                told = Story(session.out, material, place, Path(run_dir), wanted, where).tell()
        except BaseException:
            session.err.print(f"what happened is in {place}", style="dim", highlight=False, soft_wrap=True)
            raise
        if told and not keep:
            shutil.rmtree(place)
    if not told:
        raise Exit(1)
