"""What happens to one batch between two brokers: decode, call, route and encode, top to bottom.

The columns of a batch are filled by one loop each. Where nothing fails, a message costs its decode, its call and its
encode, and little else.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from penstock.cancellation import raise_if_cancelled
from penstock.errors import DecodeError, FunctionError, PenstockError, Retry
from penstock.message import QueueMessage, Record
from penstock.pipeline.batch import Batch, Outgoing, ThreadBatch
from penstock.pipeline.function import Function
from penstock.queues import InputQueue, OutputQueue
from penstock.routing import Inherit, Output, as_output, outputs, unknown_queue
from penstock.settlement import Failure, GivenBack, Stage

SLICE = (
    0.05  # seconds; a batch that a slow function has worked on for this long is cut, and its finished part delivered
)


class Steps:
    """The steps of one engine, bound once.

    Args:
        source: The input queue.
        function: The user's function.
        targets: Output queues by name, the dead-letter queue among them.
        whole_batch: The function takes a list of models.
        max_deliveries: A message delivered more often than this fails unseen; None where deliveries are not counted,
            or where it could not be dead-lettered.
    """

    def __init__(
        self,
        source: InputQueue,
        function: Function,
        targets: Mapping[str, OutputQueue],
        *,
        whole_batch: bool,
        max_deliveries: int | None,
    ) -> None:
        self._decode = source.decode
        self._explain = source.codec.explain
        self._open_envelope = source.open_envelope if source.enveloped else None
        self._call = function.call
        self._function = function.name
        self._targets = targets
        self._whole_batch = whole_batch
        self._max_deliveries = max_deliveries

    def process(self, batch: ThreadBatch) -> Sequence[QueueMessage]:
        """All steps for a function that is not async; meant for a thread of its own.

        Returns:
            The messages that were not begun because the function is slow.
        """
        self.decode(batch)
        rest = self._call_batch(batch) if self._whole_batch else self._call_each(batch)
        self.encode(batch)
        return rest

    def decode(self, batch: Batch) -> None:
        """Bodies → models."""
        if self._max_deliveries is not None:
            self._refuse_killers(batch, self._max_deliveries)
        if self._open_envelope is not None:
            self._open_envelopes(batch, self._open_envelope)
        decode = self._decode
        try:
            batch.models = [decode(message.message) for message in batch.messages]
        except Exception:  # noqa: BLE001  (which one it was is found out below; decoding has no side effects)
            self._decode_each(batch)

    @staticmethod
    def _open_envelopes(batch: Batch, open_envelope: Callable[[QueueMessage], None]) -> None:
        damaged: set[QueueMessage] = set()
        for message in batch.messages:
            try:
                open_envelope(message)
            except DecodeError as error:
                batch.failures.append(Failure(message, "decode", error))
                damaged.add(message)
        if damaged:
            batch.drop(damaged)

    def _decode_each(self, batch: Batch) -> None:
        messages, models = [], []
        for message in batch.messages:
            try:
                model = self._decode(message.message)
            except Exception as error:  # noqa: BLE001  (any error of a codec means: no valid message)
                batch.failures.append(Failure(message, *self._explain(message.message, error)))
            else:
                messages.append(message)
                models.append(model)
        batch.messages, batch.models = messages, models

    @staticmethod
    def _refuse_killers(batch: Batch, limit: int) -> None:
        killers = [message for message in batch.messages if message.attempts > limit]
        for message in killers:
            text = f"delivered {message.attempts} times and never settled: it may be killing the worker"
            batch.failures.append(Failure(message, "delivery", PenstockError(text)))
        if killers:
            batch.drop(set(killers))

    def _call_each(self, batch: ThreadBatch) -> Sequence[QueueMessage]:
        """Models → results, until the slice is over; returns the messages not begun."""
        call, results, failures = self._call, batch.results, batch.failures
        failed: set[QueueMessage] = set()
        done = 0
        started = batch.begin()
        end = started + SLICE
        for done, (model, message) in enumerate(zip(batch.models, batch.messages, strict=True), 1):  # noqa: B007
            try:
                results.append(call(model, message))
            except (Exception, CancelledError) as error:  # noqa: BLE001  (it is the user's)
                failures.append(Failure(message, "function", error))
                failed.add(message)
            if perf_counter() > end:
                break
        rest = batch.close(done)
        if failed:
            batch.drop(failed)
        batch.seconds = perf_counter() - started
        return rest

    def _call_batch(self, batch: Batch) -> Sequence[QueueMessage]:
        if batch.models:
            started = perf_counter()
            try:
                batch.results.append(self._call(batch.models, batch.messages))
            except (Exception, CancelledError) as error:  # noqa: BLE001  (it is the user's)
                fail_all(batch, error)
            batch.seconds = perf_counter() - started
        return ()

    async def call_batch_async(self, batch: Batch) -> None:
        """The one call of an async function that takes the whole batch."""
        if batch.models:
            started = perf_counter()
            call: Callable[[Any, Any], Awaitable[Any]] = self._call
            try:
                batch.results.append(await call(batch.models, batch.messages))
            except (Exception, CancelledError) as error:  # noqa: BLE001  (it is the user's)
                raise_if_cancelled(error)
                fail_all(batch, error)
            batch.seconds = perf_counter() - started

    def encode(self, batch: Batch) -> None:
        """Results → records, all of a message's before any is sent."""
        batch.models = []
        if self._whole_batch:
            self._encode_whole(batch)
        else:
            self._encode_each(batch)
        batch.results = []

    def _encode_each(self, batch: Batch) -> None:
        columns = batch.outgoing
        failed: set[QueueMessage] = set()
        for message, result in zip(batch.messages, batch.results, strict=True):
            if result is None or result is True:
                continue
            try:
                if result is False:
                    raise GivenBack
                for item in result if type(result) is list else outputs(result):
                    if type(item) is tuple and len(item) == 2:
                        # The usual output, without a call of our own: one costs as much as the record does.
                        queue, obj = item
                        column = columns.get(queue) or self._column(batch, queue)
                        key = message.key if column.carries_keys else None
                        column.records.append(Record(column.encode(obj), key))
                        column.owners.append(message)
                    else:
                        self._encode_output(batch, as_output(item), message)
            except Exception as error:  # noqa: BLE001  (the codec's or the user's: a failed call either way)
                _take_back(batch, message)
                batch.failures.append(Failure(message, _stage(error), self._named(error)))
                failed.add(message)
        if failed:
            batch.drop(failed)

    def _encode_whole(self, batch: Batch) -> None:
        try:
            for result in batch.results:
                if result is False:
                    raise GivenBack
                if result is not None and result is not True:
                    for item in outputs(result):
                        self._encode_output(batch, as_output(item), None)
        except Exception as error:  # noqa: BLE001  (the codec's or the user's: a failed call either way)
            batch.outgoing.clear()
            fail_all(batch, self._named(error), _stage(error))

    def _encode_output(self, batch: Batch, output: Output, owner: QueueMessage | None) -> None:
        column = batch.outgoing.get(output.queue) or self._column(batch, output.queue)
        key = output.key
        if isinstance(key, Inherit):
            key = owner.key if owner is not None and column.carries_keys else None
        record = Record(column.encode(output.obj), key, output.headers, output.delay, output.options)
        self._targets[output.queue].check(record)
        column.records.append(record)
        column.owners.append(owner)

    def _column(self, batch: Batch, queue: Any) -> Outgoing:
        target = self._targets.get(queue) if isinstance(queue, str) else None
        if target is None:
            raise unknown_queue(queue, self._targets)
        column = batch.outgoing[queue] = Outgoing(target.encode, target.carries_keys)
        return column

    def _named(self, error: Exception) -> Exception:
        if isinstance(error, (GivenBack, Retry)):
            return error
        text = error if isinstance(error, FunctionError) else f"{type(error).__name__}: {error}"
        named = FunctionError(f"{self._function}: {text}")
        named.__cause__ = error
        return named


def fail_all(batch: Batch, error: BaseException, stage: Stage = "function") -> None:
    """Every message of the batch failed together."""
    batch.failures += [Failure(message, stage, error) for message in batch.messages]
    batch.messages = []


def _stage(error: Exception) -> Stage:
    return "function" if isinstance(error, (GivenBack, Retry)) else "output"


def _take_back(batch: Batch, message: QueueMessage) -> None:
    # Its records are the last of each column: nothing of a message is sent unless all of it can be.
    for outgoing in batch.outgoing.values():
        while outgoing.owners and outgoing.owners[-1] is message:
            outgoing.owners.pop()
            outgoing.records.pop()
