"""A file of exported letters, one envelope a line, sent to the queues that they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from penstock.envelope import unwrap
from penstock.errors import ConfigError, ConnectorError, DecodeError
from penstock.message import QueueMessage
from penstock.operations.letters import Filter, letter
from penstock.operations.origins import Origins
from penstock.operations.replay import Plan, Sender
from penstock.operations.work import Work


def plan_file(file: LettersFile, wanted: Filter, origins: Origins, *, force: bool = False) -> Plan:
    """Where each letter of a file goes that a filter means."""
    plan = Plan(origins, force=force)
    for message in file.letters():
        if wanted.matches(found := letter(message)):
            plan.add(found)
    return plan


async def replay_file(file: LettersFile, plan: Plan, work: Work) -> None:
    """Send the letters of a plan, and remember after each batch how far that is.

    Raises:
        ConnectorError: a queue refused a letter; the file is not sent beyond it.
    """
    async with Sender(plan.targets, work.progress) as sender:

        async def send(messages: Sequence[QueueMessage]) -> None:
            sent = set(map(id, await sender.send(messages)))
            work.progress.done += len(sent)
            refused = [message for message in messages if id(message) not in sent]
            if refused:
                reason = next(reversed(work.progress.left))
                raise ConnectorError(
                    f"{file.path}, line {refused[0].position}: {reason}; nothing behind line {messages[-1].position} "
                    "was sent. Take the line out of the file, and start again"
                )
            file.sent_up_to(messages[-1].position)

        await work.read(file.batches(plan.targets, work.speed.batch), send)


class LettersFile:
    """A file of exported letters, and beside it how far its letters were sent.

    Args:
        path: The file. How far it was sent stands in a file of the same name with `.replayed` behind it.
        selection: Which of its letters are meant, as text: a file that was sent in part is gone on with only for the
            same ones.

    Raises:
        ConfigError: it cannot be read.
    """

    def __init__(self, path: str, selection: str) -> None:
        self.path = path
        self._selection = selection
        self._marker = Path(path + ".replayed")
        self._ends: dict[str, int] = {}  # position → where its line ends
        try:
            self.size = os.stat(path).st_size
            self.start = self._read_marker() if self._marker.exists() else 0
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give a file that `export` wrote") from error

    def letters(self) -> Iterator[QueueMessage]:
        """The letters that were not sent yet, in the order of the file; a position is a line's number.

        Raises:
            ConfigError: a line is not an exported letter.
        """
        with open(self.path, "rb") as file:
            before = 0
            for number, text in enumerate(file, 1):
                end = before + len(text)
                if before >= self.start and text.strip():
                    self._ends[str(number)] = end
                    yield self._message(number, text.rstrip(b"\r\n"))
                before = end

    def batches(self, wanted: Collection[str], size: Callable[[], int]) -> Iterator[Sequence[QueueMessage]]:
        """The letters at some positions, batch by batch."""
        batch: list[QueueMessage] = []
        for message in self.letters():
            if message.position in wanted:
                batch.append(message)
            if len(batch) >= size():
                yield batch
                batch = []
        if batch:
            yield batch

    def sent_up_to(self, position: str) -> None:
        """Remember that everything up to this letter was sent. It is on the disk when this returns."""
        content = {"sent_bytes": self._ends[position], "selection": self._selection}
        new = Path(f"{self._marker}.new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._marker)

    def _read_marker(self) -> int:
        remedy = f"remove {self._marker} to send {self.path} from its start"
        try:
            content = json.loads(self._marker.read_text(encoding="utf-8"))
            sent, selection = int(content["sent_bytes"]), content["selection"]
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"{self._marker} does not say how far {self.path} was sent; {remedy}") from error
        if selection != self._selection or sent > self.size:
            raise ConfigError(f"{self._marker} is about other letters than those chosen now; {remedy}")
        return sent

    def _message(self, number: int, text: bytes) -> QueueMessage:
        try:
            content = unwrap(text)
        except DecodeError as error:
            raise ConfigError(f"{self.path}, line {number}: {error}") from error
        if content is None:
            raise ConfigError(f"{self.path}, line {number}: not a letter that `export` wrote; give its file unchanged")
        body, key, headers = content
        return QueueMessage(None, body, key, headers, None, 0, str(number))
