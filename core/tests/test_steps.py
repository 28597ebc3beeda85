"""What a function may return, and what becomes of it; told by running it between queues in memory."""

from __future__ import annotations

from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, out
from core.tests.scripted import BareConsumer, BareProducer, Sink, Source
from pydantic import BaseModel

from penstock.dead_letters import read
from penstock.envelope import wrap
from penstock.message import QueueMessage, Record
from penstock.routing import Output

# -- nothing, and everything that means "done"


@pytest.mark.parametrize("result", [None, True, [], ()], ids=repr)
def test_nothing_to_send_is_done(stand: EngineFixture, result: Any) -> None:
    """None, True, an empty list or tuple: the message is settled, nothing is sent."""
    stand.numbers(3)

    drain(stand.engine(lambda _: result))

    assert (out(stand), stand.bodies("in")) == ([], [])


def test_false_gives_the_message_back_and_it_comes_again(stand: EngineFixture) -> None:
    """False: not settled, nothing sent; the next delivery counts one attempt more, and others are not held up."""
    seen: list[tuple[int, int]] = []

    def function(number: int, msg_ctx: QueueMessage) -> bool:
        seen.append((number, msg_ctx.attempts))
        return number != 1 or msg_ctx.attempts == 4

    stand.numbers(3)

    drain(stand.engine(function))

    assert sorted(seen) == [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    assert stand.bodies("in") == []


def test_false_is_never_dead_lettered(stand: EngineFixture) -> None:
    """Requeueing is the function's own word, not a failure: more often than max_attempts, and no dead letter."""
    stand.numbers(1)
    attempts: list[int] = []

    def function(number: int, msg_ctx: QueueMessage) -> bool:
        attempts.append(msg_ctx.attempts)
        return len(attempts) == 6

    drain(stand.engine(function, dead_letters=True))

    assert (attempts, stand.take("dead")) == ([1, 2, 3, 4, 5, 6], [])


# -- outputs


@pytest.mark.parametrize(
    ("returned", "sent"),
    [
        (("out", {"a": 1}), [{"a": 1}]),
        ([("out", 1), ("out", 2)], [1, 2]),
        ((("out", 1), ("out", 2)), [1, 2]),
        (("out", [1, 2]), [[1, 2]]),
        (("out", None), [None]),
        (Output("out", 1), [1]),
        ([Output("out", 1), ("out", 2)], [1, 2]),
        ((Output("out", 1), Output("out", 2)), [1, 2]),
        (("out", 1, {}), [1]),
        (("out", 1, None), [1]),
        ([("out", 1, {"headers": {"h": "v"}})], [1]),
    ],
    ids=repr,
)
def test_each_legal_shape_is_sent(stand: EngineFixture, returned: Any, sent: list[Any]) -> None:
    """A pair, a triple, an Output, lists and tuples of them."""
    stand.numbers(1)

    drain(stand.engine(lambda _: returned))

    assert (out(stand), stand.bodies("in")) == (sent, [])


@pytest.mark.parametrize("headers", [[], [("traceparent", b"t")]], ids=["plain", "traced"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_each_of_a_batchs_outputs_goes_to_its_own_queue(stand: EngineFixture, is_async: bool, headers: Any) -> None:
    """Calls of one batch that return a pair, nothing, and outputs for several queues: each queue gets its own, in
    order, with the headers of its input."""

    def sync(number: int) -> Any:
        pair = ("out", number)
        return [pair, None, ("other", number), [("other", number), pair], Output("out", number), [pair]][number % 6]

    async def asynchronous(number: int) -> Any:
        return sync(number)

    stand.put(*(Record(b"%d" % number, headers=headers) for number in range(12)))

    drain(stand.engine(asynchronous if is_async else sync, ("out", "other")))

    found = {queue: stand.take(queue) for queue in ("out", "other")}
    numbers = {queue: [int(each.message or b"") for each in messages] for queue, messages in found.items()}
    assert numbers == {"out": [0, 3, 4, 5, 6, 9, 10, 11], "other": [2, 3, 8, 9]}
    assert {tuple(each.headers) for messages in found.values() for each in messages} == {tuple(headers)}


def test_a_model_is_sent_as_its_json(stand: EngineFixture) -> None:
    """The output's model handler takes any pydantic model where the queue names no other."""

    class Total(BaseModel):
        amount: float

    stand.numbers(1)

    drain(stand.engine(lambda _: ("out", Total(amount=2))))

    assert out(stand) == [{"amount": 2.0}]


def test_an_annotation_is_the_data_model(stand: EngineFixture) -> None:
    """The function's own annotation says what a body is built to."""

    class Order(BaseModel):
        amount: float

    def function(order: Order) -> tuple[str, float]:
        return "out", order.amount * 2

    function.__annotations__["order"] = Order  # the class is local, so its name means nothing to get_type_hints
    stand.put(b'{"amount": 21}')

    drain(stand.engine(function))

    assert out(stand) == [42.0]


def test_a_triples_options_reach_the_record(stand: EngineFixture) -> None:
    """("queue", obj, {"key", "headers", "delay"}): the words of Output."""
    stand.numbers(1)

    drain(stand.engine(lambda _: ("out", 1, {"key": "k", "headers": {"h": "v"}})))

    [message] = stand.take("out")
    assert (message.key, message.headers) == (b"k", (("h", b"v"),))


def test_an_outputs_key_and_headers_reach_the_record(stand: EngineFixture) -> None:
    """Text becomes UTF-8; header names may repeat, and keep their order."""
    stand.numbers(1)
    headers = [("b", b"\x00\xff"), ("a", "ä"), ("b", "2")]

    drain(stand.engine(lambda _: Output("out", 1, key="schlüssel", headers=headers)))

    [message] = stand.take("out")
    assert message.key == "schlüssel".encode()
    assert list(message.headers) == [("b", b"\x00\xff"), ("a", "ä".encode()), ("b", b"2")]


def test_an_outputs_delay_and_further_keywords_reach_the_connector(stand: EngineFixture) -> None:
    """What is not of our words is handed on by its own name."""
    sink = Sink()
    stand.numbers(1)

    drain(stand.engine(lambda _: Output("out", 1, delay=2.5, partition=3), targets=[sink.queue()]))

    [record] = sink.stored
    assert (record.delay, record.options) == (2.5, {"partition": 3})


def test_a_delayed_output_is_delivered_later_and_waited_for_by_a_drain(stand: EngineFixture) -> None:
    """In memory a delay holds a message back; two engines in a row drain all the same."""
    seen: list[int] = []
    stand.numbers(1)
    first = stand.engine(lambda _: Output("out", 7, delay=0.3), app_name="first")
    second = stand.engine(seen.append, [], app_name="second", input_queue="out", source=stand.memory("out"))

    drain(first, second)

    assert seen == [7]


def test_the_input_queues_own_name_is_no_output(stand: EngineFixture) -> None:
    """An engine sends only where it says it does, also to itself."""
    stand.numbers(1)

    drain(stand.engine(lambda _: ("in", 1), dead_letters=True))

    assert read(stand.take("dead")[0]).error_text.count("not an output queue of this engine") == 1


# -- keys


def test_a_key_is_inherited_where_both_queues_have_keys(stand: EngineFixture) -> None:
    """What was in order by key stays in order by key."""
    stand.put(Record(b"1", key=b"k"), Record(b"2"))

    drain(stand.engine(lambda message: [("out", message), Output("out", message)]))

    assert [message.key for message in stand.take()] == [b"k", b"k", None, None]


def test_a_key_of_its_own_replaces_the_inherited_one(stand: EngineFixture) -> None:
    """`key=` wins; `key=None` sends none."""
    stand.put(Record(b"1", key=b"k"))

    drain(stand.engine(lambda _: [Output("out", 1, key=b"x"), Output("out", 2, key=None)]))

    assert [message.key for message in stand.take()] == [b"x", None]


def test_a_key_is_not_inherited_by_a_queue_without_keys(stand: EngineFixture) -> None:
    """Such a backend gets the body as it is, not an envelope around it for a key that was not asked for."""
    sink = Sink()
    stand.put(Record(b"1", key=b"k"))

    drain(stand.engine(lambda message: ("out", message), targets=[sink.queue(producer=BareProducer)]))

    assert [(record.message, record.key) for record in sink.stored] == [(b"1", None)]


# -- what is not legal


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("text", "the function returned a str; it may return None or True (done), False (requeue the message), "
                 "an Output, (queue, object), (queue, object, {options}), or a list of those"),
        (7, "the function returned an int; it may return"),
        ({"out": 1}, "the function returned a dict; it may return"),
        (object(), "the function returned an object; it may return"),
        (["out", 1], "the function's result holds a str, which is not an output"),
        ([("out",)], "the function's result holds a tuple of 1 (str), which is not an output"),
        ([("out", 1, 2)], "the function's result holds a tuple of 3 (str, int, int), which is not an output"),
        ([None], "the function's result holds a NoneType, which is not an output"),
        (("nowhere", 1), "the function returned an output for 'nowhere', which is not an output queue of this engine "
                         "(it has: 'out', 'dead'); add it to output_queues"),
        ([Output("nowhere", 1)], "the function returned an output for 'nowhere', which is not an output queue"),
        (("out", object()), "PydanticSerializationError"),
        (("out", 1, {"queue": "x"}), "'queue' and 'obj' are not producer options"),
        (("out", 1, {"delay": -1}), "a delay is in seconds and cannot be negative"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_is_no_legal_result_is_named_and_sends_nothing(stand: EngineFixture, returned: Any, text: str) -> None:
    """A programming error is treated as a failed call: tried again, dead-lettered, with the function's name and why."""
    calls: list[int] = []

    def function(number: int) -> Any:
        calls.append(number)
        return returned if number == 1 else ("out", number)

    stand.numbers(3)

    drain(stand.engine(function, dead_letters=True))

    [letter] = stand.take("dead")
    said = read(letter)
    assert (letter.message, said.stage, said.error_type, said.attempts) == (b"1", "output", "FunctionError", 3)
    assert said.error_text.startswith(f"{function.__qualname__}: ")
    assert text in said.error_text
    assert out(stand) == [0, 2]
    assert calls.count(1) == 3


def test_nothing_of_a_message_is_sent_when_one_of_its_outputs_does_not_encode(stand: EngineFixture) -> None:
    """All outputs of a message are encoded before one is sent; the other messages of its batch go on."""
    stand.numbers(5)

    def function(number: int) -> Any:
        last = object() if number == 2 else number
        return [("out", number), ("more", number), ("out", last)]

    drain(stand.engine(function, ["out", "more"], dead_letters=True))

    assert out(stand) == [0, 0, 1, 1, 3, 3, 4, 4]
    assert out(stand, "more") == [0, 1, 3, 4]
    (letter,) = map(read, stand.take("dead"))
    assert letter.record.message == b"2"
    assert "function: an output for queue 'out': PydanticSerializationError: " in letter.error_text


def test_nothing_of_a_batch_is_sent_when_one_of_its_outputs_does_not_encode(stand: EngineFixture) -> None:
    """A batch function's outputs belong to the whole batch."""
    stand.numbers(3)

    def function(numbers: list[int]) -> Any:
        return [*(("out", number) for number in numbers), ("out", object())]

    drain(stand.engine(function, source=stand.memory("in", batch=True), dead_letters=True))

    assert (out(stand), stand.bodies("dead")) == ([], [b"0", b"1", b"2"])


def test_an_output_that_its_queues_data_model_refuses_is_not_sent(stand: EngineFixture) -> None:
    """What leaves is validated as what comes in is."""

    class Total(BaseModel):
        amount: int

    stand.numbers(1)
    target = stand.memory("out", data_model=Total)

    drain(stand.engine(lambda _: ("out", {"amount": "many"}), targets=[target], dead_letters=True))

    said = read(stand.take("dead")[0])
    assert (out(stand), said.stage) == ([], "output")
    assert "amount" in said.error_text
    assert "many" not in said.error_text


def test_a_delay_is_refused_for_a_connector_that_cannot_delay(stand: EngineFixture) -> None:
    """Sent at once it would come too early, so it is not sent at all, and the error says what to do."""
    sink = Sink()
    stand.numbers(1)

    drain(
        stand.engine(
            lambda _: Output("out", 1, delay=5),
            targets=[sink.queue(producer=BareProducer)],
            dead_letters=True,
        )
    )

    said = read(stand.take("dead")[0])
    assert sink.stored == []
    assert said.error_text.endswith(
        "an output for queue 'out', BareProducer has delay=5, but connector 'BareProducer' has no 'record_delay'; "
        "leave it out, or use a connector that has it"
    )


def test_a_key_and_headers_for_a_backend_that_has_none_travel_in_an_envelope(stand: EngineFixture) -> None:
    """What the function says explicitly is not lost: an input of such a backend opens the envelope again."""
    sink = Sink()
    stand.numbers(1)

    drain(
        stand.engine(
            lambda _: Output("out", 1, key=b"k", headers={"h": "v"}),
            targets=[sink.queue(producer=BareProducer)],
        )
    )

    [record] = sink.stored
    assert (record.key, record.headers) == (None, ())
    seen: list[tuple[Any, ...]] = []

    def second(number: int, msg_ctx: QueueMessage) -> None:
        seen.append((number, msg_ctx.key, list(msg_ctx.headers)))

    drain(stand.engine(second, [], source=Source([record.message]).queue(consumer=BareConsumer)))

    assert seen == [(1, b"k", [("h", b"v")])]


def test_an_envelope_is_opened_once_for_each_attempt_and_the_connectors_message_stays(stand: EngineFixture) -> None:
    """A body that itself begins like an envelope comes back whole, also when the first attempt failed."""
    body = wrap(Record(b"1", b"inner"))
    stored = wrap(Record(body, b"outer"))
    source = Source([stored])
    seen: list[tuple[Any, ...]] = []

    def fails_once(body: bytes, msg_ctx: QueueMessage) -> None:
        seen.append((body, msg_ctx.key, msg_ctx.attempts))
        if msg_ctx.attempts == 1:
            raise ValueError

    queue = source.queue(consumer=BareConsumer, serializer=None, model_handler=None)
    drain(stand.engine(fails_once, [], source=queue))

    assert seen == [(body, b"outer", 1), (body, b"outer", 2)]
    assert source.settled() == [stored]


def test_raw_bytes_pass_untouched(stand: EngineFixture) -> None:
    """Both stages off: the function gets the bytes, and what it returns is the body; a tombstone is None."""
    bodies = [b"", b"\x00\xff", b"plain", None]
    stand.put(*bodies)

    drain(
        stand.engine(
            lambda body: ("out", body),
            source=stand.raw("in"),
            targets=[stand.raw("out")],
        )
    )

    assert stand.bodies() == bodies


def test_an_output_without_a_serializer_must_be_bytes(stand: EngineFixture) -> None:
    """Anything else is a programming error that says so."""
    stand.numbers(1)

    drain(stand.engine(lambda _: ("out", "text"), targets=[stand.raw("out")], dead_letters=True))

    assert "must be bytes, not str" in read(stand.take("dead")[0]).error_text
