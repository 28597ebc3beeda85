"""What the consumer and the producer promise beyond the conformance kit."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ConnectorError, NotConnected
from penstock.message import Record


def bodies(messages: Any) -> list[bytes | None]:
    return [message.message for message in messages]


def test_everything_comes_back_byte_for_byte(opened: Any) -> None:
    """Body, key and headers, also empty, binary, repeated and missing ones, plain records among the others."""
    every_byte = bytes(range(256))
    headers = [("a", b"1"), ("a", every_byte), ("ü\ud800", b""), ("null", None)]
    consumer, producer = opened.consumer(), opened.producer()
    records = [
        Record(b"plain"),
        Record(every_byte, every_byte, headers),
        Record(b""),
        Record(None, b""),
        Record(b"key", b"k"),
        Record(b"header", None, [("h", every_byte)]),
        Record(b"\x00\xff\x00"),
    ]
    before = time.time()

    assert producer.produce(records) == [None] * len(records)
    messages = consumer.consume(99, 5)

    sent = [(record.message, record.key, list(record.headers)) for record in records]
    assert [(m.message, m.key, list(m.headers)) for m in messages] == sent
    assert [m.position for m in messages] == [str(number) for number in range(1, len(records) + 1)]
    assert all(before - 1 <= m.timestamp <= time.time() + 1 for m in messages)


def test_the_highest_priority_comes_first(opened: Any) -> None:
    """Then the oldest; a priority that is not a whole number in range is refused, and stops no other record."""
    consumer, producer = opened.consumer(), opened.producer()
    answers = producer.produce(
        [
            Record(b"usual"),
            Record(b"urgent", options={"priority": 5}),
            Record(b"never", options={"priority": True}),
            Record(b"idle", options={"priority": -32_767}),
            Record(b"unknown", options={"partition": 1}),
            Record(b"usual, too", options={"priority": 0}),
        ]
    )

    assert [None if answer is None else answer.retriable for answer in answers] == [
        None,
        None,
        False,
        None,
        False,
        None,
    ]
    assert "from -32767 to 32767, not True" in str(answers[2])
    assert "takes no option 'partition' with a message, only 'priority'" in str(answers[4])
    assert bodies(consumer.consume(9, 5)) == [b"urgent", b"usual", b"usual, too", b"idle"]


def test_a_requeued_message_comes_again_before_younger_ones(opened: Any) -> None:
    """In its old place, with one attempt more."""
    consumer, producer = opened.consumer(), opened.producer()
    producer.produce([Record(letter.encode()) for letter in "abcd"])
    a, b = consumer.consume(2, 5)
    assert consumer.on_success([b]) == 0
    assert consumer.on_fail([a]) == 0

    assert [(m.message, m.attempts) for m in consumer.consume(9, 5)] == [(b"a", 2), (b"c", 1), (b"d", 1)]


def test_a_claim_stops_at_its_limit_of_bytes(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large bodies come in several calls, one of them at least in each; small ones come together."""
    monkeypatch.setattr("penstock_sqlite.consumer.MOST_BYTES", 1000)
    consumer, producer = opened.consumer(), opened.producer()
    producer.produce([Record(bytes(size)) for size in (600, 600, 600, 5000, 10)])

    taken = [consumer.consume(99, 5) for _ in range(4)]

    assert [[len(message.message) for message in some] for some in taken] == [[600], [600], [600], [5000]]
    assert len(consumer.consume(99, 5)) == 1


def test_a_record_of_the_same_process_wakes_a_waiting_consumer(opened: Any) -> None:
    """It does not wait for the end of a pause, which would last a minute here."""
    consumer, producer = opened.consumer(poll_interval=60), opened.producer()
    while consumer.consume(1, 0.3):  # the pauses have grown
        pass
    timer = threading.Timer(0.2, producer.produce, [[Record(b"x")]])
    timer.start()
    began = time.monotonic()

    assert bodies(consumer.consume(1, 30)) == [b"x"]
    assert time.monotonic() - began < 20
    timer.join()


def test_rows_that_another_program_inserts_are_messages(opened: Any, path: Path) -> None:
    """An outbox without Penstock: a queue and a body are enough, also as text, in a transaction with the program's own
    tables."""
    consumer = opened.consumer()
    with sqlite3.connect(path) as program:
        program.execute("CREATE TABLE orders (id)")
        program.execute("INSERT INTO orders VALUES (1)")
        program.execute("""INSERT INTO penstock_messages (queue, body) VALUES ('q', '{"größe": 1}'), ('q', x'00ff')""")
    program.close()
    messages = consumer.consume(9, 5)

    assert bodies(messages) == ['{"größe": 1}'.encode(), b"\x00\xff"]
    assert abs(messages[0].timestamp - time.time()) < 60
    assert consumer.on_success(messages) == 0


