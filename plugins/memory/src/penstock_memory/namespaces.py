"""Where the queues of a process live: one per namespace and name, for as long as the process does."""

from __future__ import annotations

import threading

from penstock_memory.queue import Queue


class Namespaces:
    """Queues by namespace and name, made on first use.

    A queue outlives its connectors: a feeder may write and close before the first consumer comes.
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
        """Drop the queues of one namespace. Connectors that are open keep theirs."""
        with self._lock:
            self._queues.pop(namespace, None)


_process = Namespaces()
queue = _process.queue
forget = _process.forget
