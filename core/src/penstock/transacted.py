"""For connectors: the result of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import ProduceError
from penstock.message import QueueMessage


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that the backend will never store, so that a transaction was not made.

    Attributes:
        output: The position of its output, from 0.
        record: Its position among that output's records, from 0.
        error: The reason.
    """

    output: int
    record: int
    error: ProduceError


@dataclass(frozen=True, slots=True)
class Transacted:
    """The result of a transaction. Unless it is empty, nothing was stored and nothing settled.

    Attributes:
        lost: The messages that this consumer could not settle any more.
        refused: The records that the backend will never store.
    """

    lost: Sequence[QueueMessage] = ()
    refused: Sequence[Refusal] = ()

    @property
    def committed(self) -> bool:
        """Whether everything was stored and settled."""
        return not self.lost and not self.refused
