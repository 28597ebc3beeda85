"""The output side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.connectors import BlockingProducer
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_folder.errors import told
from penstock_folder.folder import Folder
from penstock_folder.options import FolderOptions


class FolderProducer(BlockingProducer):
    """Writes a queue.

    Records come without key and headers: where the capabilities do not name these, the core puts them into the body.
    """

    options: FolderOptions

    def __init__(self, name: str, options: FolderOptions) -> None:
        super().__init__(name, options)
        self._path = Path(options.path) / name
        self._folder: Folder | None = None

    def connect(self) -> None:
        """Check now what can be checked now, not at the first record."""
        folder = Folder(self._path)
        with told(f"folder {self._path}"):
            folder.make()
        self._folder = folder

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """One answer a record. None is a promise: it is on the disk.

        What is wrong with one record is an answer, `retriable=False`; what is wrong with the disk is raised, and all
        records of the call are sent again.
        """
        if self._folder is None:
            raise ConnectorError("not connected; call connect() first, and nothing after shutdown()")
        answers = [_refusal(record) for record in records]
        bodies = [each.message or b"" for each, no in zip(records, answers, strict=True) if no is None]
        with told(f"folder {self._path}"):
            self._folder.add(bodies)
        return answers

    def shutdown(self) -> None:
        """Nothing is buffered, so there is nothing to flush."""
        self._folder = None


def _refusal(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("a file has a body; null would come back as an empty one", retriable=False)
    if record.options:
        return ProduceError(f"a file takes no option {min(record.options)!r}", retriable=False)
    return None
