"""Faults on demand: each strikes as often as it was told to, and the engine does what it does in production."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Engine, QueueMessage, Record
from penstock.capabilities import Capabilities
from penstock.envelope import wrap
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.specs import ConnectorSpec
from penstock.testing import Harness
from penstock.testing.fault_injection import ConsumerFaults, Fault, ProducerFaults

RETRY = {"max_attempts": 3, "initial_delay": 1.0, "jitter": 0.0}


def engine(function: Callable[..., Any], **settings: Any) -> Engine:
    """An engine from `in` to `out`."""
    given: dict[str, Any] = {
        "queue_config": {"in": {}, "out": {}, "dlq": {"profile": "memory-dlq"}},
        "dead_letter_queue": "dlq",
        "retry": RETRY,
    }
    app = Engine("in", ["out"], **(given | settings))
    app.stream_app(function)
    return app


def forward(number: int) -> Any:
    """Each number goes on as it is."""
    return [("out", number)]


def counting() -> tuple[Callable[[int], Any], Counter[int]]:
    """`forward`, and how often it was called with what."""
    calls: Counter[int] = Counter()

    def function(number: int) -> Any:
        calls[number] += 1
        return [("out", number)]

    return function, calls


# -- producers


def test_a_record_that_is_refused_for_now_is_sent_again() -> None:
    """With backoff; the function is not called again for it, and nothing is lost or doubled."""
    function, calls = counting()
    with Harness(engine(function)) as harness:
        fault = harness.producer("out").refuse(times=3)
        for number in range(5):
            harness.send("in", number)
        harness.run()

        assert sorted(harness.sent("out")) == [0, 1, 2, 3, 4]
        assert (fault.struck, harness.left) == (3, 0)
        assert set(calls.values()) == {1}
        assert harness.elapsed > 0.05


def test_a_record_that_is_refused_for_good_makes_its_message_a_dead_letter() -> None:
    """Only its own, with what the backend said; a record is chosen by what it is."""
    error = ProduceError("too large", retriable=False)
    with Harness(engine(forward)) as harness:
        harness.producer("out").refuse(times=None, error=error, when=lambda record: record.message == b"2")
        for number in range(4):
            harness.send("in", number)
        harness.run()

        assert harness.sent("out") == [0, 1, 3]
        (letter,) = harness.dead_letters()
        assert (letter.stage, letter.error_text, letter.record.message) == ("produce", "too large", b"2")


def test_a_confirmation_that_is_lost_doubles_its_record_and_no_other() -> None:
    """At least once: what was stored and not confirmed is sent again."""
    with Harness(engine(forward)) as harness:
        fault = harness.producer("out").unconfirmed(when=lambda record: record.message == b"2")
        for number in range(4):
            harness.send("in", number)
        harness.run()

        assert sorted(harness.sent("out")) == [0, 1, 2, 2, 3]
        assert (fault.struck, harness.succeeded) == (1, 4)


@pytest.mark.parametrize("at", ["connect", "produce"])
def test_an_output_backend_that_is_away_is_waited_for(at: Any) -> None:
    """At the start or later, nothing is stored meanwhile and nothing is lost."""
    with Harness(engine(forward)) as harness:
        fault = harness.producer("out").away(times=4, at=at)
        harness.send("in", 1)
        harness.run()

        assert (harness.sent("out"), fault.struck, harness.left) == ([1], 4, 0)
        assert harness.elapsed > 1


def test_an_outage_lasts_for_so_many_seconds() -> None:
    """From the first call that it strikes on, connecting fails, too."""
    with Harness(engine(forward)) as harness:
        fault = harness.producer("out").away(seconds=120)
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == [1]
        assert 120 <= harness.elapsed < 150
        assert fault.struck > 5


def test_an_outage_strikes_every_kind_of_call() -> None:
    """Once it has begun, which the call that was named decides."""
    faults = ProducerFaults("q")
    faults.away(seconds=10)

    faults.strike("connect", 0)
    for call, now in (("produce", 1), ("connect", 5), ("produce", 10.9)):
        with pytest.raises(NotConnected):
            faults.strike(call, now)  # type: ignore[arg-type]
    faults.strike("produce", 11)


def test_a_dead_letter_queue_that_is_away_keeps_the_message_unsettled() -> None:
    """It is settled when the dead letter is confirmed, once."""
    with Harness(engine(forward)) as harness:
        harness.producer("dlq").away(times=2)
        harness.producer("dlq").refuse(times=2)
        harness.send("in", b"{")
        harness.run()

        assert [letter.stage for letter in harness.dead_letters()] == ["decode"]
        assert harness.left == 0


def test_an_error_for_good_stops_the_engine_and_leaves_the_message() -> None:
    """`run` raises it with the name of the queue; the next run finds the message."""
    with Harness(engine(forward)) as harness:
        harness.producer("out").fail(FatalConnectorError("wrong password"))
        harness.send("in", 1)
        with pytest.raises(FatalConnectorError, match=r"queue 'out', memory: wrong password"):
            harness.run()
        assert (harness.left, harness.sent("out")) == (1, [])
        harness.run()

        assert (harness.left, harness.sent("out"), harness.attempts) == (0, [1], [2])


# -- consumers


def test_a_message_can_be_delivered_again_after_it_was_settled() -> None:
    """As after a crash before the settlement was stored: the function is called twice, as a user must expect."""
    function, calls = counting()
    with Harness(engine(function)) as harness:
        fault = harness.consumer.repeat(times=2, when=lambda message: message.message == b"1")
        for number in range(3):
            harness.send("in", number)
        harness.run()

        assert calls == {0: 1, 1: 3, 2: 1}
        assert sorted(harness.sent("out")) == [0, 1, 1, 1, 2]
        assert (fault.struck, harness.attempts, harness.left) == (2, [1, 3, 1], 0)


def test_a_message_that_is_repeated_is_itself_byte_for_byte() -> None:
    """Body, key and headers; the attempt is raised where the backend counts deliveries, and not elsewhere."""
    bare = ConnectorSpec("bare", consumer="nowhere:C", producer="nowhere:P", capabilities=Capabilities())
    in_envelope = wrap(Record(b"x", b"inner"))
    for connector, body, second in (("memory", b"\xff", 2), (bare, b"\xff", 1), (bare, in_envelope, 1)):
        seen: list[Any] = []

        def function(body: bytes, msg_ctx: QueueMessage, seen: list[Any] = seen) -> None:
            seen.append((body, msg_ctx.key, list(msg_ctx.headers), msg_ctx.position, msg_ctx.attempts))

        raw = {"connector": connector, "serializer": None, "model_handler": None, "data_model": None}
        with Harness(engine(function, queue_config={"in": raw, "out": raw, "dlq": raw})) as harness:
            harness.consumer.repeat()
            if body is in_envelope:
                harness.send("in", wrap(Record(body, b"\x00", [("h", b"\xfe")])))
            else:
                harness.send("in", body, key=b"\x00", headers=[("h", b"\xfe")])
            harness.run()

        expected = (body, b"\x00", [("h", b"\xfe")], "1")
        assert seen == [(*expected, 1), (*expected, second)]


def test_a_repeated_message_that_is_requeued_comes_once_more() -> None:
    """At once or later: it is as good as any other."""
    answers = [None, False, None]

    def function(number: int) -> Any:
        return answers.pop(0)

    with Harness(engine(function)) as harness:
        harness.consumer.repeat()
        harness.send("in", 1)
        harness.run()

        assert not answers
        assert (harness.attempts, harness.requeued, harness.left) == ([3], 1, 0)


def test_a_repeated_message_is_not_lost_when_the_engine_stops() -> None:
    """The next run delivers it."""
    errors = [None, KeyboardInterrupt]

    async def function(number: int) -> Any:
        if errors and (error := errors.pop(0)):
            raise error
        return [("out", number)]

    with Harness(engine(function)) as harness:
        harness.consumer.repeat()
        harness.send("in", 1)
        with pytest.raises(KeyboardInterrupt):
            harness.run()
        assert harness.left == 1
        harness.run()

        assert (harness.sent("out"), harness.left) == ([1, 1], 0)


def test_a_lost_lease_makes_the_settlement_late_and_the_message_come_again() -> None:
    """It is counted as late, not as succeeded; the outputs of both tries are there."""
    with Harness(engine(forward)) as harness:
        fault = harness.consumer.lose_lease(times=2)
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == [1, 1, 1]
        assert (fault.struck, harness.late, harness.succeeded, harness.attempts) == (2, 2, 1, [3])
        assert harness.left == 0


@pytest.mark.parametrize("at", ["connect", "consume", "settle"])
def test_an_input_backend_that_is_away_is_waited_for(at: Any) -> None:
    """Whatever is asked of it; the message is processed, and settled once."""
    with Harness(engine(forward)) as harness:
        fault = harness.consumer.away(times=3, at=at)
        harness.send("in", 1)
        harness.run()

        assert (harness.sent("out"), fault.struck, harness.succeeded, harness.left) == ([1], 3, 1, 0)


def test_an_input_backend_may_be_away_for_minutes() -> None:
    """By the harness's clock."""
    with Harness(engine(forward)) as harness:
        harness.consumer.away(seconds=300)
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == [1]
        assert 300 <= harness.elapsed < 330


