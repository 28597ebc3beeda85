"""What happens to one batch between two brokers: decode, call and encode, route, top to bottom.

One message is decoded, called with and encoded before the next, so that its model is in the processor's cache all the
time and is gone before the next is made: a batch decoded as a whole costs twice as much memory, and more time.

What the function returns, or yields, is encoded before it goes on: an object that it changes later has gone out as it
was.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.dead_letters import error_text
from penstock.errors import DecodeError, FunctionError
from penstock.message import QueueMessage, Record
from penstock.pipeline.batch import Batch, Encoded, Finished, OutputColumn, ThreadBatch
from penstock.pipeline.function import Function
from penstock.pipeline.propagation import PassedOn, Propagation
from penstock.pipeline.settlement import Failure, InvalidOutput, RequeueRequested, failure
from penstock.queues import forks
from penstock.queues.cancellation import raise_if_exit
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.routing import Inherit, Output, as_output, outputs, unknown_queue

if TYPE_CHECKING:
    from penstock.middleware import Call
    from penstock.pipeline.middleware import Surroundings

SLICE = 0.05  # seconds of work after which a batch of a slow function is cut, and its finished part delivered

_body: Callable[[Any], bytes | None] = attrgetter("message")
_headers: Callable[[Any], object] = attrgetter("headers")

BATCH_INPUT = QueueMessage(None, None)
"""The input message of an output that was made of a whole batch: it has no key to pass on."""


class Steps:
    """The steps of one engine, bound once.

    Args:
        source: The input queue.
        function: The user's function.
        targets: Output queues by name, the dead-letter queue among them.
        whole_batch: The function takes a list of models.
        propagation: Which headers go from an input to its outputs.
        surroundings: The middleware around each call, if there is any.
        raise_if_fatal: Raises an error of the user's code that is not a failed call, but ends the engine.

    Attributes:
        function: The function's name.
        call: `call(model, message)`, or `call(models, messages)` for a batch: the function's result, or an awaitable of
            it if the function is async. For a generator function, what it yielded, encoded.
        encode: `encode(result, message)`: the records of a result that is neither None nor True.
        finish: `finish(result, message)`: what a call for one message came to.
    """

    def __init__(
        self,
        source: InputQueue,
        function: Function,
        targets: Mapping[str, OutputQueue],
        *,
        whole_batch: bool,
        propagation: Propagation,
        surroundings: Surroundings | None = None,
        raise_if_fatal: Callable[[BaseException], None] = raise_if_exit,
    ) -> None:
        self.raise_if_fatal = raise_if_fatal
        self._propagation = propagation
        self._decode = source.decode
        self._explain = source.codec.explain
        self._unpack = source.packing.unpack if source.packing.needed else None
        self.function = function.name
        self._targets = targets
        # With its name: what the function gives may be equal to it and of another type.
        self._encoders = {
            name: (name, target.encode, target.carries_keys)
            for name, target in targets.items()
            if target.key_of is None  # a queue that reads keys takes the longer way
        }
        self._most_used = next(iter(self._encoders), "")
        self._whole_batch = whole_batch
        self.call: Callable[[Any, Any], Any] = function.call
        self.encode: Callable[[Any, QueueMessage], Encoded] = self._records
        if function.generates:
            self.call = self._gathering_async(function.call) if function.is_async else self._gathering(function.call)
            self.encode = _as_it_is
        if surroundings is not None:
            encode = self._records_of_batch if whole_batch and not function.generates else self.encode
            self.call = surroundings.put_around(self.call, encode, self._add_headers, generates=function.generates)
            self.encode = _as_it_is
        self.finish = self._finishing()
        self._one = self._calling(function.plain if surroundings is None else None)

    def process(self, batch: ThreadBatch) -> Sequence[QueueMessage]:
        """All steps for a function that is not async; meant for a thread of its own.

        Returns:
            The messages that were not started because the function is slow.
        """
        if not batch.claim():
            return ()
        unstarted = self._call_batch(batch) if self._whole_batch else self._call_each(batch)
        self.route(batch)
        batch.complete = not unstarted and batch.handed_off is None
        return unstarted

    def decode(self, batch: Batch) -> None:
        """Bodies → models, for a function that takes the whole batch."""
        decode = self._decode
        if self._unpack is None:
            try:
                batch.models = list(map(decode, map(_body, batch.messages)))
            except BaseException as error:  # noqa: BLE001  (which one it was is found out below)
                self.raise_if_fatal(error)
            else:
                return
        messages, batch.messages, batch.models = batch.messages, [], []
        for message in messages:
            model = self.decode_one(message)
            if model.__class__ is Failure:
                batch.failures.append(model)
            else:
                batch.messages.append(message)
                batch.models.append(model)

    def decode_one(self, message: QueueMessage) -> Any:
        """One body → a model; the failure if that is not possible."""
        if self._unpack is not None:
            try:
                self._unpack(message)
            except DecodeError as error:
                return Failure(message, "decode", error)
        try:
            return self._decode(message.message)
        except BaseException as error:  # noqa: BLE001  (any error of a codec means that the message is not valid)
            return self._invalid(message, error)

    def _invalid(self, message: QueueMessage, error: BaseException) -> Failure:
        self.raise_if_fatal(error)
        return Failure(message, *self._explain(message.message, error))

    def _call_each(self, batch: ThreadBatch) -> Sequence[QueueMessage]:
        """Messages → records, until the batch is cut; returns the messages that were not started."""
        one, add, generation = self._one, batch.outcomes.append, forks.generation
        started = batch.begin()
        for message in batch.messages:
            try:
                # In a context of its own, so that the next message does not see what this call sets there.
                add(copy_context().run(one, message))
            except BaseException as error:  # noqa: BLE001  (it is the user's)
                self.raise_if_fatal(error)
                add(failure(message, error))
            # In the second case the function forked, and this is the child, which must not go on.
            if batch.cut or forks.generation != generation:
                break
        unstarted = batch.close()
        batch.seconds = perf_counter() - started
        return unstarted

    def _call_batch(self, batch: Batch) -> Sequence[QueueMessage]:
        started = perf_counter()
        self.decode(batch)
        if batch.models:
            try:
                self._encode_whole(batch, self.call(batch.models, batch.messages))
            except BaseException as error:  # noqa: BLE001  (it is the user's)
                self.raise_if_fatal(error)
                batch.fail(error)
            batch.seconds = perf_counter() - started
        return ()

    async def call_batch_async(self, batch: Batch) -> None:
        """Call an async function that takes the whole batch. The caller decides what an exception means."""
        call: Callable[[Any, Any], Awaitable[Any]] = self.call
        self._encode_whole(batch, await call(batch.models, batch.messages))

    def _encode_whole(self, batch: Batch, result: Any) -> None:
        batch.models = []  # now: their memory, still in the processor's cache, becomes that of the bodies
        batch.encoded.append(() if result is None or result is True else self.encode(result, BATCH_INPUT))

    def _gathering(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Encoded]:
        def call(model: Any, message: Any) -> Encoded:
            return self._gathered(function(model, message), self._input(message))

        return call

    def _gathered(self, result: Any, message: QueueMessage) -> Encoded:
        """All of a message's outputs are known before one is sent."""
        if not inspect.isgenerator(result):  # a decorator made something else of it
            return () if result is None or result is True else self._records(result, message)
        encoded: list[tuple[str, Record]] = []
        try:
            for item in result:
                encoded += self._records([item], message)
        except BaseException:
            result.close()
            raise
        return encoded

    def _gathering_async(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[Encoded]]:
        async def call(model: Any, message: Any) -> Encoded:
            result = function(model, message)
            if not inspect.isasyncgen(result):  # a decorator stands before it
                result = await result if inspect.isawaitable(result) else result
            if not inspect.isasyncgen(result):
                return self._gathered(result, self._input(message))
            encoded: list[tuple[str, Record]] = []
            try:
                async for item in result:
                    encoded += self._records([item], self._input(message))
            except BaseException:
                await result.aclose()
                raise
            return encoded

        return call

    def _records_of_batch(self, result: Any, _messages: Any) -> Encoded:
        return self._records(result, BATCH_INPUT)

    def _add_headers(self, call: Call) -> None:
        self._pass_on(self._propagation.divide(call.headers), call.outputs)

    def _input(self, message: Any) -> QueueMessage:
        return BATCH_INPUT if self._whole_batch else message

    def _records(self, result: Any, message: QueueMessage) -> Encoded:
        """The records of a result, all of them or none.

        Raises:
            RequeueRequested: the function requeues its input.
            InvalidOutput: an output has a wrong form, is for an unknown queue, or cannot be encoded.
        """
        if result is False:
            raise RequeueRequested
        encoders = self._encoders
        encoded: list[tuple[str, Record]] = []
        queue = None
        try:
            if type(result) is list:
                items: Sequence[Any] = result
            elif type(result) is tuple and len(result) == 2 and type(result[0]) is str:
                items = (result,)
            else:
                items = outputs(result)
            for item in items:
                if type(item) is tuple and len(item) == 2 and (found := encoders.get(item[0])):
                    # The usual output, without a call of our own: one costs as much as the record does.
                    queue, encode, carries_keys = found
                    body = encode(item[1])
                    if type(body) is not bytes:
                        self._check_body(queue, body)
                    encoded.append((queue, Record(body, message.key if carries_keys else None)))
                else:
                    output = as_output(item)
                    queue = output.queue
                    encoded.append(self._record_of(output, message))
        except BaseException as error:  # noqa: BLE001  (the codec's or the user's: a failed call either way)
            self.raise_if_fatal(error)
            raise InvalidOutput from self._named(error, queue)
        return encoded

    def _record_of(self, output: Output, message: QueueMessage) -> tuple[str, Record]:
        target = self._targets.get(output.queue) or self._unknown(output.queue)
        body = target.encode(output.obj)
        self._check_body(target.name, body)
        key = output.key
        if isinstance(key, Inherit):
            key = message.key if target.carries_keys else None
            if target.key_of is not None:
                key = target.key_of(output.obj)
        record = Record(body, key, output.headers, output.delay, output.options)
        target.check(record)
        return target.name, record

    def _unknown(self, queue: Any) -> NoReturn:
        raise unknown_queue(queue, self._targets)

    def _calling(self, plain: Callable[[Any], Any] | None) -> Callable[[QueueMessage], Finished | Failure]:
        """Decode, call and encode for one message.

        Args:
            plain: The function, if a call needs nothing but the model: then few frames are, which cost more than what
                is done in them.
        """
        call, finish, decode_one = self.call, self.finish, self.decode_one

        def one(message: QueueMessage) -> Finished | Failure:
            model = decode_one(message)
            return model if model.__class__ is Failure else finish(call(model, message), message)

        if plain is None or self._unpack is not None:
            return one
        decode = self._decode

        def plain_one(message: QueueMessage) -> Finished | Failure:
            try:
                model = decode(message.message)
            except BaseException as error:  # noqa: BLE001  (as in `decode_one`)
                return self._invalid(message, error)
            return finish(plain(model), message)

        return plain_one

    def _finishing(self) -> Callable[[Any, QueueMessage], Finished]:
        """What a call returned → its records."""
        encode, encoders, most_used = self.encode, self._encoders, self._most_used
        if encode is _as_it_is:
            return encode

        def finish(result: Any, message: QueueMessage) -> Finished:
            if result is None or result is True:
                return ()
            # The usual results are one pair, or a list of one.
            item = result[0] if result.__class__ is list and len(result) == 1 else result
            if item.__class__ is not tuple or len(item) != 2 or item[0].__class__ is not str:
                return encode(result, message)
            queue, obj = item
            if (found := encoders.get(queue)) is None:
                return encode(result, message)
            try:
                queue, encode_body, carries_keys = found
                body = encode_body(obj)
                if body.__class__ is not bytes:
                    self._check_body(queue, body)
                record = Record(body, message.key if carries_keys else None)
                return record if queue is most_used else ((queue, record),)
            except BaseException as error:  # noqa: BLE001  (as in `_records`)
                self.raise_if_fatal(error)
                raise InvalidOutput from self._named(error, queue)

        return finish

    def _check_body(self, queue: str, body: object) -> None:
        if body is not None and not isinstance(body, bytes):
            raise FunctionError(
                f"the serializer or model handler of queue {queue!r} made {type(body).__name__} of an output, and must "
                "make bytes"
            )

    def _named(self, error: BaseException, queue: object) -> Exception:
        place = f"an output for queue {queue!r}: " if isinstance(queue, str) else ""
        text = error if isinstance(error, FunctionError) else f"{place}{type(error).__name__}: {error_text(error)}"
        named = FunctionError(f"{self.function}: {text}")
        named.__cause__ = error
        return named

    def route(self, batch: Batch) -> None:
        """Records → one column a queue."""
        batch.models, outcomes, batch.encoded = [], batch.encoded, []
        columns = batch.outputs
        to_all = self._propagation.to_all
        inputs: Sequence[QueueMessage | None] = batch.messages
        if self._whole_batch:
            inputs = (None,) * len(outcomes)
        elif {Record}.issuperset(map(type, outcomes)) and not (to_all or any(map(_headers, batch.messages))):
            if outcomes:
                columns[self._most_used] = OutputColumn(outcomes, batch.messages)
            return
        latest, column = "", OutputColumn()  # most often all go to the same queue: that is looked up once
        for message, outcome in zip(inputs, outcomes, strict=True):
            encoded = ((self._most_used, outcome),) if isinstance(outcome, Record) else outcome
            if not encoded:
                continue
            if message is None:
                self._pass_on(self._propagation.of_batch(batch.messages), encoded)
            elif message.headers or to_all:
                self._pass_on(self._propagation.of_message(message), encoded)
            for queue, record in encoded:
                if queue is not latest:
                    latest, column = queue, columns.setdefault(queue, OutputColumn())
                column.records.append(record)
                column.inputs.append(message)

    def _pass_on(self, headers: PassedOn | None, encoded: Encoded) -> None:
        if headers is not None:
            for queue, record in encoded:
                self._targets[queue].pass_on(record, headers.asked_for, headers.always)


def _as_it_is(encoded: Encoded, _message: QueueMessage) -> Encoded:
    return encoded
