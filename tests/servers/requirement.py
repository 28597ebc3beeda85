"""Whether a test may do without a server: at home it is skipped with the reason, in CI it fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

VARIABLE = "PENSTOCK_TEST_REQUIRE"
"""Names of servers, separated by commas, that must be there: `PENSTOCK_TEST_REQUIRE=kafka,redis`."""


def required(server: str) -> bool:
    """Whether the environment says that `server` must be there."""
    return server in {name.strip() for name in os.environ.get(VARIABLE, "").split(",")}


def missing(server: str, reason: str) -> NoReturn:
    """End the running test, because `server` is not there.

    Args:
        server: The server's name, as it stands in PENSTOCK_TEST_REQUIRE.
        reason: One line: what is not there, and what would bring it.
    """
    if required(server):
        pytest.fail(f"{reason} ({VARIABLE} names {server!r})", pytrace=False)
    pytest.skip(reason)
