"""What may stand under `config:`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock_memory.options import MemoryOptions


def test_nothing_needs_to_be_said() -> None:
    """The defaults are a queue of this process, a lease of a minute, no limit."""
    options = MemoryOptions()

    assert (options.queue, options.namespace, options.vt, options.max_length) == (None, "default", 60.0, 0)


def test_a_url_leads_to_sqlite() -> None:
    """The error for a queue that is to be shared between processes names the connector that does it, and its key."""
    with pytest.raises(
        ValidationError, match="for several processes use `connector: sqlite` with the `path` of a file"
    ):
        MemoryOptions(url="unix:///tmp/a.sock")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "values",
    [{"vt": 0}, {"vt": -1}, {"max_length": -1}, {"namespace": ""}, {"linger": 1}, {"ttl": 1}, {"queue": "orders"}],
)
def test_impossible_values_and_unknown_keys_are_refused(values: dict[str, object]) -> None:
    """Instead of being ignored."""
    with pytest.raises(ValidationError, match=next(iter(values))):
        MemoryOptions(**values)
