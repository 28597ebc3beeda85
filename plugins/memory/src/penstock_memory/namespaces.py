"""Where the queues of a process live: one per namespace and name, for as long as the process does."""

from __future__ import annotations

import threading

from penstock_memory.log import Queue


class Namespaces:
    """Queues by namespace and name, made on first use.

    A queue is not tied to whoever has it open: a feeder may write, close and go before the first consumer comes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, dict[str, Queue]] = {}

    def queue(self, namespace: str, name: str) -> Queue:
        """The queue, the same one for every caller."""
        with self._lock:
            queues = self._queues.setdefault(namespace, {})
            if name not in queues:
                queues[name] = Queue(name)
            return queues[name]

    def forget(self, namespace: str) -> None:
        """Drop the queues of one namespace; whoever holds one keeps it."""
        with self._lock:
            self._queues.pop(namespace, None)

    def depth(self) -> int:
        """Unsettled messages in all queues."""
        with self._lock:
            return sum(queue.depth() for queues in self._queues.values() for queue in queues.values())


_process = Namespaces()
queue = _process.queue
forget = _process.forget
