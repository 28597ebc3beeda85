"""What an engine does about a connector that breaks its contract."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, echo, for_a_while, running, until
from core.tests.scripted import BareProducer, Sink, Source

from penstock.errors import (
    ConnectorError,
    ProduceError,
)


class Bug(Exception):
    """What an author did not expect."""


@pytest.mark.parametrize("answers", [1, 3], ids=["too few", "too many"])
def test_a_producer_with_the_wrong_number_of_results_stops_the_engine(stand: EngineFixture, answers: int) -> None:
    """What is confirmed cannot be known, so nothing is settled; the error names the class."""
    source, sink = Source([b"1", b"2"]), Sink()

    class Miscounting(BareProducer):
        async def produce(self, records: Any) -> Any:
            await super().produce(records)
            return [None] * answers

    with pytest.raises(ConnectorError) as caught:
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Miscounting)]))

    assert str(caught.value) == (
        f"queue 'out', Miscounting: the producer answered {answers} results for 2 records; "
        f"this is a bug of {Miscounting.__module__}.{Miscounting.__qualname__}"
    )
    assert source.settled() == []


def test_a_producer_that_miscounts_what_is_sent_again_stops_the_engine(stand: EngineFixture) -> None:
    """The second answer is looked at like the first."""
    source, sink = Source([b"1", b"2"]), Sink([ProduceError("busy")] * 2)

    class Miscounting(BareProducer):
        async def produce(self, records: Any) -> Any:
            return (await super().produce(records))[: None if sink.count("produce") == 1 else 1]

    with pytest.raises(ConnectorError, match="the producer answered 1 results for 2 records; this is a bug of"):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Miscounting)]))

    assert source.settled() == []


@pytest.mark.parametrize("answer", [None, True, [True, True], ["no", "no"]], ids=repr)
def test_a_producer_that_answers_something_else_stops_the_engine(stand: EngineFixture, answer: Any) -> None:
    """None or a ProduceError a record, and nothing else, is an answer."""
    source, sink = Source([b"1", b"2"]), Sink()

    class Odd(BareProducer):
        async def produce(self, records: Any) -> Any:
            del records
            return answer

    with pytest.raises(ConnectorError, match=r"^queue 'out', Odd: the producer answered .*; this is a bug of .*Odd$"):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Odd)]))

    assert source.settled() == []


@pytest.mark.parametrize("method", ["connect", "consume", "on_success", "lag"])
def test_a_bug_in_a_consumer_stops_the_engine_and_is_named(stand: EngineFixture, method: str) -> None:
    """Any exception that is not a word of the contract: the engine stops, says whose it is, and leaves the messages."""
    source = Source([b"1"], **{method: [Bug("oops")]})

    with pytest.raises(ConnectorError) as caught:
        drain(stand.engine(echo, source=source.queue()))

    assert str(caught.value) == (
        f"queue 'in', ScriptedConsumer: {method} raised Bug: oops; this is a bug of "
        f"core.tests.scripted.ScriptedConsumer, or a case that it does not know"
    )
    assert isinstance(caught.value.__cause__, Bug)
    assert source.count("shutdown") == 1
    assert source.held | set(source.visible) or method == "lag"


def test_a_bug_in_requeueing_stops_the_engine_and_is_named(stand: EngineFixture) -> None:
    """on_fail like the others."""
    source = Source([b"1"], on_fail=[Bug("oops")])

    with pytest.raises(ConnectorError, match=r"on_fail raised Bug: oops"):
        drain(stand.engine(lambda _: False, source=source.queue()))

    assert source.count("shutdown") == 1


@pytest.mark.parametrize("method", ["connect", "produce"])
def test_a_bug_in_a_producer_stops_the_engine_and_is_named(stand: EngineFixture, method: str) -> None:
    """And nothing is settled that was not confirmed."""
    source, sink = Source([b"1"]), Sink(**{method: [Bug("oops")]})

    with pytest.raises(
        ConnectorError, match=rf"^queue 'out', ScriptedProducer: {method} raised Bug: oops; this is a bug"
    ):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert (source.settled(), source.count("shutdown"), sink.count("shutdown")) == ([], 1, 1)


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_a_bug_in_shutdown_is_logged_and_the_other_queues_are_closed(
    stand: EngineFixture, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The work is done by then; the next queue is not to pay for it."""
    bug = [Bug("oops")]
    source, sink = (
        (Source([b"1"], shutdown=bug), Sink()) if side == "consumer" else (Source([b"1"]), Sink(shutdown=bug))
    )

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert (source.settled(), source.count("shutdown"), sink.count("shutdown")) == ([b"1"], 1, 1)
    assert "did not close cleanly: shutdown raised Bug: oops" in caplog.text


def test_one_output_that_fails_for_good_lets_the_other_finish_before_it_is_closed(stand: EngineFixture) -> None:
    """No producer is shut down while a produce is under way."""
    source, broken, slow = Source([b"1"]), Sink(produce=[Bug("oops")]), Sink()
    slow.open.clear()

    class Strict(BareProducer):
        async def produce(self, records: Any) -> Any:
            answers = await super().produce(records)
            slow.calls.append(("produced", None))
            return answers

    async def main() -> None:
        engine = stand.engine(
            lambda _: [("broken", 1), ("slow", 1)],
            ["broken", "slow"],
            source=source.queue(),
            targets=[broken.queue("broken"), slow.queue("slow", producer=Strict)],
        )
        async with running(engine) as run:
            await until(lambda: slow.count("produce"))
            await for_a_while(0.1, lambda: slow.count("shutdown"))
            slow.open.set()
            with pytest.raises(ConnectorError, match="oops"):
                await run.ended()

    asyncio.run(main())

    assert [name for name, _ in slow.calls] == ["connect", "produce", "produced", "shutdown"]
    assert source.settled() == []
