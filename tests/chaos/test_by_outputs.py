"""A backend that does not count what workers hold counts outputs, and is not deceived by those that came twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.backends import by_outputs
from tests.chaos.backends.by_outputs import without_output


class Made:
    """What workers have made of four messages."""

    def __init__(self, target: Sequence[bytes], rejects: Sequence[bytes]) -> None:
        self._made = {"target": target, "rejects": rejects}

    def count(self, name: str) -> int | None:
        return len(self._made[name])

    def outputs(self, name: str) -> Sequence[bytes]:
        return self._made[name]


@pytest.mark.parametrize(
    ("target", "rejects", "left"),
    [
        ([], [], 4),
        ([b"1", b"2"], [b"3"], 1),
        ([b"1", b"2", b"2"], [b"3"], 1),
        ([b"1", b"2", b"2", b"3", b"3"], [], 1),
        ([b"1", b"2", b"2", b"4"], [b"3"], 0),
    ],
)
def test_a_message_that_came_twice_does_not_stand_for_a_missing_one(
    target: list[bytes], rejects: list[bytes], left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or workers would be stopped while they hold it, and it would look lost."""
    monkeypatch.setattr(by_outputs, "SETTLED_WITHIN", 0)
    assert without_output(Made(target, rejects), 4, ["target", "rejects"]) == left
