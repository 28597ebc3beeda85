"""A queue of a configuration is browsed: its messages are opened, decoded, and read as dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from core.tests.scripted import ScriptedConsumer, Source

from penstock.capabilities import Capabilities
from penstock.config.model import QueueConfig
from penstock.dead_letters import dead_letter
from penstock.envelope import wrap
from penstock.errors import CapabilityError, ConfigError, ConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.operations import open as open_queue
from penstock.queues.answers import browse_problem
from penstock.queues.browsing import BrowsedQueue, OpenedMessage

ORDERS = b'{"n": 1}'
DEAD = dead_letter(
    QueueMessage(None, ORDERS, b"k", [("h", b"v")], position="7"),
    stage="function",
    error=ValueError("less than nothing"),
    attempts=3,
    queue="orders",
    app="stock",
    now=1.0,
)


class Shelf(ScriptedConsumer):
    """Shows the bodies in `content`, and may not be connected. Its backend has neither keys nor headers."""

    capabilities = Capabilities(browse=True)
    content: ClassVar[list[Any]] = []

    async def connect(self) -> None:
        raise AssertionError("browsing connects nothing")

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        if self.content and isinstance(self.content[0], Exception):
            raise self.content[0]
        start = 0 if after is None else int(after) + 1
        found = list(enumerate(self.content))[start : start + limit]
        return [BrowsedMessage(body, str(position), attempts=2, state="waiting") for position, body in found]


def shelf(*content: Any, consumer: type[ScriptedConsumer] = Shelf, **keys: Any) -> BrowsedQueue:
    Shelf.content = list(content)
    settings = {"consumer": consumer, "config": {"script": Source()}, "serializer": "json", **keys}
    return open_queue.browse([QueueConfig(name="orders", **settings)], "orders")


def seen(queue: BrowsedQueue, **asked: Any) -> list[OpenedMessage]:
    async def main() -> list[OpenedMessage]:
        async with queue:
            return [opened async for opened in queue.messages(**asked)]

    return asyncio.run(main())


def test_each_message_is_shown_decoded() -> None:
    """With the place and the counts that the connector gives it; page by page, from a position on, up to a limit."""
    (first, second) = seen(shelf(ORDERS, b'{"n": 2}'))

    assert (first.value, first.error, first.dead_letter) == ({"n": 1}, None, None)
    assert (second.message.position, second.message.attempts, second.message.state) == ("1", 2, "waiting")
    assert [each.value for each in seen(shelf(*[b"%d" % n for n in range(1200)]))] == list(range(1200))
    assert [each.value for each in seen(shelf(*[b"%d" % n for n in range(9)]), limit=2, after="3")] == [4, 5]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "the body is not valid json"),
        (b"", "the body is empty"),
        (None, "the message is a tombstone"),
        (b'{"penstock-envelope":1,', "the envelope"),
    ],
)
def test_a_body_that_does_not_decode_is_shown_with_the_reason(body: bytes | None, why: str) -> None:
    """And does not keep others from being shown."""
    first, second = seen(shelf(body, ORDERS))

    assert (first.value, first.message.message) == (None, body)
    assert why in str(first.error)
    assert second.value == {"n": 1}


def test_a_dead_letter_is_taken_out_of_its_envelope() -> None:
    """Its body, key and headers are those of the message that failed, beside the reasons."""
    (opened,) = seen(shelf(wrap(DEAD)))

    assert opened.dead_letter is not None
    assert (opened.dead_letter.stage, opened.dead_letter.error_text) == ("function", "less than nothing")
    assert (opened.message.message, opened.message.key, opened.message.attempts) == (ORDERS, b"k", 2)
    assert list(opened.dead_letter.record.headers) == [("h", b"v")]
    assert opened.value == {"n": 1}


def test_browsing_leaves_the_connectors_message_as_it_is() -> None:
    """A connector may show the same object twice."""
    shown = BrowsedMessage(wrap(DEAD), "1")

    class Same(Shelf):
        async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:  # noqa: ARG002
            return [] if after else [shown]

    for _time in range(2):
        (opened,) = seen(shelf(consumer=Same))
        assert opened.value == {"n": 1}
    assert shown.message == wrap(DEAD)


def test_errors_name_the_queue() -> None:
    """Also of a backend that is away, which is not waited for."""
    with pytest.raises(NotConnected, match=r"^queue 'orders', Shelf: away$"):
        seen(shelf(NotConnected("away")))
    with pytest.raises(ConnectorError, match=r"^queue 'orders', Shelf: there is no such queue$"):
        seen(shelf(ConnectorError("there is no such queue")))
    with pytest.raises(CapabilityError, match="no 'browse', needed by looking at messages"):
        shelf(consumer=ScriptedConsumer)


ONE = BrowsedMessage(b"1", "1")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "browse returned None instead of a list"),
        ([QueueMessage(1, b"1")], "browse returned a QueueMessage among its messages"),
        ([ONE, ONE], "browse returned 2 messages where at most 1 were asked for"),
        ([ONE], "browse after '1' ended with that position again"),
    ],
)
def test_a_wrong_answer_of_browse_is_told(answer: Any, problem: str) -> None:
    """As of any other method; an answer that repeats itself would be read for ever."""
    assert problem in str(browse_problem(answer, 1, "1"))
    assert browse_problem([ONE], 1, "0") is None


CONFIG = """
queues:
  orders: {connector: memory, config: {namespace: browsed}}
  kafka: {connector: kafka, config: {bootstrap.servers: nowhere:1}}
  wrong: {connector: memory, config: {namspace: x}}
  unknown: {connector: kafak}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "queues.yml"
    path.write_text(CONFIG)
    return str(path)


