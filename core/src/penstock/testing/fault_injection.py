"""Fault injection: what can go wrong between an engine and a broker, on demand.

Each method injects a fault a number of times, and returns a `Fault` that counts how often it has happened. Faults
happen in the order in which they were injected, one at a time, and depend only on the calls that the engine makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, Literal, TypeVar

from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import QueueMessage, Record

T = TypeVar("T")

Call = Literal["connect", "consume", "settle", "produce"]
"""The calls of a connector; `settle` is `on_success` and `on_fail`."""

TOLD = "as the test asked for"


class Fault(Generic[T]):
    """One thing that goes wrong, a number of times.

    Args:
        times: How often; None is always.
        when: Which messages, records or calls it happens to; None is any.

    Attributes:
        struck: How often it has happened.
    """

    def __init__(self, times: int | None, when: Callable[[T], bool] | None = None) -> None:
        if times is not None and times < 1:
            raise ValueError(f"times={times}: give a number from 1, or None for every call")
        self.times = times
        self.struck = 0
        self._when = when

    def strikes(self, subject: T) -> bool:
        """Whether the fault happens to this one. If so, it is counted."""
        if self.times is not None and self.struck >= self.times:
            return False
        if self._when is not None and not self._when(subject):
            return False
        self.struck += 1
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} struck {self.struck} of {self.times or 'any number of'} times>"


class _FailingCall(Fault[Call]):
    """Calls that raise: the next `times` of one kind, or all calls for some seconds after the first of that kind."""

    def __init__(self, times: int | None, seconds: float | None, at: Call, error: Callable[[], ConnectorError]) -> None:
        super().__init__(times)
        self.error = error
        self._at = at
        self._seconds = seconds
        self._until: float | None = None

    def hits(self, call: Call, now: float) -> bool:
        """Whether this call, at this time, raises."""
        if self._until is not None:
            return now < self._until and self.strikes(call)
        if call != self._at or not self.strikes(call):
            return False
        if self._seconds is not None:
            self._until = now + self._seconds
        return True


class _Faults:
    """What consumers and producers share: calls that fail as a whole."""

    calls: ClassVar[tuple[Call, ...]]
    """The calls of this side."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._failing: list[_FailingCall] = []

    def _away(self, times: int | None, seconds: float | None, at: Call) -> Fault[Call]:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds={seconds}: an outage lasts longer than 0 s")
        text = f"the backend of {self._queue!r} is away, {TOLD}"
        return self._fail(lambda: NotConnected(text), times if seconds is None else None, seconds, at)

    def _fail(
        self, error: Callable[[], ConnectorError], times: int | None, seconds: float | None, at: Call
    ) -> Fault[Call]:
        if at not in self.calls:
            side = type(self).__name__.removesuffix("Faults").lower()
            raise ValueError(f"at={at!r}: a {side}'s calls are {', '.join(map(repr, self.calls))}; name one of them")
        fault = _FailingCall(times, seconds, at, error)
        self._failing.append(fault)
        return fault

    def strike(self, call: Call, now: float) -> None:
        """Raise the error that a fault has for this call. The fake connector calls it first in each of its methods.

        Args:
            call: The kind of call.
            now: Seconds by the harness's clock.
        """
        for fault in self._failing:
            if fault.hits(call, now):
                raise fault.error()


def _check(error: object, kind: type[ConnectorError]) -> None:
    """Refuse an `error` argument that is not an error of the wanted kind.

    Raises:
        TypeError: it is something else, or a class instead of an error.
    """
    if isinstance(error, kind):
        return
    given = f"the class {error.__name__}" if isinstance(error, type) else f"a {type(error).__name__}"
    raise TypeError(f"error={error!r}: it is {given}; give an error of the kind, as {kind.__name__}('too large')")


def _first(faults: list[Fault[T]], subject: T) -> Fault[T] | None:
    return next((fault for fault in faults if fault.strikes(subject)), None)


