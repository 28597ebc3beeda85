"""The input side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from penstock.connectors import BlockingConsumer
from penstock.errors import ConnectorError
from penstock.message import QueueMessage
from penstock_folder.errors import told
from penstock_folder.folder import Folder, Holder
from penstock_folder.options import FolderOptions

RESCUE_EVERY = 1.0  # seconds between two looks for processes that have died


class FolderConsumer(BlockingConsumer):
    """Reads a queue. Files block, so this is the blocking form: the core gives it its threads.

    `message_context` is the file's name: all that is needed to settle this delivery.
    """

    options: FolderOptions

    def __init__(self, name: str, options: FolderOptions) -> None:
        super().__init__(name, options)
        self._path = Path(options.path) / name
        self._folder = Folder(self._path)
        self._holder: Holder | None = None
        self._rescued = float("-inf")

    def connect(self) -> None:
        """Also called after each `NotConnected`; what was delivered before is still ours to settle."""
        with told(f"folder {self._path}"):
            self._folder.make()
            if self._holder is None:
                self._holder = Holder(self._folder)

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Returns as soon as there is anything; an empty list after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        holder = self._open()
        with told(f"folder {self._path}"):
            while True:
                if time.monotonic() - self._rescued >= RESCUE_EVERY:
                    holder.rescue()
                    self._rescued = time.monotonic()
                taken = holder.take(max_messages)
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    return [_message(*each) for each in taken]
                time.sleep(min(self.options.poll_interval, left))

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Settling twice, or too late, changes nothing; how many were too late is counted for the metrics."""
        with told(f"folder {self._path}"):
            return self._open().remove([message.message_context for message in messages])

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        """`delay` is never given: the capability is not declared, so the engine waits itself."""
        with told(f"folder {self._path}"):
            self._open().requeue([message.message_context for message in messages])

    def lag(self) -> int:
        """What waits; what is in flight does not count."""
        with told(f"folder {self._path}"):
            return len(self._folder.waiting())

    def shutdown(self) -> None:
        """What is unsettled is visible to others at once. Also called after a `connect` that failed."""
        holder, self._holder = self._holder, None
        if holder is not None:
            with told(f"folder {self._path}"):
                holder.close()

    def _open(self) -> Holder:
        if self._holder is None:
            raise ConnectorError("not connected; call connect() first, and nothing after shutdown()")
        return self._holder


def _message(name: str, body: bytes, deliveries: int) -> QueueMessage:
    seconds = int(name.partition("-")[0]) / 1e9
    return QueueMessage(name, body, timestamp=seconds, attempts=deliveries, position=name.rpartition(".")[0])
