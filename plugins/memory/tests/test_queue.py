"""The rules of a queue, by a clock that the test sets."""

from __future__ import annotations

import threading

import pytest

from penstock.message import QueueMessage, Record
from penstock_memory.queue import Lessee, Queue


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue("q", clock, lambda: 1_700_000_000.5)


@pytest.fixture
def lessee(queue: Queue) -> Lessee:
    return queue.new_lessee(lease=10.0)


def fill(queue: Queue, bodies: str, **more: object) -> None:
    queue.append([Record(letter.encode(), **more) for letter in bodies])


def text(messages: list[QueueMessage]) -> str:
    return b"".join(message.message or b"" for message in messages).decode()


def tokens(messages: list[QueueMessage]) -> list[int]:
    return [message.message_context for message in messages]


class TestContent:
    def test_everything_comes_back_byte_for_byte(self, queue: Queue, lessee: Lessee) -> None:
        """Body, key, repeated and binary headers arrive as they were; the rest says when and where."""
        headers = [("a", b"1"), ("a", b"\x00\xff"), ("ü", b"")]

        queue.append([Record(b"\x00\xff", key=b"\xfe", headers=headers)])
        (message,) = lessee.receive(1)

        assert (message.message, message.key, list(message.headers)) == (b"\x00\xff", b"\xfe", headers)
        assert (message.timestamp, message.attempts, message.position) == (1_700_000_000.5, 1, "1")

    def test_a_tombstone_is_not_an_empty_body(self, queue: Queue, lessee: Lessee) -> None:
        """None stays None and empty stays empty."""
        queue.append([Record(None), Record(b"")])

        assert [message.message for message in lessee.receive(2)] == [None, b""]

    def test_what_the_producer_does_to_its_headers_afterwards_does_not_reach_the_message(
        self, queue: Queue, lessee: Lessee
    ) -> None:
        """Headers are copied when they are stored."""
        headers = [("a", b"1")]
        queue.append([Record(b"x", headers=headers)])
        headers.append(("b", b"2"))

        assert list(lessee.receive(1)[0].headers) == [("a", b"1")]

    def test_what_one_attempt_does_to_a_message_does_not_reach_the_next(self, queue: Queue, lessee: Lessee) -> None:
        """Each delivery is a message of its own."""
        fill(queue, "a")
        (first,) = lessee.receive(1)
        first.message = b"spoilt"
        lessee.requeue(tokens([first]))

        assert text(lessee.receive(1)) == "a"


