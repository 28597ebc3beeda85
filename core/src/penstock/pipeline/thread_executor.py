"""Calls of a function that is not async: one hop to a thread serves a whole batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from penstock.message import QueueMessage
from penstock.pipeline.batch import ThreadBatch
from penstock.pipeline.executor import Executor, OnBatchDone
from penstock.pipeline.latest import Latest
from penstock.pipeline.state import EngineState
from penstock.pipeline.steps import SLICE, Steps
from penstock.queues.threads import DaemonThreadPool

HAND_OFF_AFTER = 2 * SLICE  # seconds; what a thread that is still at the same batch has finished is handed off then


class ThreadExecutor(Executor):
    """Calls the function on `concurrency` threads, a batch at a time.

    Where a single thread keeps up with a backlog, the next batch waits at the thread already, so that it does not stand
    still until the event loop has its turn. That batch is recalled when a call turns out to be slow.
    """

    on_threads = True

    def __init__(
        self,
        steps: Steps,
        state: EngineState,
        concurrency: int,
        batch_size: int,
        on_batch_done: OnBatchDone,
        batch_wait: float = 0.0,
        latest: Latest | None = None,
    ) -> None:
        super().__init__(steps, state, concurrency, batch_size, on_batch_done, batch_wait, latest)
        self._threads = DaemonThreadPool("penstock-function", concurrency)
        self._batches: list[ThreadBatch] = []  # the oldest first
        # How many messages a thread takes now: few of a slow function, so that the rest waits where others can take it.
        self._share = batch_size
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """See `Executor.stop`."""
        self._recall()
        super().stop()

    def close(self) -> None:
        super().close()
        self._threads.close()
        self._batches.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        while self._active < self._concurrency and self._ready():
            # Several threads share what there is; a single one takes it all, and so does one whose list was to be full.
            free = 1 if self._fill is not None else self._concurrency - self._active
            share = -(-len(self._waiting) // free)
            self._submit(min(share, self._share))
        # Only a whole batch, so that batches still grow with the load.
        keeps_up = self._concurrency == self._active == 1 and self._share == self._batch_size
        if keeps_up and len(self._waiting) >= self._batch_size and self._batches[-1].runs_next:
            self._submit(self._batch_size, self._batches[-1])
        if self._batches and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SLICE, self._look_at_slow)

    def _submit(self, count: int, after: ThreadBatch | None = None) -> None:
        batch = ThreadBatch(self._take(count), after)
        self._batches.append(batch)
        self._enter()
        self._threads.submit(self._steps.process, batch).add_done_callback(partial(self._ended, batch))

    def _look_at_slow(self) -> None:
        """Cut the batches of a slow function, so that one slow call blocks neither what is finished nor what waits."""
        self._timer = None
        now = perf_counter()
        for batch in tuple(self._batches):
            if batch.began and now - batch.began > SLICE:
                self._recall()
                batch.cut = True
                # The one before it may have ended on the thread, and not be delivered yet: order comes first.
                in_order = self._concurrency > 1 or batch is self._batches[0]
                if in_order and now - batch.began > HAND_OFF_AFTER:
                    self._hand_off(batch)
        self._start()

    def _hand_off(self, batch: ThreadBatch) -> None:
        """Deliver what is finished and requeue what has not started."""
        if (handed_off := batch.hand_off()) is None:
            return
        finished, unstarted = handed_off
        self._put_back(unstarted)
        if finished.messages or finished.failures:
            finished.seconds = SLICE  # about: the thread counts the rest
            self._steps.route(finished)
            self._return(finished)

    def _recall(self) -> None:
        for batch in reversed(self._batches):
            self._put_back(batch.recall())

    def _put_back(self, unstarted: Sequence[QueueMessage]) -> None:
        self.taken -= len(unstarted)
        if self._stopped:
            self.unstarted += unstarted
        else:
            # In order, so that what was cut off comes before what came later.
            self._waiting.extendleft(reversed(unstarted))

    def _ended(self, batch: ThreadBatch, call: asyncio.Future[Sequence[QueueMessage]]) -> None:
        if batch in self._batches:
            self._batches.remove(batch)
        # After `close` it is too late to deliver: the messages are redelivered.
        if call.cancelled() or self._closed:
            self._leave()
            return
        if (error := call.exception()) is not None:
            self._leave()
            self._state.fail(error)
            return
        self._active -= 1
        if not batch.claimed:
            self._put_back(batch.recall())
        elif batch.complete:
            self._share = min(self._batch_size, self._share * 2)
        else:
            self._recall()
            self._put_back(call.result())
            self._share = max(1, min(self._batch_size, len(batch.outcomes) * 2))
        # The next batch starts first, to keep the thread busy while this one is delivered.
        self._start()
        if batch.claimed:
            self._return(batch)
        if not self._active:
            self._idle.set()
