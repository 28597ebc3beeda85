"""Records into a queue, one transaction a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from penstock.connectors import BlockingProducer, Created, Probed
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_sqlite.database import Database
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.probing import probe
from penstock_sqlite.shared_file import shared_file
from penstock_sqlite.storing import refusals, store


class SqliteProducer(BlockingProducer):
    """Writes one queue.

    Attributes:
        path: The file, absolute and without symbolic links.
    """

    options: SqliteOptions

    def __init__(self, name: str, options: SqliteOptions) -> None:
        super().__init__(name, options)
        self._file = shared_file(options.path)
        self.server = f"SQLite file {options.path}"
        self.path = self._file.path
        self._database = Database(self._file, options, durable=True)

    def connect(self) -> None:
        """See `Producer.connect`."""
        self._database.open()

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`: the records of a call are stored together, or none of them is."""
        answers = refusals(records)
        if any(answers):
            records = [record for record, refused in zip(records, answers, strict=True) if refused is None]
        with self._database.transaction() as connection:
            store(connection, self.name, records, time.time())
        self._file.wake(self.name)
        return answers

    def create(self) -> Created:
        """See `Producer.create`: the file with its tables, which hold any queue."""
        database = Database(self._file, self.options.model_copy(update={"create": True}), durable=True)
        try:
            database.open()
        finally:
            database.close()
        return Created(existed=not database.created, what=f"a queue in the SQLite file {self.path}")

    def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        looking = Database(self._file, self.options, durable=False)
        try:
            return probe(looking, self.path, self.options)
        finally:
            looking.close()

    def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        self._database.close()
