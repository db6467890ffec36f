"""The built-in rules as a document to begin with: a test holds it equal to what the empty one means."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_RULES"]

DEFAULT_RULES: Final = """\
# The rules of alluxio-lance: stages, gates, policies, hooks, roles. docs/rules.md explains every key.
# `alluxio-lance rules check FILE` looks for faults, `alluxio-lance rules set FILE` puts them into force.

# What a version counts as until it is promoted for the first time.
initial_stage = "experiment"

# -- stages: where a version may go from each of them ------------------------------------------------------------------

[stages.experiment]
to = ["validation"]

[stages.validation]
to = ["production", "experiment"]

[stages.production]
to = ["archived"]
holders = "one"          # a new one displaces the one before
activate = true          # who takes it becomes the active version
displaced = "archived"   # where the one before goes

[stages.archived]
to = ["validation"]

# -- gates: what must hold before a version moves along an edge ---------------------------------------------------------
#
# [[gates]]
# name = "good-enough"
# kind = "expectation"
# on = ["validation -> production"]
# require = ["metrics.accuracy >= 0.92", "metrics.accuracy >= current.metrics.accuracy - 0.01"]
#
# [[gates]]
# name = "four-eyes"
# kind = "approval"
# on = ["* -> production"]
# role = "releaser"

# -- policies: how long versions stay; none by default -------------------------------------------------------------------
#
# [[policies]]
# name = "unread"
# archive_after = "30d"
# delete_after = "365d"

# -- people ---------------------------------------------------------------------------------------------------------------

[access]
default = ["viewer"]     # other users of the node; the server's own user and root are admins

[tags]
protected = []           # patterns of tags that only a grant which names them may set, move or remove

[deletion]
grace = "7d"             # how long what was deleted can be undeleted
"""
