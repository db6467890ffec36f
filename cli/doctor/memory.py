"""The check of the memory that hot versions may take, and of who sets that limit."""

from __future__ import annotations

from typing import Final

from alluxio_lance.cli.doctor.check import Check, failed, ok, warned
from alluxio_lance.cli.human import size
from alluxio_lance.errors import AlluxioLanceError

__all__ = ["budget"]

_NAME: Final = "memory"
_TIGHT: Final = 512 << 20


def budget() -> Check:
    """Work the budget out as a sidecar that starts now would."""
    try:
        from alluxio_lance.sidecar.budget import Budget, Host  # noqa: PLC0415 - the base install has no server side
        from alluxio_lance.sidecar.settings import Settings, Share  # noqa: PLC0415 - the base install has no server side
    except ModuleNotFoundError as error:
        return warned(_NAME, f"the budget is not known without {error.name}", "pip install 'alluxio-lance[server]'")
    try:
        wanted, host = Settings().memory_budget, Host()
        if wanted is None or isinstance(wanted, Share):
            limit, origin = Budget.detect(*([wanted] if wanted else []), host=host).limit, "of what this machine has"
        else:
            limit, origin = wanted, "as configured"
    except AlluxioLanceError as error:
        return failed(_NAME, error.message, "set ALLUXIO_LANCE_MEMORY_BUDGET to a size such as 4GiB")
    found = f"budget {size(limit)} {origin}; {size(host.total())} in all, {size(host.available())} free now (cgroup limits counted)"
    if limit > host.available():
        return warned(_NAME, found, "the budget is larger than what is free: lower it, or end other programs")
    if limit < _TIGHT:
        return warned(_NAME, found, "raise the container's memory limit, or ALLUXIO_LANCE_MEMORY_BUDGET")
    return ok(_NAME, found)
