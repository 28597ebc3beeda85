"""Calls of an async function, in tasks of the event loop."""

from __future__ import annotations

import asyncio
from time import perf_counter

from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.call_context import begin
from penstock.pipeline.executor import Executor, OnBatchDone
from penstock.pipeline.latest import Latest
from penstock.pipeline.settlement import Failure, failure
from penstock.pipeline.state import EngineState
from penstock.pipeline.steps import SLICE, Steps
from penstock.queues import forks
from penstock.queues.cancellation import EXIT_EXCEPTIONS, running_task


class TaskExecutor(Executor):
    """Calls an async function in `concurrency` tasks: a task serves many messages.

    A coroutine that does not suspend costs no task: its task goes on to the next message at once. What is finished is
    delivered whenever the event loop has run everything that was ready, so batches grow with the load.

    Args:
        whole_batch: The function takes a list of messages.
    """

    def __init__(
        self,
        steps: Steps,
        state: EngineState,
        concurrency: int,
        batch_size: int,
        on_batch_done: OnBatchDone,
        batch_wait: float = 0.0,
        latest: Latest | None = None,
        *,
        whole_batch: bool,
    ) -> None:
        super().__init__(steps, state, concurrency, batch_size, on_batch_done, batch_wait, latest)
        self._decode, self._call, self._finish = steps.decode_one, steps.call, steps.finish
        self._work = self._work_on_batches if whole_batch else self._work_on_messages
        self._done = Batch()
        self._flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        # Waits for ever. A function can cancel its own task but not this one, so its cancellation is the event loop's.
        self._canary: asyncio.Task[object] | None = None

    def close(self) -> None:
        super().close()
        for task in (*self._tasks, *filter(None, (self._canary,))):
            task.cancel()

    def _start(self) -> None:
        if self._canary is None:
            self._canary = asyncio.create_task(asyncio.Event().wait())
        if not self._ready():
            return
        for _ in range(min(self._concurrency - self._active, len(self._waiting))):
            self._enter()
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._leave()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._state.fail(error)
        elif self._waiting and not self._closed:
            self._start()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine of `_start`)
        try:
            await self._work(task)
        except EXIT_EXCEPTIONS as error:  # raised out of a task, it would end the event loop in the middle of its work
            self._state.fail(error)

    async def _work_on_messages(self, task: asyncio.Task[None]) -> None:
        waiting, generation, loop = self._waiting, self._generation, asyncio.get_running_loop()
        began = perf_counter()
        end = began + SLICE
        while waiting:
            self.taken += 1
            rest = begin(self._handle(waiting.popleft(), task))
            if rest is not None:
                await rest
            now = perf_counter()
            self._done.seconds += now - began
            began = now
            if forks.generation != generation:
                forks.end()
            if not self._flushing:  # outside of the call's context, or all that follows would run in it
                self._flushing = True
                loop.call_soon(self._flush)
            if rest is not None:
                return  # a late cancellation that this call asked for meets a task that has ended
            if now > end:
                await self._let_others_run(task)  # a function that never suspends must not starve the event loop
                began = perf_counter()
                end = began + SLICE

    async def _handle(self, message: QueueMessage, task: asyncio.Task[None]) -> None:
        """Decode, call, encode."""
        model = self._decode(message)
        if model.__class__ is Failure:
            self._done.failures.append(model)
            await self._forget_cancellation(task)
            return
        # `self._done` is read after the call: the batch that is open now may be delivered before the call returns.
        try:
            result = await self._call(model, message)
            outcome = self._finish(result, message)
            if task.cancelling():
                await self._meet_cancellation(task)
        except BaseException as error:  # noqa: BLE001  (it is the user's)
            await self._raise_unless_failure(error, task)
            self._done.failures.append(failure(message, error))
        else:
            done = self._done
            done.messages.append(message)
            done.encoded.append(outcome)

    async def _work_on_batches(self, task: asyncio.Task[None]) -> None:
        while self._ready():
            batch = Batch(self._take(self._batch_size))
            if (rest := begin(self._handle_batch(batch, task))) is not None:
                await rest
            self._end_child()
            if self._closed:
                return  # the queues are being closed: its messages are redelivered
            self._steps.route(batch)
            self._return(batch)
            await self._let_others_run(task)

    async def _handle_batch(self, batch: Batch, task: asyncio.Task[None]) -> None:
        started = perf_counter()
        self._steps.decode(batch)
        await self._forget_cancellation(task)
        if not batch.models:
            return
        try:
            await self._steps.call_batch_async(batch)
            if task.cancelling():
                await self._meet_cancellation(task)
        except BaseException as error:  # noqa: BLE001  (it is the user's)
            await self._raise_unless_failure(error, task)
            batch.fail(error)
        batch.seconds = perf_counter() - started

    async def _raise_unless_failure(self, error: BaseException, task: asyncio.Task[None]) -> None:
        """Raise again what is not a failure of the call: it concerns the process, or this task is to end."""
        self._end_child(error)
        self._steps.raise_if_fatal(error)
        if isinstance(error, GeneratorExit) and running_task() is not task:
            raise error  # the event loop is gone, and this coroutine with it
        if isinstance(error, asyncio.CancelledError) and self._is_ending:
            raise error
        await self._forget_cancellation(task)

    @property
    def _is_ending(self) -> bool:
        """Whether a cancellation comes from `close`, or from an event loop that ends."""
        return self._closed or (self._canary is not None and self._canary.cancelling() > 0)

    async def _meet_cancellation(self, task: asyncio.Task[None]) -> None:
        """Raise a pending cancellation of this task now, while the call that it was meant for is the current one.

        Later it would be raised in another message's call. As in a task of its own, the call fails if it has not ended.
        """
        try:
            await asyncio.sleep(0)
        finally:
            if not self._is_ending:
                while task.cancelling():
                    task.uncancel()

    async def _forget_cancellation(self, task: asyncio.Task[None]) -> None:
        if task.cancelling():
            await self._let_others_run(task)

    async def _let_others_run(self, task: asyncio.Task[None]) -> None:
        """Give the event loop one turn, and drop every cancellation but that of this executor."""
        try:
            await self._meet_cancellation(task)
        except asyncio.CancelledError:
            if self._is_ending:
                raise

    def _end_child(self, error: BaseException | None = None) -> None:
        """End a process that the function forked: it shares the event loop and all connections with its parent."""
        if forks.generation != self._generation:
            forks.end(error)

    def _flush(self) -> None:
        self._flushing = False
        if self._closed:
            return
        batch, self._done = self._done, Batch()
        self._steps.route(batch)
        self._return(batch)