class TestOrder:
    def test_messages_come_in_the_order_they_were_produced(self, queue: Queue, lessee: Lessee) -> None:
        """Over several appends and receives."""
        fill(queue, "abc")
        fill(queue, "def")

        assert [text(lessee.receive(2)) for _ in range(4)] == ["ab", "cd", "ef", ""]

    def test_a_message_requeued_comes_before_every_younger_one_not_yet_delivered(
        self, queue: Queue, lessee: Lessee
    ) -> None:
        """So the order of its key is kept across a failure."""
        fill(queue, "abcdef")
        a, b, c = lessee.receive(3)
        lessee.settle(tokens([b]))
        lessee.requeue(tokens([c]))
        lessee.requeue(tokens([a]))

        assert text(lessee.receive(9)) == "acdef"

    def test_a_message_whose_lease_ends_takes_its_place_again(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """As if it had been requeued."""
        fill(queue, "abcd")
        lessee.receive(2)
        clock.now += 10.0

        assert text(lessee.receive(9)) == "abcd"

    def test_a_delay_is_a_permission_to_be_overtaken(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """A message held back lets others pass, and takes its place when its time has come."""
        fill(queue, "ab")
        lessee.requeue(tokens(lessee.receive(1)), delay=5.0)
        assert text(lessee.receive(1)) == "b"
        fill(queue, "c")
        clock.now += 5.0

        assert text(lessee.receive(9)) == "ac"


class TestLeases:
    def test_a_message_has_one_lessee_at_a_time(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """Until the last moment of its lease no other consumer sees it; then the attempt counts as made."""
        other = queue.new_lessee(10.0)
        fill(queue, "a")
        lessee.receive(1)
        clock.now += 9.999
        assert other.receive(1) == []
        clock.now += 0.001

        assert [message.attempts for message in other.receive(1)] == [2]

    def test_a_late_settlement_leaves_the_new_owners_message_alone(
        self, queue: Queue, lessee: Lessee, clock: Clock
    ) -> None:
        """The first delivery's token is worth nothing once the second delivery exists."""
        other = queue.new_lessee(10.0)
        fill(queue, "a")
        late = tokens(lessee.receive(1))
        clock.now += 10.0
        current = tokens(other.receive(1))

        assert (lessee.settle(late), lessee.requeue(late), lessee.extend(late)) == (1, 1, 1)
        assert other.receive(1) == []
        assert (other.settle(current), queue.depth()) == (0, 0)

    def test_a_settlement_after_the_lease_is_late_although_the_message_was_not_taken(
        self, queue: Queue, lessee: Lessee, clock: Clock
    ) -> None:
        """What is late depends on the clock alone."""
        fill(queue, "a")
        late = tokens(lessee.receive(1))
        clock.now += 10.0

        assert lessee.settle(late) == 1
        assert text(lessee.receive(1)) == "a"

    def test_no_consumer_settles_with_the_token_of_another(self, queue: Queue, lessee: Lessee) -> None:
        """A token is valid in the hands of the one it was given to."""
        other = queue.new_lessee(10.0)
        fill(queue, "a")
        token = tokens(lessee.receive(1))

        assert other.settle(token) == 1
        assert lessee.settle(token) == 0

    def test_tokens_of_another_queue_mean_nothing_here(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """Also when it had the same name and as many deliveries, as after the death of a broker."""
        fill(queue, "a")
        token = tokens(lessee.receive(1))
        successor = Queue("q", clock)
        fill(successor, "b")
        heir = successor.new_lessee(10.0)
        heir.receive(1)

        assert heir.settle(token) == 1

    def test_settling_twice_counts_once(self, queue: Queue, lessee: Lessee) -> None:
        """The second time, and the second mention in one call, are late."""
        fill(queue, "ab")
        a, b = tokens(lessee.receive(2))

        assert lessee.settle([a, a]) == 1
        assert lessee.settle([a, b]) == 1
        assert queue.depth() == 0

    def test_extending_starts_the_lease_anew(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """A message that is extended in time is never seen by others; its neighbour is."""
        fill(queue, "ab")
        a, _b = tokens(lessee.receive(2))
        for _ in range(5):
            clock.now += 6.0
            assert lessee.extend([a]) == 0

        assert text(queue.new_lessee(10.0).receive(9)) == "b"
        assert lessee.settle([a]) == 0

    def test_lessees_may_have_leases_of_different_length(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """Each lease ends in its own time, whichever began first."""
        short = queue.new_lessee(2.0)
        fill(queue, "abc")
        lessee.receive(1)
        short.receive(1)
        clock.now += 2.0
        assert text(queue.new_lessee(100.0).receive(9)) == "bc"
        clock.now += 8.0

        assert text(short.receive(9)) == "a"

    def test_a_lessee_that_closes_gives_everything_back_and_gets_nothing_more(
        self, queue: Queue, lessee: Lessee
    ) -> None:
        """Its tokens are late from then on."""
        fill(queue, "abc")
        held = tokens(lessee.receive(2))
        lessee.close()
        lessee.close()

        assert (lessee.settle(held), lessee.receive(9)) == (2, [])
        assert text(queue.new_lessee(10.0).receive(9)) == "abc"


class TestDelay:
    def test_a_record_is_held_back_for_its_delay(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """Not a moment less."""
        fill(queue, "a", delay=5.0)
        clock.now += 4.999
        assert lessee.receive(1) == []
        clock.now += 0.001

        assert text(lessee.receive(1)) == "a"


class TestCounting:
    def test_lag_counts_what_no_consumer_holds(self, queue: Queue, lessee: Lessee, clock: Clock) -> None:
        """Visible or held back by a delay, but not in flight; what falls back from a lease counts again."""
        fill(queue, "abcd")
        fill(queue, "e", delay=60.0)
        assert queue.lag() == 5
        held = tokens(lessee.receive(3))
        assert queue.lag() == 2
        lessee.settle(held[:1])
        assert (queue.lag(), queue.depth()) == (2, 4)
        clock.now += 10.0

        assert (queue.lag(), queue.depth()) == (4, 4)

    def test_a_full_queue_takes_the_first_records_as_far_as_there_is_room(self, queue: Queue, lessee: Lessee) -> None:
        """Messages in flight count: only settling makes room."""
        records = [Record(letter.encode()) for letter in "abcde"]
        assert queue.append(records, max_length=3) == 3
        held = tokens(lessee.receive(3))
        assert queue.append(records[3:], max_length=3) == 0
        lessee.settle(held[:1])

        assert queue.append(records[3:], max_length=3) == 1
        assert text(lessee.receive(9)) == "d"


class TestWaking:
    @pytest.mark.parametrize("event", ["append", "requeue", "close"])
    def test_a_consumer_that_found_nothing_is_woken_once(self, queue: Queue, lessee: Lessee, event: str) -> None:
        """By each event that makes a message visible; the next event wakes only consumers that looked again."""
        calls: list[str] = []
        fill(queue, "a")
        held = tokens(lessee.receive(1))
        waiter = queue.new_lessee(10.0)
        assert waiter.receive(1, lambda: calls.append("woken")) == []
        {
            "append": lambda: fill(queue, "b"),
            "requeue": lambda: lessee.requeue(held),
            "close": lessee.close,
        }[event]()
        fill(queue, "c")

        assert calls == ["woken"]

    def test_a_consumer_that_gave_up_is_not_woken(self, queue: Queue, lessee: Lessee) -> None:
        """A waiter that gives up takes its wish back."""
        calls: list[str] = []

        def wake() -> None:
            calls.append("woken")

        lessee.receive(1, wake)
        queue.forget(wake)
        fill(queue, "a")

        assert calls == []

    def test_settling_wakes_a_producer_that_waits_for_room(self, queue: Queue, lessee: Lessee) -> None:
        """Once."""
        calls: list[str] = []
        fill(queue, "ab")
        queue.append([Record(b"c")], max_length=2, wake=lambda: calls.append("woken"))
        for token in tokens(lessee.receive(2)):
            lessee.settle([token])

        assert calls == ["woken"]

    def test_a_queue_knows_when_something_may_become_visible_by_itself(
        self, queue: Queue, lessee: Lessee, clock: Clock
    ) -> None:
        """The next end of a delay or of a lease, in seconds; infinity if there is none; 0 if it is past."""
        assert queue.next_visible_in() == float("inf")
        fill(queue, "a", delay=25.0)
        assert queue.next_visible_in() == 25.0
        fill(queue, "b")
        lessee.receive(1)
        assert queue.next_visible_in() == 10.0
        clock.now += 30.0

        assert queue.next_visible_in() == 0.0


def test_a_hundred_thousand_deliveries_leave_nothing_behind(queue: Queue, lessee: Lessee) -> None:
    """Memory is that of the messages there are: settled ones are in no list, also while their lease would run."""
    for _ in range(100):
        queue.append([Record(b"x") for _ in range(1000)])
        lessee.settle(tokens(lessee.receive(1000)))
    left = [value for thing in (queue, lessee) for value in vars(thing).values() if hasattr(value, "__len__")]

    assert sum(len(value) for value in left if value != "q" and value != {lessee}) == 0


def test_threads_share_a_queue_without_losing_or_doubling_a_message() -> None:
    """Two threads append, two consume and settle or requeue; each message is settled exactly once."""
    queue, total, settled, guard = Queue("q"), 4000, [], threading.Lock()

    def produce(first: int) -> None:
        for number in range(first, total, 2):
            queue.append([Record(str(number).encode())])

    def consume() -> None:
        lessee = queue.new_lessee(60.0)
        while len(settled) < total:
            messages = lessee.receive(7)
            done, back = messages[1:], messages[:1]
            if back and back[0].attempts > 1:
                done, back = messages, []
            with guard:
                settled.extend(int(message.message or b"-1") for message in done)
            assert lessee.settle(tokens(done)) + lessee.requeue(tokens(back)) == 0

    threads = [threading.Thread(target=produce, args=(first,)) for first in (0, 1)]
    threads += [threading.Thread(target=consume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(settled) == list(range(total))
    assert queue.depth() == 0
