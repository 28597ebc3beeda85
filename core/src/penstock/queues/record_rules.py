"""Which records a connector takes, checked once here instead of in each connector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from penstock.bulk import record_size
from penstock.errors import FunctionError, ProduceError
from penstock.message import Record
from penstock.queues.one_at_a_time import KEYWORDS, OneAtATimeProducer

if TYPE_CHECKING:
    from penstock.connectors import Producer
    from penstock.queues.resolved_queue import ResolvedQueue

_options: Callable[[Any], object] = attrgetter("options")
_NONE_REJECTED: Mapping[int, ProduceError] = {}


class RecordRules:
    """What the spec of a connector, or the signature of a class written one message at a time, says about records.

    Args:
        queue: The queue, for errors.
        resolved: Its settings.
        producer: Its producer.
    """

    def __init__(self, queue: str, resolved: ResolvedQueue, producer: Producer) -> None:
        self._queue = queue
        self._connector = resolved.connector
        self._delay = resolved.capabilities.record_delay
        self._options = resolved.record_options
        self._max_bytes = resolved.max_record_bytes
        # None: any, or the connector checks them.
        self._keywords = producer.keywords if isinstance(producer, OneAtATimeProducer) else None

    def check(self, record: Record) -> None:
        """Check what an output of the function asks for.

        Raises:
            FunctionError: it has a delay, and the connector cannot delay; or options that the connector does not know.
        """
        problem = self._keyword_problem(record) or self._option_problem(record)
        if problem is None and record.delay and not self._delay:
            problem = (
                f"has delay={record.delay}, but connector {self._connector!r} has no 'record_delay'; leave it out, or "
                "use a connector that has it"
            )
        if problem is not None:
            raise FunctionError(f"an output for {self._queue} {problem}")

    def rejected(self, records: Sequence[Record]) -> Mapping[int, ProduceError]:
        """The records that must not be sent, by position; almost always none."""
        if self._max_bytes is None and (self._options is None or not any(map(_options, records))):
            return _NONE_REJECTED
        problems = ((position, self._problem(record)) for position, record in enumerate(records))
        return {position: ProduceError(problem, retriable=False) for position, problem in problems if problem}

    def _problem(self, record: Record) -> str | None:
        if record.options and (problem := self._option_problem(record)):
            return f"the record {problem}"
        if self._max_bytes is not None and (size := record_size(record)) > self._max_bytes:
            return f"{size:,} bytes with key and headers; {self._connector!r} takes at most {self._max_bytes:,}"
        return None

    def _option_problem(self, record: Record) -> str | None:
        if not record.options or self._options is None or record.options.keys() <= self._options:
            return None
        unknown = min(record.options.keys() - self._options)
        known = f"it knows {', '.join(map(repr, sorted(self._options)))}" if self._options else "it knows none"
        return f"has the option {unknown!r}, which connector {self._connector!r} does not know; {known}; leave it out"

    def _keyword_problem(self, record: Record) -> str | None:
        if self._keywords is None:
            return None
        wanted = set(record.options or ()) | {name for name in KEYWORDS if getattr(record, name)}
        if not (untaken := sorted(wanted - self._keywords)):
            return None
        return (
            f"has {', '.join(untaken)}, which produce() of {self._connector!r} does not take; leave it out, or add it "
            "to the parameters of produce()"
        )


def add_headers(record: Record, headers: Sequence[tuple[str, bytes | None]]) -> None:
    """Add header pairs to a record; its own header of a name wins, in any case."""
    own = {name.lower() for name, _ in record.headers}
    if new := [pair for pair in headers if pair[0].lower() not in own]:
        record.headers = [*record.headers, *new]