class ProducerFaults(_Faults):
    """Faults of an output queue, as seen by the engine that sends to it."""

    calls = ("connect", "produce")

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self._refusals: list[tuple[Fault[Record], ProduceError]] = []
        self._unconfirmed: list[Fault[Record]] = []

    def refuse(
        self,
        times: int | None = 1,
        error: ProduceError | None = None,
        *,
        when: Callable[[Record], bool] | None = None,
    ) -> Fault[Record]:
        """Records are refused, and not stored.

        Args:
            times: How many; a record that is sent again counts again. None is all.
            error: The backend's answer. If it is `retriable`, which is the default, the engine sends the record again.
            when: Which records. It gets them encoded, as the connector does.
        """
        refusal = ProduceError(f"{self._queue!r} refuses it, {TOLD}") if error is None else error
        _check(refusal, ProduceError)
        fault = Fault(times, when)
        self._refusals.append((fault, refusal))
        return fault

    def unconfirmed(self, times: int | None = 1, *, when: Callable[[Record], bool] | None = None) -> Fault[Record]:
        """Records are stored, but the connection is lost before the confirmation, so they are stored twice."""
        fault = Fault(times, when)
        self._unconfirmed.append(fault)
        return fault

    def away(
        self,
        times: int | None = 1,
        *,
        seconds: float | None = None,
        at: Literal["connect", "produce"] = "produce",
    ) -> Fault[Call]:
        """The backend is away: calls raise `NotConnected`.

        Args:
            times: How many calls of the kind `at`; None is all.
            seconds: Instead of a number: every call of any kind, for so long after the first call of the kind `at`.
            at: Which kind of call.
        """
        return self._away(times, seconds, at)

    def fail(
        self, error: ConnectorError, times: int | None = 1, *, at: Literal["connect", "produce"] = "produce"
    ) -> Fault[Call]:
        """Calls raise this error, for example a `FatalConnectorError`."""
        _check(error, ConnectorError)
        return self._fail(lambda: error, times, None, at)

    def refusal(self, record: Record) -> ProduceError | None:
        """The backend's answer if it refuses a record."""
        return next((error for fault, error in self._refusals if fault.strikes(record)), None)

    def loses_confirmation(self, record: Record) -> bool:
        """Whether a record is stored without a confirmation."""
        return _first(self._unconfirmed, record) is not None


class ConsumerFaults(_Faults):
    """Faults of an input queue, as seen by the engine that reads from it."""

    calls = ("connect", "consume", "settle")

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self._repeats: list[Fault[QueueMessage]] = []
        self._lost: list[Fault[QueueMessage]] = []

    def repeat(
        self, times: int | None = 1, *, when: Callable[[QueueMessage], bool] | None = None
    ) -> Fault[QueueMessage]:
        """Settled messages are delivered once more, as after a crash before the settlement was stored.

        Args:
            times: How many further deliveries. None needs a `when` that ends it, or the engine never becomes idle.
            when: Which messages. It gets the delivery that was settled.
        """
        return self._add(self._repeats, Fault(times, when))

    def lose_lease(
        self, times: int | None = 1, *, when: Callable[[QueueMessage], bool] | None = None
    ) -> Fault[QueueMessage]:
        """The engine has lost messages when it settles them: the settlement changes nothing, and they come again.

        On backends with partitions, a lost partition has the same effect.
        """
        return self._add(self._lost, Fault(times, when))

    def away(
        self,
        times: int | None = 1,
        *,
        seconds: float | None = None,
        at: Literal["connect", "consume", "settle"] = "consume",
    ) -> Fault[Call]:
        """The backend is away: calls raise `NotConnected`; see `ProducerFaults.away`."""
        return self._away(times, seconds, at)

    def fail(
        self, error: ConnectorError, times: int | None = 1, *, at: Literal["connect", "consume", "settle"] = "consume"
    ) -> Fault[Call]:
        """Calls raise this error, for example a `FatalConnectorError`."""
        _check(error, ConnectorError)
        return self._fail(lambda: error, times, None, at)

    @staticmethod
    def _add(faults: list[Fault[QueueMessage]], fault: Fault[QueueMessage]) -> Fault[QueueMessage]:
        faults.append(fault)
        return fault

    def repeats(self, message: QueueMessage) -> bool:
        """Whether a settled message is delivered once more."""
        return _first(self._repeats, message) is not None

    def loses_lease(self, message: QueueMessage) -> bool:
        """Whether a message was lost before it was settled."""
        return _first(self._lost, message) is not None
