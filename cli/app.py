"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from typer import Context, Exit, Option, Typer, echo

from alluxio_lance import __version__
from alluxio_lance.cli.accessing import token, whoami
from alluxio_lance.cli.application import Application
from alluxio_lance.cli.archiving import archive, restore
from alluxio_lance.cli.auditing import audit
from alluxio_lance.cli.benching import bench
from alluxio_lance.cli.cache import cache
from alluxio_lance.cli.cataloguing import catalog
from alluxio_lance.cli.clustering import alluxio
from alluxio_lance.cli.demonstrating import demo
from alluxio_lance.cli.doctoring import doctor
from alluxio_lance.cli.looking import history, list_resources, show
from alluxio_lance.cli.model import model
from alluxio_lance.cli.mounting import mount, unmount
from alluxio_lance.cli.naming import branch, label, merge, tag, unbranch, untag
from alluxio_lance.cli.pointing import activate, deprecate, rollback
from alluxio_lance.cli.removing import delete, purge, undelete
from alluxio_lance.cli.ruling import rules
from alluxio_lance.cli.session import Session
from alluxio_lance.cli.staging import approve, measure, promote, promotions, reject
from alluxio_lance.cli.starting import up
from alluxio_lance.cli.upkeeping import alert, policy, reconcile
from alluxio_lance.cli.writing import register, update

__all__ = ["application"]

application = Typer(
    cls=Application,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"alluxio-lance {__version__}")
        raise Exit


@application.callback()
def root(
    context: Context,
    address: Annotated[
        str | None,
        Option(
            "--address",
            metavar="ADDRESS",
            help="The sidecar: unix:/RUN/FOLDER/grpc.sock or its run folder, or another node's, grpcs://HOST:PORT. "
            "By default ALLUXIO_LANCE_ADDRESS, else this user's run folder.",
            show_default=False,
        ),
    ] = None,
    embedded: Annotated[
        Path | None,
        Option(
            "--embedded",
            metavar="FOLDER",
            help="Work on a folder in this process, without a sidecar.",
            show_default=False,
        ),
    ] = None,
    bearer: Annotated[
        str | None,
        Option(
            "--token",
            metavar="TOKEN",
            help="A bearer token, to act as somebody else than this user. "
            "Better in ALLUXIO_LANCE_TOKEN, where no other user sees it.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback has done the work
        bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Datasets as versions in Lance tables, served to PyTorch and TensorFlow from shared memory.

    Begin with `alluxio-lance demo`, or `alluxio-lance up` and `alluxio-lance register datasets/NAME DATA`.
    """
    if context.invoked_subcommand is None:
        echo(context.get_help())
        raise Exit(2)
    context.obj = Session.begin(address, embedded, bearer)


_PANELS: Final[dict[str, dict[str, Callable[..., None] | Typer]]] = {
    "Begin": {"up": up, "demo": demo, "doctor": doctor, "bench": bench},
    "Bring data in": {"register": register, "update": update, "branch": branch, "merge": merge, "unbranch": unbranch},
    "Models": {"model": model},
    "Look": {"list": list_resources, "show": show, "history": history, "whoami": whoami},
    "Steer": {
        "activate": activate,
        "deprecate": deprecate,
        "rollback": rollback,
        "tag": tag,
        "untag": untag,
        "label": label,
        "cache": cache,
    },
    "Stages": {
        "measure": measure,
        "promote": promote,
        "promotions": promotions,
        "approve": approve,
        "reject": reject,
        "alert": alert,
        "rules": rules,
    },
    "Keep": {
        "archive": archive,
        "restore": restore,
        "delete": delete,
        "undelete": undelete,
        "purge": purge,
        "policy": policy,
        "token": token,
        "catalog": catalog,
        "audit": audit,
        "reconcile": reconcile,
    },
    "Files": {"mount": mount, "unmount": unmount, "alluxio": alluxio},
}
for panel, commands in _PANELS.items():
    for name, command in commands.items():
        if isinstance(command, Typer):
            application.add_typer(command, name=name, rich_help_panel=panel)
        else:
            application.command(name, rich_help_panel=panel)(command)
