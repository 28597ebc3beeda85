"""Where calls of the function happen: on threads, or in tasks of the event loop.

Both kinds take what they are offered, in order, and hand finished batches back as soon as there are any; a slow call
holds up no finished one.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch, ThreadBatch
from penstock.pipeline.call_context import begin
from penstock.pipeline.steps import SLICE, Steps, fail_all, failure
from penstock.queues import forks
from penstock.queues.cancellation import EXIT_EXCEPTIONS, running_task
from penstock.queues.threads import Threads

OVERDUE = 2 * SLICE  # seconds after which a lane that is still at the same batch is relieved


class Lanes(ABC):
    """Calls the function for messages, `concurrency` calls at a time.

    Args:
        steps: The engine's steps.
        concurrency: How many calls of the function may run at once.
        batch_size: Messages that one lane takes at most.
        on_batch: Gets each finished batch, encoded, on the event loop's thread.
        on_crash: Gets an error that is neither the function's nor the codec's.
    """

    def __init__(
        self,
        steps: Steps,
        concurrency: int,
        batch_size: int,
        on_batch: Callable[[Batch], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._steps = steps
        self._concurrency = concurrency
        self._batch_size = batch_size
        self._on_batch = on_batch
        self._on_crash = on_crash
        self._waiting: deque[QueueMessage] = deque()
        self._active = 0
        self._finishing = False
        self._closed = False
        self._generation = forks.generation
        self._idle = asyncio.Event()
        self._idle.set()
        self.taken = 0
        self.dropped: list[QueueMessage] = []  # offered, and not begun when the lanes were stopped

    @property
    def waiting(self) -> int:
        """Messages offered and not begun."""
        return len(self._waiting)

    def offer(self, messages: Sequence[QueueMessage]) -> None:
        """Queue messages for the function."""
        if self._finishing:
            self.dropped += messages
            return
        self._waiting.extend(messages)
        self._start()

    def stop(self) -> None:
        """Begin nothing more. What was not begun stays unsettled."""
        self._finishing = True
        self.dropped += self._waiting
        self._waiting.clear()

    async def finish(self) -> None:
        """Begin nothing more, and wait until no call runs."""
        self.stop()
        await self._idle.wait()

    async def rest(self) -> None:
        """Wait until no call runs; then none waits to run either."""
        while self._active:
            await self._idle.wait()

    def close(self) -> None:
        """Let go of threads and tasks, running or not. What they still come to is delivered no more."""
        self._closed = True

    @abstractmethod
    def _start(self) -> None:
        """Start lanes for what waits."""

    def _enter(self) -> None:
        self._active += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._active -= 1
        if not self._active:
            self._idle.set()

    def _take(self, count: int) -> list[QueueMessage]:
        waiting = self._waiting
        if count >= len(waiting):
            taken = list(waiting)
            waiting.clear()
        else:
            taken = [waiting.popleft() for _ in range(count)]
        self.taken += len(taken)
        return taken


class ThreadLanes(Lanes):
    """For a function that is not async: one hop to a thread serves a whole batch."""

    def __init__(
        self,
        steps: Steps,
        concurrency: int,
        batch_size: int,
        on_batch: Callable[[Batch], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        super().__init__(steps, concurrency, batch_size, on_batch, on_crash)
        self._threads = Threads("penstock-function", concurrency)
        self._at_work: set[ThreadBatch] = set()
        self._most = batch_size  # what a lane takes now: little of a slow function's messages, so that they wait here
        self._look: asyncio.TimerHandle | None = None

    def close(self) -> None:
        super().close()
        self._threads.close()
        self._at_work.clear()
        if self._look is not None:
            self._look.cancel()

    def _start(self) -> None:
        while self._waiting and self._active < self._concurrency:
            # Several lanes share what there is; a single one takes it all.
            share = -(-len(self._waiting) // (self._concurrency - self._active))
            batch = ThreadBatch(self._take(min(share, self._most)))
            self._at_work.add(batch)
            self._enter()
            self._threads.submit(self._steps.process, batch).add_done_callback(partial(self._done, batch))
        if self._at_work and self._look is None:
            self._look = asyncio.get_running_loop().call_later(OVERDUE, self._relieve)

    def _relieve(self) -> None:
        """A slow call holds up neither what its lane has finished nor what it has not begun."""
        self._look = None
        overdue = perf_counter() - OVERDUE
        for batch in tuple(self._at_work):
            if not 0.0 < batch.began < overdue or (taken := batch.relieve()) is None:
                continue
            part, rest = taken
            self._put_back(rest)
            if part.messages or part.failures:
                part.seconds = SLICE  # about: the thread counts the rest
                self._steps.route(part)
                self._on_batch(part)
        self._start()

    def _put_back(self, rest: Sequence[QueueMessage]) -> None:
        self.taken -= len(rest)
        if self._finishing:
            self.dropped += rest
        else:
            # In order, so that what was cut off comes before what came later.
            self._waiting.extendleft(reversed(rest))

    def _done(self, batch: ThreadBatch, call: asyncio.Future[Sequence[QueueMessage]]) -> None:
        self._at_work.discard(batch)
        if call.cancelled():
            self._leave()
            return
        error = call.exception()
        if self._closed:  # too late: its messages are redelivered
            self._leave()
            return
        if error is not None:
            self._leave()
            self._on_crash(error)
            return
        rest = call.result()
        if rest or batch.relieved:
            self._put_back(rest)
            self._most = max(1, min(self._batch_size, batch.done * 2))
        elif self._most < self._batch_size:
            self._most = min(self._batch_size, self._most * 2)
        # The next lane starts first, to keep the thread busy while this one delivers what is finished.
        self._active -= 1
        self._start()
        self._on_batch(batch)
        if not self._active:
            self._idle.set()


class TaskLanes(Lanes):
    """For an async function: a task a lane, not a task a message.

    A coroutine that does not suspend costs no task: its lane goes on to the next message at once. What is finished is
    handed on whenever the event loop has run everything that was ready, so batches grow with the load.
    """

    def __init__(
        self,
        steps: Steps,
        concurrency: int,
        batch_size: int,
        on_batch: Callable[[Batch], None],
        on_crash: Callable[[BaseException], None],
        *,
        whole_batch: bool,
    ) -> None:
        super().__init__(steps, concurrency, batch_size, on_batch, on_crash)
        self._lane = self._whole_lane if whole_batch else self._message_lane
        self._done = Batch()
        self._flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        # Waits for nothing. Whoever cancels it, ends everything: no function has a way to it, as to its own task.
        self._canary: asyncio.Task[object] | None = None

    def close(self) -> None:
        super().close()
        for task in (*self._tasks, *filter(None, (self._canary,))):
            task.cancel()

    def _start(self) -> None:
        if self._canary is None:
            self._canary = asyncio.create_task(asyncio.Event().wait())
        for _ in range(min(self._concurrency - self._active, len(self._waiting))):
            self._enter()
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._leave()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(error)
        elif self._waiting and not self._closed:
            self._start()

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine of `_start`)
        try:
            await self._lane(task)
        except EXIT_EXCEPTIONS as error:  # raised out of a task it would break the event loop off in everybody's work
            self._on_crash(error)

    async def _message_lane(self, task: asyncio.Task[None]) -> None:
        waiting = self._waiting
        end = perf_counter() + SLICE
        while waiting:
            self.taken += 1
            rest = begin(self._handle(waiting.popleft(), task))
            if rest is not None:
                await rest
            self._end_child()
            self._flush_soon()  # not inside the call's context, in which all that follows would run then
            if rest is not None:
                return  # a cancellation that this call asked for, and that comes late, meets a task that has ended
            if perf_counter() > end:
                await self._let_others_run(task)  # a function that never suspends must not starve the event loop
                end = perf_counter() + SLICE

    async def _handle(self, message: QueueMessage, task: asyncio.Task[None]) -> None:
        """Decode, call, encode."""
        call, encode = self._steps.call, self._steps.encode
        one = Batch((message,))
        self._steps.decode(one)
        if one.failures:
            self._done.failures += one.failures
            await self._forget_cancellation(task)
        for model in one.models:
            started = perf_counter()
            # The batch that is open now may be handed on before this call returns: look it up again afterwards.
            try:
                result = await call(model, message)
                made = () if result is None or result is True else encode(result, message)
                if task.cancelling():
                    await self._meet_cancellation(task)
            except BaseException as error:  # noqa: BLE001  (it is the user's)
                await self._judge(error, task)
                self._done.failures.append(failure(message, error))
            else:
                self._done.messages.append(message)
                self._done.made.append(made)
            self._done.seconds += perf_counter() - started

    async def _whole_lane(self, task: asyncio.Task[None]) -> None:
        while self._waiting:
            batch = Batch(self._take(self._batch_size))
            if (rest := begin(self._handle_whole(batch, task))) is not None:
                await rest
            self._end_child()
            if self._closed:
                return  # the queues are being closed: its messages are redelivered
            self._steps.route(batch)
            self._on_batch(batch)
            await self._let_others_run(task)

    async def _handle_whole(self, batch: Batch, task: asyncio.Task[None]) -> None:
        self._steps.decode(batch)
        await self._forget_cancellation(task)
        if not batch.models:
            return
        started = perf_counter()
        try:
            await self._steps.call_batch_async(batch)
            if task.cancelling():
                await self._meet_cancellation(task)
        except BaseException as error:  # noqa: BLE001  (it is the user's)
            await self._judge(error, task)
            fail_all(batch, error)
        batch.seconds = perf_counter() - started

    async def _judge(self, error: BaseException, task: asyncio.Task[None]) -> None:
        """Raise again what is not a failure of the call: it concerns the process, or this lane is to end."""
        self._end_child(error)
        self._steps.raise_if_fatal(error)
        if isinstance(error, GeneratorExit) and running_task() is not task:
            raise error  # nobody drives this coroutine any more
        if isinstance(error, asyncio.CancelledError) and self._is_ending:
            raise error
        await self._forget_cancellation(task)

    @property
    def _is_ending(self) -> bool:
        """Whether a cancellation is ours: that of `close`, or of a whole event loop that ends."""
        return self._closed or (self._canary is not None and self._canary.cancelling() > 0)

    async def _meet_cancellation(self, task: asyncio.Task[None]) -> None:
        """Let a cancellation of this task that the function asked for, or was asked for it, strike now.

        Else it would strike in another message's call. As in a task of its own, the call that it was meant for fails
        if it has not been met yet.
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
        """One turn of the event loop, past any cancellation but that of the lane."""
        try:
            await self._meet_cancellation(task)
        except asyncio.CancelledError:
            if self._is_ending:
                raise

    def _end_child(self, error: BaseException | None = None) -> None:
        """End a process that the function forked: it shares the event loop and all connections with its parent."""
        if forks.generation != self._generation:
            forks.end(error)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._closed:
            return
        batch, self._done = self._done, Batch()
        self._steps.route(batch)
        self._on_batch(batch)
