"""Any sequence of calls and passing time, compared with a model that is slow and obvious."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.message import QueueMessage, Record
from penstock_memory.queue import Queue

LEASES = (5.0, 7.0, 11.0)


@dataclass
class Modelled:
    """One message as the model sees it.

    `lessee` is the index of who holds it, `token` the valid one, `until` the end of lease or delay.
    """

    number: int
    attempts: int = 0
    lessee: int | None = None
    token: int | None = None
    until: float = 0.0


class QueueMachine(RuleBasedStateMachine):
    """No message is lost, none has two lessees, settling is fenced, and the order is that of the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = Queue("q", lambda: self.now, lambda: 0.0)
        self.lessees = [self.queue.new_lessee(lease) for lease in LEASES]
        self.model: dict[int, Modelled] = {}
        self.produced = 0
        self.tokens: list[tuple[int, int]] = []  # every one ever given: lessee, token

    def turn(self) -> None:
        for message in self.model.values():
            if message.lessee is not None and message.until <= self.now:
                message.lessee = message.token = None

    def visible(self) -> list[Modelled]:
        self.turn()
        ready = [m for m in self.model.values() if m.lessee is None and m.until <= self.now]
        return sorted(ready, key=lambda m: m.number)

    def held_by(self, lessee: int, token: int) -> Modelled | None:
        self.turn()
        return next((m for m in self.model.values() if m.lessee == lessee and m.token == token), None)

    @rule(delays=st.lists(st.sampled_from([0.0, 0.0, 0.0, 3.0, 8.0]), min_size=1, max_size=5))
    def append(self, delays: list[float]) -> None:
        records = []
        for delay in delays:
            self.produced += 1
            self.model[self.produced] = Modelled(self.produced, until=self.now + delay if delay else self.now)
            records.append(Record(str(self.produced).encode(), delay=delay))
        assert self.queue.append(records) == len(records)

    @rule(lessee=st.integers(0, 2), count=st.integers(1, 6))
    def receive(self, lessee: int, count: int) -> None:
        expected = self.visible()[:count]
        messages: list[QueueMessage] = self.lessees[lessee].receive(count)
        assert [int(m.message or b"0") for m in messages] == [m.number for m in expected]
        for message, modelled in zip(messages, expected, strict=True):
            modelled.attempts += 1
            modelled.lessee, modelled.token = lessee, message.message_context
            modelled.until = self.now + LEASES[lessee]
            assert message.attempts == modelled.attempts
            assert (lessee, message.message_context) not in self.tokens
            self.tokens.append((lessee, message.message_context))

    @rule(data=st.data(), what=st.sampled_from(["settle", "requeue", "requeue later", "extend"]))
    def use_some_tokens(self, data: st.DataObject, what: str) -> None:
        """Valid ones and old ones alike."""
        if not self.tokens:
            return
        lessee = data.draw(st.integers(0, 2))
        known = [token for _lessee, token in self.tokens[-12:]]
        chosen = data.draw(st.lists(st.sampled_from(known), max_size=4, unique=True))
        valid = [m for token in chosen if (m := self.held_by(lessee, token)) is not None]
        for message in valid:
            if what == "settle":
                del self.model[message.number]
            elif what == "extend":
                message.until = self.now + LEASES[lessee]
            else:
                message.lessee = message.token = None
                message.until = self.now + (4.0 if what == "requeue later" else 0.0)
        real = self.lessees[lessee]
        late = {
            "settle": lambda: real.settle(chosen),
            "extend": lambda: real.extend(chosen),
            "requeue": lambda: real.requeue(chosen),
            "requeue later": lambda: real.requeue(chosen, 4.0),
        }[what]()
        assert late == len(chosen) - len(valid)

    @rule(lessee=st.integers(0, 2))
    def die_and_come_back(self, lessee: int) -> None:
        self.lessees[lessee].close()
        self.turn()
        for message in self.model.values():
            if message.lessee == lessee:
                message.lessee = message.token = None
                message.until = self.now
        self.lessees[lessee] = self.queue.new_lessee(LEASES[lessee])

    @rule(seconds=st.sampled_from([0.5, 3.0, 5.0, 12.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_lost_and_the_counts_agree(self) -> None:
        self.turn()
        assert self.queue.depth() == len(self.model)
        assert self.queue.lag() == sum(m.lessee is None for m in self.model.values())

    @invariant()
    def a_sleeper_until_the_next_change_oversleeps_nothing(self) -> None:
        self.turn()
        changes = [m.until for m in self.model.values() if m.until > self.now]
        assert self.queue.next_visible_in() <= min(changes, default=float("inf")) - self.now

    def teardown(self) -> None:
        """When every lease and delay has ended, all that was not settled comes, in order."""
        self.now += 1000.0
        rest = self.queue.new_lessee(1.0).receive(10_000)
        assert [int(m.message or b"0") for m in rest] == sorted(self.model)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
