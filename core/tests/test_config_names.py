"""Sentences about names that are not there."""

from __future__ import annotations

import pytest

from penstock.config.names import unknown_queue


@pytest.mark.parametrize(
    ("name", "configured", "source", "sentence"),
    [
        (
            "oders",
            ["orders", "audit"],
            "queues.yml",
            "queue 'oders' is not in queues.yml, which has 'orders', 'audit'; did you mean 'orders'?",
        ),
        ("x", ["orders"], "", "queue 'x' is not in the configuration, which has 'orders'"),
        ("x", [], "", "queue 'x' is not in the configuration, which has no queues at all"),
    ],
)
def test_a_queue_that_is_not_configured(name: str, configured: list[str], source: str, sentence: str) -> None:
    """What there is, and what was probably meant."""
    assert unknown_queue(name, configured, source) == sentence
