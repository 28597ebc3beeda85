"""The ledger is tried itself: it names what is lost, doubled, wrongly rejected or altered, and passes what is right."""

from __future__ import annotations

import json

import pytest

from tests.chaos.ledger import SHARES, Findings, Kind, Ledger, Letter

MESSAGES = 1_000


class Books:
    """A ledger, and queues as they are after a trial in which nothing went wrong."""

    def __init__(self) -> None:
        self.ledger = Ledger(MESSAGES, seed=7)
        good = [sent.serial for sent in self.ledger.messages if not sent.kind.dead_lettered]
        self.outputs = {queue: [output(serial) for serial in good] for queue in ("left", "right")}
        self.letters = [Letter(sent.body, "function") for sent in self.ledger.messages if sent.kind.dead_lettered]

    def serials(self, kind: Kind) -> list[int]:
        """The serial numbers of a kind."""
        return [sent.serial for sent in self.ledger.messages if sent.kind == kind]

    def judge(self) -> Findings:
        """What the ledger finds now; it looks at the order, too."""
        return self.ledger.judge(self.outputs, self.letters, ordered=True)


def output(serial: int) -> bytes:
    """What the worker makes of a message."""
    return json.dumps({"serial": serial}).encode()


@pytest.fixture
def books() -> Books:
    return Books()


def test_what_is_right_has_no_findings(books: Books) -> None:
    """Every message where it belongs, once and in order."""
    assert books.judge() == Findings(MESSAGES, out_of_order=[])


def test_the_same_seed_makes_the_same_messages() -> None:
    """So a broken row can be repeated; another seed hides the bad ones elsewhere."""
    assert Ledger(MESSAGES, 1).messages == Ledger(MESSAGES, 1).messages
    assert Ledger(MESSAGES, 1).messages != Ledger(MESSAGES, 2).messages


def test_there_are_as_many_bad_messages_as_were_asked_for() -> None:
    """The share of each kind is exact, and there is at least one."""
    ledger = Ledger(MESSAGES, 3)
    assert {kind: ledger.expected(kind) for kind in SHARES} == {
        kind: round(share * MESSAGES) for kind, share in SHARES.items()
    }
    assert Ledger(300, 3, {Kind.POISON: 1 / 300}).expected(Kind.POISON) == 1


@pytest.mark.parametrize("queue", ["left", "right"])
@pytest.mark.parametrize("kind", [Kind.HEALTHY, Kind.FLAKY, Kind.POSTPONED])
def test_a_lost_output_is_named(books: Books, queue: str, kind: Kind) -> None:
    """One that is missing in one of two output queues is lost."""
    serial = books.serials(kind)[0]
    books.outputs[queue].remove(output(serial))
    assert books.judge().lost == [serial]


@pytest.mark.parametrize("kind", [Kind.FAILING, Kind.INVALID])
def test_a_lost_dead_letter_is_named(books: Books, kind: Kind) -> None:
    """A bad message that vanished is lost as well."""
    serial = books.serials(kind)[0]
    books.letters = [each for each in books.letters if each.body != books.ledger.messages[serial].body]
    assert books.judge().lost == [serial]


def test_a_doubled_output_is_named(books: Books) -> None:
    """Each copy too many counts; queues beside each other do not add up."""
    first, second = books.serials(Kind.HEALTHY)[:2]
    books.outputs["left"] += [output(first), output(first)]
    books.outputs["right"] += [output(second)]
    assert books.judge().duplicates == [first, first]


def test_a_doubled_dead_letter_is_named(books: Books) -> None:
    """Dead letters are outputs, too."""
    serial = books.serials(Kind.FAILING)[0]
    books.letters.append(Letter(books.ledger.messages[serial].body, "function"))
    assert books.judge().duplicates == [serial]


@pytest.mark.parametrize("made", [False, True], ids=["instead of its output", "beside its output"])
def test_a_healthy_message_in_the_dead_letter_queue_is_named_with_its_stage(books: Books, made: bool) -> None:
    """It is not lost, but it was rejected for another's fault."""
    serial = books.serials(Kind.HEALTHY)[0]
    if not made:
        for bodies in books.outputs.values():
            bodies.remove(output(serial))
    books.letters.append(Letter(books.ledger.messages[serial].body, "delivery"))
    found = books.judge()
    assert (found.wrongly_rejected, found.lost) == ({serial: "delivery"}, [])


def test_a_bad_message_with_an_output_is_named(books: Books) -> None:
    """What fails each time has nothing to send."""
    serial = books.serials(Kind.FAILING)[0]
    books.outputs["left"].append(output(serial))
    assert books.judge().wrongly_accepted == [serial]


def test_a_dead_letter_that_was_altered_is_a_stranger_and_its_message_lost(books: Books) -> None:
    """A dead letter keeps the body byte for byte."""
    serial = books.serials(Kind.INVALID)[0]
    body = books.ledger.messages[serial].body
    books.letters = [Letter(each.body + b" ", each.stage) if each.body == body else each for each in books.letters]
    found = books.judge()
    assert (len(found.strangers), found.lost) == (1, [serial])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"serial": -1}', b'{"serial": 1000}', b'{"serial": "1"}'])
def test_an_output_that_no_program_made_is_a_stranger(books: Books, body: bytes) -> None:
    """Also one that does not parse."""
    books.outputs["left"].append(body)
    assert len(books.judge().strangers) == 1


def test_a_message_that_comes_behind_a_later_one_of_its_key_is_named(books: Books) -> None:
    """What came again after it came in order, and what was tried again, is not."""
    key = books.ledger.messages[books.serials(Kind.HEALTHY)[0]].key
    first, second = [each for each in books.serials(Kind.HEALTHY) if books.ledger.messages[each].key == key][:2]
    books.outputs["left"].append(output(first))
    assert books.judge().out_of_order == []

    for serial in (books.serials(Kind.FLAKY)[0], first):
        books.outputs["right"].remove(output(serial))
        books.outputs["right"].append(output(serial))
    assert books.judge().out_of_order == [first]
    assert second != first


def test_an_order_that_is_not_promised_is_not_judged(books: Books) -> None:
    """None, not an empty list."""
    books.outputs["left"].reverse()
    assert books.ledger.judge(books.outputs, books.letters).out_of_order is None