def test_a_queue_of_a_file_is_published_to_and_browsed(config: str) -> None:
    """By its name in the file; what was published is seen, and still there for a consumer."""

    async def main() -> tuple[list[Any], Any]:
        async with open_queue.publish(config, "orders") as output:
            await output.produce([Record(b'{"n": 1}')])
        async with open_queue.browse(config, "orders") as queue:
            values = [each.value async for each in queue.messages()]
        async with open_queue.consume(config, "orders") as queue:
            (message,) = await queue.consume(1, 5.0)
            await queue.on_success([message])
        return values, message

    values, message = asyncio.run(main())
    assert values == [{"n": 1}]
    assert message.attempts == 1


def test_browsing_needs_no_group(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the configuration or the environment gives stays, in either spelling; an engine needs one."""
    monkeypatch.delenv("KAFKA_CONSUMER_GROUP", raising=False)
    own = {"name": "kafka", "connector": "kafka"}
    where = {"bootstrap.servers": "nowhere:1"}

    def group(source: Any) -> str:
        found: str = open_queue.browse(source, "kafka").resolved.options.group_id
        return found

    assert group(config) == "penstock-browse"
    assert group([{**own, "config": {**where, "group.id": "g"}}]) == "g"
    assert group([{**own, "config": {**where, "group_id": "g"}}]) == "g"
    monkeypatch.setenv("KAFKA_CONSUMER_GROUP", "from-environment")
    assert group(config) == "from-environment"
    monkeypatch.delenv("KAFKA_CONSUMER_GROUP")
    with pytest.raises(ConfigError, match="no consumer group"):
        open_queue.consume(config, "kafka")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oders", r"queue 'oders' is not in .*queues.yml, which has 'orders', .*; did you mean 'orders'\?"),
        ("wrong", r"queue 'wrong' \(.*queues.yml:5:.*namspace"),
        ("unknown", r"queue 'unknown' \(.*queues.yml:6:.*kafak"),
    ],
)
def test_a_queue_that_cannot_be_opened_says_why(config: str, name: str, said: str) -> None:
    """For browsing and publishing alike."""
    for role in (open_queue.browse, open_queue.publish):
        with pytest.raises(ConfigError, match=said):
            role(config, name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(ConfigError, match=r"none.yml: there is no such file"):
        open_queue.browse(str(tmp_path / "none.yml"), "orders")
