"""Which headers of an input its outputs get, so that a trace does not end at the first function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from penstock.dead_letters import MESSAGE_ID
from penstock.lineage import Lineage
from penstock.message import Headers, QueueMessage

ALWAYS = frozenset({"traceparent", "tracestate", "baggage", MESSAGE_ID})
"""Passed on wherever headers can travel. In lower case, because some backends change the case of names."""

Pairs = list[tuple[str, bytes | None]]


class PassedOn(NamedTuple):
    """Headers for the outputs of a call.

    Attributes:
        asked_for: Named by the configuration; an envelope carries them where the backend has no headers.
        always: Passed on only where headers travel anyway.
    """

    asked_for: Pairs
    always: Pairs


class Propagation:
    """Chooses headers.

    Args:
        names: What `engine.propagate` lists.
        lineage: Adds the engine to the hops of its outputs; None where that is not asked for.

    Attributes:
        to_all: Outputs get a header even if their inputs have none.
    """

    def __init__(self, names: Sequence[str], lineage: Lineage | None = None) -> None:
        self._lineage = lineage
        self.to_all = lineage is not None
        self._asked_for = frozenset(name.lower() for name in names)
        self._names = ALWAYS | self._asked_for

    def of_message(self, message: QueueMessage) -> PassedOn | None:
        """The headers of one input that its outputs get; None if it has none of them."""
        return self._traced(self._chosen(message.headers), [message])

    def of_batch(self, messages: Sequence[QueueMessage]) -> PassedOn | None:
        """The headers that all inputs of a batch have, with the same value; None if there is none."""
        if not messages:
            return None
        agreed = self._chosen(messages[0].headers)
        for message in messages[1:]:
            if not agreed:
                break
            theirs = {(name.lower(), value) for name, value in self._chosen(message.headers)}
            agreed = [(name, value) for name, value in agreed if (name.lower(), value) in theirs]
        return self._traced(agreed, messages)

    def _traced(self, pairs: Pairs, messages: Sequence[QueueMessage]) -> PassedOn | None:
        passed_on = self.divide(pairs)
        if self._lineage is None:
            return passed_on
        asked_for, always = passed_on or PassedOn([], [])
        return PassedOn([*asked_for, self._lineage.header(messages)], always)

    def _chosen(self, headers: Headers) -> Pairs:
        names = self._names
        return [(name, value) for name, value in headers if name.lower() in names and value is not None]

    def divide(self, pairs: Pairs) -> PassedOn | None:
        """Divide headers by whether the configuration names them; None if there are none."""
        if not pairs:
            return None
        asked_for = [pair for pair in pairs if pair[0].lower() in self._asked_for]
        return PassedOn(asked_for, [pair for pair in pairs if pair not in asked_for])
