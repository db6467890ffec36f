"""The document about the rules is held against the rules: its examples are valid, and it names every key."""

import re
from pathlib import Path

import pytest

from alluxio_lance.lifecycle.rules import document, read_rules

DOCUMENT = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
EXAMPLES = [text for text in re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL) if "pyproject" not in text]
MODELS = [model for model in vars(document).values() if isinstance(model, type) and issubclass(model, document._Model)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(example):
    """Whoever copies an example gets no fault."""
    read_rules(example)


def test_the_default_stages_are_those_shown():
    """The first example is the default."""
    assert read_rules(EXAMPLES[0]) == read_rules("")


def test_every_key_is_explained():
    """No key of the grammar is missing."""
    missing = {key for model in MODELS for key in model.model_fields if not re.search(rf"\b{key}\b", DOCUMENT)}
    assert missing == set()
