"""The rules of the whole system: one TOML document, read into frozen models."""

from alluxio_lance.lifecycle.rules.book import RulesBook
from alluxio_lance.lifecycle.rules.document import RuleSet, parse_rules
from alluxio_lance.lifecycle.rules.graph import StageGraph
from alluxio_lance.lifecycle.rules.reading import read_rules

__all__ = ["RuleSet", "RulesBook", "StageGraph", "parse_rules", "read_rules"]
