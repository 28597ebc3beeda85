"""The count of code lines counts code."""

from __future__ import annotations

import pytest

from tests.code_lines import PLACES, code_lines, pair_lines, pairs
from tests.sources import ROOT

SOURCE = '''"""A docstring
of two lines."""

import os  # 1, with a comment

LIMIT = 3  # 2
"""What it is."""


# A comment.
def function(  # 3
    argument: str,  # 4
) -> str:  # 5
    """Another docstring."""

    text = """two
    lines"""  # 6 and 7
    return text + argument  # 8
'''


def test_blank_lines_comments_and_docstrings_are_not_code() -> None:
    """A string that is used, and each line of a signature, is."""
    assert code_lines(SOURCE) == 8


def test_every_distribution_is_counted() -> None:
    """And no folder that is gone."""
    counted = {ROOT / folder for folder in PLACES.values()}

    assert [folder for folder in counted if not folder.is_dir()] == []
    assert {ROOT / "core/src", ROOT / "kit/src", *ROOT.glob("plugins/*/src")} <= counted


@pytest.mark.parametrize("name", ["redis/streams", "rabbitmq", "aws", "gcp", "azure/servicebus"])
def test_a_consumer_and_its_producer_can_be_read_in_one_sitting(name: str) -> None:
    """At most 250 lines of code; what several connectors need belongs to the core."""
    [folder] = [each for each in pairs() if each.endswith(f"penstock_{name}")]

    assert 100 < pair_lines(folder) <= 250
