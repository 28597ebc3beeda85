"""Records into a tube."""

from __future__ import annotations

import math
from collections.abc import Sequence

import greenstalk
from penstock.bulk import BatchLimits, produce_in_batches_blocking
from penstock.connectors import BlockingProducer
from penstock.errors import ProduceError
from penstock.message import Record

from penstock_beanstalkd.client import connection
from penstock_beanstalkd.options import BeanstalkdOptions

ONE = BatchLimits(max_records=1)  # a call stores one job


class BeanstalkdProducer(BlockingProducer):
    """Stores record by record, each with its time to run."""

    options: BeanstalkdOptions

    def __init__(self, name: str, options: BeanstalkdOptions) -> None:
        super().__init__(name, options)
        self._connection = connection(name, options)

    def connect(self) -> None:
        """See `Producer.connect`."""
        self._connection.open(answers=greenstalk.Client.using)

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        return produce_in_batches_blocking(records, self._put, limits=ONE, reject=_rejection)

    def _put(self, records: Sequence[Record]) -> None:
        (record,) = records
        priority = (record.options or {}).get("priority", self.options.priority)
        with self._connection.client() as client:
            try:
                client.put(record.message or b"", priority, math.ceil(record.delay), self.options.lease)
            except greenstalk.JobTooBigError as error:
                size = len(record.message or b"")
                raise ProduceError(
                    f"{size:,} bytes are more than the server's max-job-size", retriable=False
                ) from error

    def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered."""
        self._connection.close()


def _rejection(record: Record) -> ProduceError | None:
    priority = (record.options or {}).get("priority", 0)
    if record.message is None or record.key is not None or record.headers:
        return ProduceError("a job is a body alone: it has no key, no headers, and is never null", retriable=False)
    if not (isinstance(priority, int) and 0 <= priority < 2**32):
        return ProduceError("its priority is not a number from 0 to 4,294,967,295", retriable=False)
    return None
