"""Sentences about names that are not there."""

from __future__ import annotations

import pytest

from penstock.config.names import undeclared_output, unknown_queue


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


@pytest.mark.parametrize(
    ("name", "declared", "configured", "sentence"),
    [
        (
            "audti",
            ["orders", "audit"],
            [],
            "the function returned an output for queue 'audti', which is not one of the engine's output queues "
            "('orders', 'audit'); did you mean 'audit'?",
        ),
        (
            "late",
            ["orders"],
            ["orders", "late"],
            "the function returned an output for queue 'late', which is not one of the engine's output queues; "
            "it is configured, so add it: output_queues=['orders', 'late']",
        ),
        (
            "late",
            [],
            [],
            "the function returned an output for queue 'late', which is not one of the engine's output queues; "
            "the engine has none: name them in output_queues",
        ),
        (
            b"secret",
            ["orders"],
            [],
            "the function returned an output whose queue is of type bytes; write the queue's name",
        ),
    ],
)
def test_an_output_for_an_undeclared_queue(
    name: object, declared: list[str], configured: list[str], sentence: str
) -> None:
    """Misspelt, configured but not declared, none declared, no name at all."""
    assert undeclared_output(name, declared, configured) == sentence