def test_an_input_backend_that_stays_away_at_the_start_is_given_up() -> None:
    """After the configuration's `connect_timeout`, which takes no time here."""
    config = {"queues": {"in": {}, "out": {}, "dlq": {}}, "worker": {"connect_timeout": 600}}
    with Harness(engine(forward, queue_config=config)) as harness:
        harness.consumer.away(times=None, at="connect")
        with pytest.raises(
            NotConnected, match="queue 'in', memory: the backend of 'in' is away, as the test asked for"
        ):
            harness.run()
        assert 500 < harness.elapsed <= 600


def test_an_error_of_a_consumer_stops_the_engine() -> None:
    """Any `ConnectorError`, at any call."""
    with Harness(engine(forward)) as harness:
        harness.consumer.fail(ConnectorError("out of luck"), at="settle")
        harness.send("in", 1)
        with pytest.raises(ConnectorError, match="out of luck"):
            harness.run()
        assert (harness.sent("out"), harness.left) == ([1], 1)


def test_the_faults_of_each_engine_are_its_own() -> None:
    """`consumer` is that of the first; the others are named."""
    queues: dict[str, Any] = {"a": {}, "b": {}, "c": {}}
    first, second = Engine("a", ["b"], queue_config=queues), Engine("b", ["c"], queue_config=queues)
    first.stream_app(lambda number: [("b", number)])
    second.stream_app(lambda number: [("c", number)])
    with Harness(first, second) as harness:
        assert harness.consumer is harness.consumer_of("a")
        harness.consumer_of("b").repeat()
        harness.send("a", 1)
        harness.run()

        assert (harness.sent("b"), harness.sent("c")) == ([1], [1, 1])
        assert harness.attempts == [1, 2]


