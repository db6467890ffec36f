"""The commands about models: tensors and files, in and out, compared and signed."""

from __future__ import annotations

from typer import Typer

from alluxio_lance.cli.model_looking import diff, show
from alluxio_lance.cli.model_moving import load, save
from alluxio_lance.cli.model_signing import key, sign, verify

__all__ = ["model"]

model = Typer(help="Models: save and load tensors and files, compare versions, sign and verify.", no_args_is_help=False)
for command in (save, load, show, diff, key, sign, verify):
    model.command()(command)
