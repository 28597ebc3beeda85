"""What may stand under `config:`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock_memory.options import MemoryOptions


def test_nothing_needs_to_be_said() -> None:
    """The defaults are a queue of this process, a lease of a minute, no limit."""
    options = MemoryOptions()

    assert (options.url, options.namespace, options.vt, options.max_length) == (None, "default", 60.0, 0)


@pytest.mark.parametrize(
    "url",
    ["unix:///tmp/a.sock", "tcp://127.0.0.1:5555", "tcp://localhost:5555", "tcp://[::1]:5555", "tcp://127.1.2.3:1"],
)
def test_an_address_of_this_machine_is_accepted(url: str) -> None:
    """A socket's path, or a port of the loopback."""
    assert MemoryOptions(url=url).url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1", "is no address of a broker; write unix:///absolute/path.sock or tcp"),
        ("/tmp/a.sock", "is no address of a broker"),
        ("unix://tmp/a.sock", "three slashes"),
        ("unix:a.sock", "three slashes"),
        ("unix:///tmp/", "no absolute path of a socket"),
        ("unix:///" + "x" * 120, "at most 100 bytes; choose a shorter one"),
        ("tcp://192.0.2.1:5555", "is not of this machine"),
        ("tcp://0.0.0.0:5555", "is not of this machine"),
        ("tcp://example.org:5555", "is not of this machine"),
        ("tcp://127.0.0.1", "is not of this machine; write tcp://127.0.0.1:PORT"),
        ("tcp://127.0.0.1:99999", "out of range"),
    ],
)
def test_any_other_address_is_refused_with_what_to_write(url: str, says: str) -> None:
    """The error repeats it, and names the two forms."""
    with pytest.raises(ValidationError, match=says):
        MemoryOptions(url=url)


@pytest.mark.parametrize(
    "values", [{"vt": 0}, {"vt": -1}, {"max_length": -1}, {"namespace": ""}, {"linger": 0}, {"keep": 0}, {"ttl": 1}]
)
def test_impossible_values_and_unknown_keys_are_refused(values: dict[str, object]) -> None:
    """Instead of being ignored."""
    with pytest.raises(ValidationError, match=next(iter(values))):
        MemoryOptions(**values)
