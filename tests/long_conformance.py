"""Which of the kit's tests the default run leaves to `nox -s conformance`, which sets PENSTOCK_CONFORMANCE_FULL."""

from __future__ import annotations

import os

import pytest

FURTHER_SUITES = {"TestChannels", "TestKafkaShare", "TestLists", "TestPostgresChanges", "TestPostgresPoll"}
"""Suites of plugins whose first suite runs whole."""

LONG_TESTS = {
    "test_a_blocked_worker_does_not_fill_its_memory",
    "test_a_function_that_takes_long_keeps_its_messages",
    "test_a_worker_that_was_frozen_cannot_settle_what_others_have",
    "test_a_worker_waits_for_a_backend_that_is_down_when_it_starts",
    "test_attempts_survive_a_restart_of_the_backend",
    "test_many_messages_are_settled_in_one_call",
    "test_many_queues_work_side_by_side",
    "test_outputs_of_killed_workers_are_all_there",
    "test_workers_that_join_leave_and_die_lose_nothing",
}
"""A third of a suite's time. Kills, outages and restarts that must lose nothing are not among them."""


def leave_long_tests(items: list[pytest.Item]) -> None:
    """Skip the long tests of further suites, unless all are wanted."""
    if os.environ.get("PENSTOCK_CONFORMANCE_FULL"):
        return
    for item in items:
        if item.name in LONG_TESTS and FURTHER_SUITES.intersection(item.nodeid.split("::")):
            item.add_marker(
                pytest.mark.skip(
                    reason="long, in a plugin's further suite: nox -s conformance, or set PENSTOCK_CONFORMANCE_FULL=1"
                )
            )
