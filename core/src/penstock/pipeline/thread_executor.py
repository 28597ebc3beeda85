"""Calls of a function that is not async: one hop to a thread serves a whole batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from penstock.message import QueueMessage
from penstock.pipeline.batch import ThreadBatch
from penstock.pipeline.executor import Executor, OnBatchDone
from penstock.pipeline.state import EngineState
from penstock.pipeline.steps import SLICE, Steps
from penstock.queues.threads import DaemonThreadPool

HAND_OFF_AFTER = 2 * SLICE  # seconds; what a thread that is still at the same batch has finished is handed off then


class ThreadExecutor(Executor):
    """Calls the function on `concurrency` threads, a batch at a time."""

    on_threads = True

    def __init__(
        self, steps: Steps, state: EngineState, concurrency: int, batch_size: int, on_batch_done: OnBatchDone
    ) -> None:
        super().__init__(steps, state, concurrency, batch_size, on_batch_done)
        self._threads = DaemonThreadPool("penstock-function", concurrency)
        self._batches: set[ThreadBatch] = set()
        # How many messages a thread takes now: few of a slow function, so that the rest waits where others can take it.
        self._share = batch_size
        self._hand_off_timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        super().close()
        self._threads.close()
        self._batches.clear()
        if self._hand_off_timer is not None:
            self._hand_off_timer.cancel()

    def _start(self) -> None:
        while self._waiting and self._active < self._concurrency:
            # Several threads share what there is; a single one takes it all.
            share = -(-len(self._waiting) // (self._concurrency - self._active))
            batch = ThreadBatch(self._take(min(share, self._share)))
            self._batches.add(batch)
            self._enter()
            self._threads.submit(self._steps.process, batch).add_done_callback(partial(self._ended, batch))
        if self._batches and self._hand_off_timer is None:
            self._hand_off_timer = asyncio.get_running_loop().call_later(HAND_OFF_AFTER, self._hand_off)

    def _hand_off(self) -> None:
        """Deliver what is finished and requeue what has not started, so that one slow call blocks neither."""
        self._hand_off_timer = None
        overdue = perf_counter() - HAND_OFF_AFTER
        for batch in tuple(self._batches):
            if not 0.0 < batch.began < overdue or (handed_off := batch.hand_off()) is None:
                continue
            finished, unstarted = handed_off
            self._put_back(unstarted)
            if finished.messages or finished.failures:
                finished.seconds = SLICE  # about: the thread counts the rest
                self._steps.route(finished)
                self._return(finished)
        self._start()

    def _put_back(self, unstarted: Sequence[QueueMessage]) -> None:
        self.taken -= len(unstarted)
        if self._stopped:
            self.unstarted += unstarted
        else:
            # In order, so that what was cut off comes before what came later.
            self._waiting.extendleft(reversed(unstarted))

    def _ended(self, batch: ThreadBatch, call: asyncio.Future[Sequence[QueueMessage]]) -> None:
        self._batches.discard(batch)
        # After `close` it is too late to deliver: the messages are redelivered.
        if call.cancelled() or self._closed:
            self._leave()
            return
        if (error := call.exception()) is not None:
            self._leave()
            self._state.fail(error)
            return
        unstarted = call.result()
        if unstarted or batch.handed_off is not None:
            self._put_back(unstarted)
            self._share = max(1, min(self._batch_size, len(batch.outcomes) * 2))
        elif self._share < self._batch_size:
            self._share = min(self._batch_size, self._share * 2)
        # The next batch starts first, to keep the thread busy while this one is delivered.
        self._active -= 1
        self._start()
        self._return(batch)
        if not self._active:
            self._idle.set()