def test_damaged_headers_of_another_program_count_as_none(opened: Any, path: Path) -> None:
    """The message comes all the same."""
    consumer = opened.consumer()
    with sqlite3.connect(path) as program:
        program.execute(
            "INSERT INTO penstock_messages (queue, body, headers) VALUES ('q', 'x', '[1, 2'), ('q', 'y', '{}')"
        )
    program.close()

    assert [(m.message, list(m.headers)) for m in consumer.consume(9, 5)] == [(b"x", []), (b"y", [])]


def test_claims_leave_nothing_behind(opened: Any, path: Path) -> None:
    """Neither those that were settled in pieces nor those whose lease ended."""
    consumer, producer = opened.consumer(lease=0.2), opened.producer()
    producer.produce([Record(b"x")] * 30)
    first, second = consumer.consume(10, 5), consumer.consume(20, 5)
    consumer.on_success(first[:5])
    consumer.on_fail(first[5:])
    assert consumer.on_success(first) == 10
    time.sleep(0.25)
    while again := consumer.consume(30, 0.2):
        second = again
        consumer.on_success(second)
    with sqlite3.connect(path) as program:
        counts = [
            program.execute(f"SELECT count(*) FROM penstock_{table}").fetchone() for table in ("messages", "claims")
        ]
    program.close()

    assert counts == [(0,), (0,)]


def test_a_lease_that_ended_is_reported_once_with_what_to_do(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    """When it should be extended, and others have the messages."""
    slow, other, producer = opened.consumer(lease=0.2), opened.consumer(), opened.producer()
    producer.produce([Record(b"x"), Record(b"y")])
    held = slow.consume(2, 5)
    assert bodies(other.consume(2, 5)) == [b"x", b"y"]
    slow.extend(held)
    slow.extend(held)

    assert [each.getMessage() for each in caplog.records] == [
        "queue q: the leases of 2 messages ended before they were extended, so others take them; raise `lease` (0.2 s)"
    ]


def test_a_lease_that_ended_in_this_process_is_not_a_death(opened: Any) -> None:
    """The same consumer gets the message again and knows that no worker has died; another one does not know."""
    consumer, producer = opened.consumer(lease=0.2), opened.producer()
    producer.produce([Record(b"x")])
    consumer.consume(1, 5)
    (again,) = consumer.consume(1, 5)
    assert (again.attempts, again.abandoned) == (2, 0)
    (elsewhere,) = opened.consumer().consume(1, 5)

    assert (elsewhere.attempts, elsewhere.abandoned) == (3, 1)


def test_what_was_never_connected_says_so(options: Any) -> None:
    """A closed consumer refuses for good."""
    from penstock_sqlite.consumer import SqliteConsumer

    consumer = SqliteConsumer("q", options())
    with pytest.raises(NotConnected, match="is not connected yet"):
        consumer.consume(1, 0)
    consumer.shutdown()
    with pytest.raises(ConnectorError, match=r"queues\.db is closed"):
        consumer.consume(1, 0)
    assert consumer.lag() is None


class TestBrowse:
    def test_pages_end_where_bodies_are_large(self, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """And the next page begins behind them."""
        monkeypatch.setattr("penstock_sqlite.browsing.PAGE_BYTES", 1000)
        consumer, producer = opened.consumer(), opened.producer()
        producer.produce([Record(bytes(700)) for _ in range(5)])
        pages, after = [], None
        while page := consumer.browse(99, after):
            pages.append([message.position for message in page])
            after = page[-1].position

        assert pages == [["1", "2"], ["3", "4"], ["5"]]

    def test_a_file_that_does_not_exist_is_not_created(self, options: Any, path: Path) -> None:
        """Browsing changes nothing."""
        from penstock_sqlite.consumer import SqliteConsumer

        consumer = SqliteConsumer("q", options())
        with pytest.raises(ConnectorError, match="create the file"):
            consumer.browse(1)
        consumer.shutdown()

        assert not path.exists()

    @pytest.mark.parametrize("after", ["x", "-1", "1.5", "", "٣"])
    def test_what_is_not_a_position_is_refused(self, opened: Any, after: str) -> None:
        """With what one looks like."""
        with pytest.raises(ConnectorError, match="like '42'"):
            opened.consumer().browse(1, after)
