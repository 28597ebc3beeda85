"""Jobs out of a tube, and their settlement."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, NamedTuple

import greenstalk
from penstock.backoff import Backoff
from penstock.connectors import BlockingConsumer
from penstock.leases import Leases
from penstock.message import QueueMessage
from penstock.polling import BlockingPoller

from penstock_beanstalkd.client import connection
from penstock_beanstalkd.options import BeanstalkdOptions

log = logging.getLogger("penstock.beanstalkd")


class Reservation(NamedTuple):
    """A message's `message_context`: what is needed to settle this delivery."""

    job: greenstalk.Job[bytes]
    priority: int
    lease: int


class BeanstalkdConsumer(BlockingConsumer):
    """A reservation ends with its connection, and by this worker's clock: an old owner could still delete a job."""

    options: BeanstalkdOptions

    def __init__(self, name: str, options: BeanstalkdOptions) -> None:
        super().__init__(name, options)
        self.lease = options.lease
        self._connection = connection(name, options)
        self._leases = Leases[QueueMessage](name, "raise `lease` of what produces", log)
        self._poller = BlockingPoller(Backoff(initial=0.005, maximum=options.poll_interval))

    def connect(self) -> None:
        """See `Consumer.connect`."""
        if self._connection.open(answers=greenstalk.Client.using):
            self._leases.connection_lost()

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        return self._poller.poll(lambda: self._reserve(max_messages), timeout)

    def _reserve(self, max_messages: int) -> list[QueueMessage]:
        messages: list[QueueMessage] = []
        with self._connection.client() as client:
            while len(messages) < max_messages:
                asked = monotonic()
                try:
                    job = client.reserve(timeout=0)
                except (greenstalk.TimedOutError, greenstalk.DeadlineSoonError):
                    break
                stats = client.stats_job(job)
                handle = Reservation(job, stats["pri"], stats["ttr"])
                message = QueueMessage(
                    handle, job.body, timestamp=time() - stats["age"], attempts=stats["reserves"], position=str(job.id)
                )
                messages.append(message)
                self._leases.deliver([message], until=asked + handle.lease)
                self.lease = min(self.lease or handle.lease, handle.lease)  # the engine extends by the shortest
        return messages

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """See `Consumer.on_success`."""
        return self._settle(messages, lambda client, handle: client.delete(handle.job))

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """See `Consumer.on_fail`."""
        seconds = math.ceil(delay or 0)  # whole seconds, and never too early
        return self._settle(messages, lambda client, handle: client.release(handle.job, handle.priority, seconds))

    def _settle(
        self, messages: Sequence[QueueMessage], command: Callable[[greenstalk.Client[bytes], Reservation], None]
    ) -> int:
        with self._connection.client() as client:
            return self._leases.settle_each(messages, lambda message: _found(command, client, message.message_context))

    def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        with self._connection.client() as client:
            self._leases.extend_each(messages, lambda message: _touch(client, message.message_context))

    def lag(self) -> int:
        """See `Consumer.lag`."""
        with self._connection.client() as client:
            stats = client.stats_tube(self.name)  # it exists as long as somebody watches it
        return stats["current-jobs-ready"] + stats["current-jobs-delayed"]

    def shutdown(self) -> None:
        """See `Consumer.shutdown`."""
        self._connection.close()


def _touch(client: greenstalk.Client[bytes], handle: Reservation) -> float | None:
    return handle.lease if _found(client.touch, handle.job) else None


def _found(command: Callable[..., None], *arguments: Any) -> bool:
    """Whether the job was still reserved on this connection."""
    try:
        command(*arguments)
    except greenstalk.NotFoundError:
        return False
    return True
