"""Queues of SQS, seen by AWS's blocking client alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place

AT_ONCE = 8  # requests at a time
BULK = 10  # messages of a request, at most
HIDDEN = 3600  # seconds for which what was read is hidden; it is kept here
COUNTED = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
ACCOUNT = {"region": "eu-west-1", "access_key_id": "test", "secret_access_key": "test-secret"}


class SqsBackend:
    """See `Backend`."""

    def __init__(self, place: Place, label: str) -> None:
        self._through_proxy = f"http://127.0.0.1:{place.proxy.port}"
        self._label = label
        self._client = Session().create_client(
            "sqs",
            ACCOUNT["region"],
            endpoint_url=f"http://127.0.0.1:{place.direct}",
            aws_access_key_id=ACCOUNT["access_key_id"],
            aws_secret_access_key=ACCOUNT["secret_access_key"],
            config=Config(max_pool_connections=AT_ONCE),
        )
        self._urls: dict[str, str] = {}

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        queue = f"{self._label}-{name}"
        self._urls[name] = self._client.create_queue(QueueName=queue)["QueueUrl"]
        # Only workers are killed here, so a server that is slow on a busy machine is not one that is away.
        where = {"endpoint_url": self._through_proxy, **ACCOUNT, "timeout": 60.0, "visibility_timeout": int(lease)}
        return {"profile": "sqs-dlq" if dead_letters else "sqs", "value": queue, "config": where}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        def send(start: int) -> None:
            some = enumerate(messages[start : start + BULK])
            entries = [{"Id": str(number), "MessageBody": sent.body.decode()} for number, sent in some]
            if failed := self._client.send_message_batch(QueueUrl=self._urls[name], Entries=entries).get("Failed"):
                raise RuntimeError(f"SQS did not take what the ledger sent: {failed[0]}")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(send, range(0, len(messages), BULK)))

    def count(self, name: str) -> int | None:
        try:
            found = self._client.get_queue_attributes(QueueUrl=self._urls[name], AttributeNames=COUNTED)["Attributes"]
        except (BotoCoreError, ClientError):
            return None
        return sum(int(found[each]) for each in COUNTED)

    def unsettled(self, name: str) -> int | None:
        return self.count(name)

    def outputs(self, name: str) -> Sequence[bytes]:
        return [message["Body"].encode() for message in self._read(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        return [Letter(each["Body"].encode(), _stage(each.get("MessageAttributes", {}))) for each in self._read(name)]

    def _read(self, name: str) -> list[Any]:
        def read(_reader: int) -> list[Any]:
            found: list[Any] = []
            while some := self._client.receive_message(
                QueueUrl=self._urls[name],
                MaxNumberOfMessages=BULK,
                VisibilityTimeout=HIDDEN,
                MessageAttributeNames=["All"],
            ).get("Messages"):
                found += some
            return found

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [message for found in pool.map(read, range(AT_ONCE)) for message in found]

    def close(self) -> None:
        self._client.close()


def _stage(attributes: Any) -> str:
    return str(attributes.get("penstock-error-stage", {}).get("StringValue", "?"))