# -- all of them


def test_faults_at_random_are_the_same_for_the_same_seed() -> None:
    """By `harness.random`; however many there are, every message is processed at least once."""

    def once(seed: int) -> tuple[list[int], list[int], float]:
        with Harness(engine(forward), seed=seed) as harness:

            def now_and_then(_subject: Any) -> bool:
                return harness.random.random() < 0.3

            harness.producer("out").refuse(times=None, when=now_and_then)
            harness.producer("out").unconfirmed(times=20, when=now_and_then)
            harness.producer("out").away(times=3)
            harness.consumer.repeat(times=20, when=now_and_then)
            harness.consumer.lose_lease(times=20, when=now_and_then)
            harness.consumer.away(seconds=5)
            for number in range(60):
                harness.send("in", number)
            harness.run()
            assert set(harness.sent("out")) == set(range(60))
            assert harness.left == 0
            return harness.sent("out"), harness.attempts, harness.elapsed

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_a_fault_that_could_never_strike_is_refused() -> None:
    """It would be a test that tests nothing."""
    with pytest.raises(ValueError, match="times=0"):
        ProducerFaults("q").refuse(times=0)
    with pytest.raises(ValueError, match="seconds=0"):
        ConsumerFaults("q").away(seconds=0)


def test_a_fault_at_a_call_that_its_side_does_not_have_is_refused() -> None:
    """A consumer never produces: the fault would never strike."""
    with pytest.raises(ValueError, match=r"^at='produce': a consumer's calls are 'connect', 'consume', 'settle'; "):
        ConsumerFaults("q").away(at="produce")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^at='consume': a producer's calls are 'connect', 'produce'; "):
        ProducerFaults("q").fail(FatalConnectorError("no"), at="consume")  # type: ignore[arg-type]


def test_an_error_that_is_a_class_or_of_another_kind_is_refused_where_it_is_given() -> None:
    """Not blamed on the connector at the first record."""
    with pytest.raises(TypeError, match=r"it is the class ProduceError; give .*, as ProduceError\('too large'\)$"):
        ProducerFaults("q").refuse(error=ProduceError)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"it is a FatalConnectorError; give .* ProduceError"):
        ProducerFaults("q").refuse(error=FatalConnectorError("no"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="it is the class NotConnected; give"):
        ConsumerFaults("q").fail(NotConnected)  # type: ignore[arg-type]


def test_a_fault_tells_how_often_it_has_struck() -> None:
    """And strikes no more often than it was told, and only what it was told."""
    fault: Fault[int] = Fault(2, lambda number: number % 2 == 0)

    assert [fault.strikes(number) for number in range(6)] == [True, False, True, False, False, False]
    assert repr(fault) == "<Fault struck 2 of 2 times>"


def test_faults_strike_in_the_order_in_which_they_were_asked_for() -> None:
    """One at a time: the second begins when the first is used up."""
    faults = ProducerFaults("q")
    faults.refuse(1, ProduceError("first"))
    faults.refuse(1, ProduceError("second"))

    assert [str(faults.refusal(Record(b""))) for _ in range(3)] == ["first", "second", "None"]


def test_an_async_function_meets_the_same_faults() -> None:
    """Where outputs wait for a broker, other messages go on."""

    async def function(number: int) -> Any:
        await asyncio.sleep(number)
        return [("out", number)]

    began = time.monotonic()
    with Harness(engine(function, concurrency=10)) as harness:
        harness.producer("out").away(seconds=30)
        for number in range(10):
            harness.send("in", number)
        harness.run()

        assert sorted(harness.sent("out")) == list(range(10))
        assert 30 <= harness.elapsed < 60
    assert time.monotonic() - began < 5
