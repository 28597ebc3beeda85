"""What a connector answers is checked, and a wrong answer is told as a bug of its author."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.foreign import Foreign, Table
from core.tests.scripted import ScriptedConsumer, Source

from penstock.config.model import QueueConfig
from penstock.connectors import Backlog, BlockingConsumer, Refusal, Transacted
from penstock.errors import ConnectorError, ProduceError
from penstock.message import QueueMessage, Record
from penstock.queues.answers import backlog_problem, consume_problem, count_problem, lag_problem, transact_problem

ONE = QueueMessage(1, b"1")


def generated() -> Any:
    yield ONE


WRONG: list[tuple[Any, str]] = [
    (None, "consume returned None instead of a list; an empty list if there are no messages"),
    (generated(), "consume returned a generator instead of a list"),
    ({ONE}, "consume returned a set instead of a list"),
    (7, "consume returned 7 instead of a list"),
    ("text", "consume returned a str instead of a list"),
    (b"bytes", "consume returned a bytes instead of a list"),
    (ONE, "consume returned a QueueMessage instead of a list"),
    ([b"body"], "consume returned a bytes among its messages; each must be a penstock.QueueMessage"),
    ([None], "consume returned a NoneType among its messages"),
    ([ONE] * 3000, "consume returned 3000 messages where at most"),
]


class Wrong(ScriptedConsumer):
    """Answers something else once."""

    answers: ClassVar[dict[str, Any]] = {}

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        if "consume" in self.answers:
            await asyncio.sleep(0)
            answer: Sequence[QueueMessage] = self.answers["consume"]
            return answer
        return await super().consume(max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        late = await super().on_success(messages)
        return self.answers.get("on_success", late)

    async def lag(self) -> int | None:
        return self.answers["lag"] if "lag" in self.answers else await super().lag()


class WrongBlocking(BlockingConsumer):
    """The same on a thread."""

    def connect(self) -> None: ...

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        answer: Sequence[QueueMessage] = self.options["answer"]
        return answer

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None: ...

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...

    def shutdown(self) -> None: ...


@pytest.mark.parametrize(("answer", "text"), WRONG, ids=lambda each: each if isinstance(each, str) else "")
def test_a_wrong_answer_of_consume_stops_the_engine_with_a_sentence(answer: Any, text: str) -> None:
    """In both forms of connector."""
    wrong = type("Wrong", (Wrong,), {"answers": {"consume": answer}})
    blocking = QueueConfig(name="in", consumer=WrongBlocking, config={"answer": answer})

    for queue, author in ((Source().queue(consumer=wrong), "Wrong"), (blocking, "WrongBlocking")):
        with pytest.raises(ConnectorError) as caught:
            drain(EngineFixture().engine(lambda _: None, source=queue))
        assert f"queue 'in', {author}: {text}" in str(caught.value) or text in str(caught.value)
        assert "this is a bug of" in str(caught.value)
        assert author in str(caught.value)


@pytest.mark.parametrize("answer", [(), [], (ONE,), [ONE, ONE]], ids=repr)
def test_any_sequence_of_messages_is_right(answer: Any) -> None:
    """A tuple too."""
    assert consume_problem(answer, 2) is None


@pytest.mark.parametrize("answer", [True, "1", -1, 2, 1.0, [1]], ids=repr)
def test_a_wrong_answer_of_on_success_stops_the_engine_with_a_sentence(answer: Any) -> None:
    """It may be counted wrongly, else."""
    wrong = type("Wrong", (Wrong,), {"answers": {"on_success": answer}})

    with pytest.raises(ConnectorError, match=r"queue 'in'.*on_success returned .*no longer ours, or None; .*a bug of"):
        drain(EngineFixture().engine(lambda _: None, source=Source([b"1"]).queue(consumer=wrong)))
    assert count_problem("on_success", None, 1) is count_problem("on_success", 1, 1) is None


@pytest.mark.parametrize("answer", [True, "1", -1, 1.0, float("nan")], ids=repr)
def test_a_wrong_answer_of_lag_stops_the_engine_with_a_sentence(answer: Any) -> None:
    """A drain would end too soon, or never."""
    wrong = type("Wrong", (Wrong,), {"answers": {"lag": answer}})

    with pytest.raises(ConnectorError, match=r"queue 'in'.*lag returned .*how many messages wait, or None; .*a bug of"):
        drain(EngineFixture().engine(lambda _: None, source=Source([b"1"]).queue(consumer=wrong)))
    assert lag_problem(None) is lag_problem(0) is None


def test_a_wrong_answer_of_transact_is_a_sentence() -> None:
    """Whatever is in it."""
    outputs = [[Record(b"a")]]
    error = ProduceError("no", retriable=False)
    wrong: list[Any] = [
        None,
        Transacted(lost=None),  # type: ignore[arg-type]
        Transacted(lost=[QueueMessage(2, b"other")]),
        Transacted(refused=[error]),  # type: ignore[list-item]
        Transacted(refused=[Refusal(0, 1, error)]),
        Transacted(refused=[Refusal(1, 0, error)]),
    ]
    assert all((transact_problem(each, [ONE], outputs) or "").startswith("transact") for each in wrong)
    for right in (Transacted(), Transacted(lost=[ONE]), Transacted(refused=[Refusal(0, 0, error)])):
        assert transact_problem(right, [ONE], outputs) is None


@pytest.mark.parametrize("answer", [[ONE], "text", 7, generated()], ids=lambda each: type(each).__name__)
def test_a_wrong_answer_of_a_class_for_one_message_stops_the_engine_with_a_sentence(answer: Any) -> None:
    """Which answers with one message, or None."""

    class One(Foreign):
        def consume(self) -> Any:
            return answer

        def on_success(self, message_context: Any) -> None: ...

        on_fail = on_success

        def shutdown(self) -> None: ...

    queue = QueueConfig(name="in", consumer=One, config={"table": Table()})
    with pytest.raises(ConnectorError, match=r"One\.consume\(\) returned a .*must return a penstock.QueueMessage, or"):
        drain(EngineFixture().engine(lambda _: None, source=queue))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "backlog returned None instead of a Backlog"),
        (7, "backlog returned 7 instead of a Backlog"),
        (Backlog(waiting=-1), "backlog returned -1 as waiting"),
        (Backlog(delayed=True), "backlog returned True as delayed"),
        (Backlog(in_flight=1.5), "backlog returned 1.5 as in_flight"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_count_is_told(answer: Any, problem: str) -> None:
    """Before a person takes it for the truth."""
    assert problem in str(backlog_problem(answer))
    assert backlog_problem(Backlog(0, None, 3)) is None
