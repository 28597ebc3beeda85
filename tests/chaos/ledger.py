"""The ledger: what was sent, what must become of each message, and what did. It knows nothing of Penstock."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

KEYS = 32  # keys that the messages share; on Kafka each stays in its partition
MOST_FAILURES = 2  # of a flaky message; one less than the attempts that a worker makes


class Kind(StrEnum):
    """What a message does to the function that gets it."""

    HEALTHY = "healthy"
    FLAKY = "flaky"
    """Its first calls raise."""
    POSTPONED = "postponed"
    """Its first call raises `Retry`."""
    FAILING = "failing"
    """Each call raises."""
    INVALID = "invalid"
    """Its body does not parse."""
    POISON = "poison"
    """Each call ends the process."""

    @property
    def dead_lettered(self) -> bool:
        """Whether it belongs into the dead-letter queue; all others belong into every output queue."""
        return self in (Kind.FAILING, Kind.INVALID, Kind.POISON)


SHARES: Mapping[Kind, float] = {
    Kind.FLAKY: 0.02,
    Kind.POSTPONED: 0.005,
    Kind.FAILING: 0.005,
    Kind.INVALID: 0.005,
}
"""How many of the messages are of a kind; the rest is healthy."""


@dataclass(frozen=True)
class Sent:
    """A message as it was sent: the body is what a dead letter of it must hold, byte for byte."""

    serial: int
    kind: Kind
    key: bytes
    body: bytes


@dataclass(frozen=True)
class Letter:
    """A dead letter as a raw client has read it; `stage` is what its header says."""

    body: bytes
    stage: str = ""


@dataclass
class Findings:
    """What the ledger found.

    Attributes:
        sent: Messages sent.
        lost: Serials that have neither output nor dead letter.
        duplicates: Serials that came more than once, each as often as it came too often: in the worst output queue, and
            in the dead-letter queue.
        wrongly_rejected: Serial → stage of its dead letter, for messages that are not bad.
        wrongly_accepted: Serials of bad messages that have an output.
        strangers: Outputs and dead letters that are not what was sent, in words.
        out_of_order: Serials that came behind a later one of their key. None: no order is promised.
    """

    sent: int
    lost: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    wrongly_rejected: dict[int, str] = field(default_factory=dict)
    wrongly_accepted: list[int] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    out_of_order: list[int] | None = None


class Ledger:
    """Makes the messages of a round and judges what became of them.

    Args:
        messages: How many.
        seed: The same seed makes the same messages.
        shares: How many are of which kind; exactly so many, at places that the seed decides.
    """

    def __init__(self, messages: int, seed: int, shares: Mapping[Kind, float] = SHARES) -> None:
        chance = random.Random(seed)
        kinds = [kind for kind, share in shares.items() for _ in range(max(1, round(share * messages)))]
        kinds += [Kind.HEALTHY] * (messages - len(kinds))
        chance.shuffle(kinds)
        self.messages = [_make(serial, kind, chance) for serial, kind in enumerate(kinds)]

    def expected(self, kind: Kind) -> int:
        """How many are of a kind."""
        return sum(sent.kind == kind for sent in self.messages)

    def judge(
        self, outputs: Mapping[str, Sequence[bytes]], letters: Sequence[Letter], ordered: bool = False
    ) -> Findings:
        """Compare what was read with what was sent.

        Args:
            outputs: The bodies in each output queue, in the order of the queue.
            letters: What is in the dead-letter queue.
            ordered: Whether the outputs of a key must come in the order in which its messages were sent.
        """
        found = Findings(len(self.messages))
        rejected = self._read_letters(letters, found)
        accepted = {queue: self._read_outputs(queue, bodies, found) for queue, bodies in outputs.items()}
        counts = {queue: Counter(serials) for queue, serials in accepted.items()}
        for sent in self.messages:
            if sent.kind.dead_lettered:
                complete = sent.serial in rejected
                if any(sent.serial in each for each in counts.values()):
                    found.wrongly_accepted.append(sent.serial)
            else:
                complete = all(sent.serial in each for each in counts.values()) or sent.serial in rejected
                if sent.serial in rejected:
                    found.wrongly_rejected[sent.serial] = rejected[sent.serial]
            if not complete:
                found.lost.append(sent.serial)
        worst = max((_too_often(each) for each in counts.values()), key=len, default=[])
        found.duplicates = sorted(worst + _too_often(self._letter_counts))
        if ordered:
            found.out_of_order = sorted({late for serials in accepted.values() for late in self._late(serials)})
        return found

    def _read_letters(self, letters: Sequence[Letter], found: Findings) -> dict[int, str]:
        by_body = {sent.body: sent.serial for sent in self.messages}
        stages: dict[int, str] = {}
        self._letter_counts: Counter[int] = Counter()
        for letter in letters:
            serial = by_body.get(letter.body)
            if serial is None:
                found.strangers.append(f"a dead letter of {len(letter.body)} bytes that no program sent like this")
            else:
                stages[serial] = letter.stage or "?"
                self._letter_counts[serial] += 1
        return stages

    def _read_outputs(self, queue: str, bodies: Sequence[bytes], found: Findings) -> list[int]:
        serials = []
        for body in bodies:
            try:
                serial = json.loads(body)["serial"]
                known = isinstance(serial, int) and 0 <= serial < len(self.messages)
            except (ValueError, LookupError, TypeError):
                known = False
            if known:
                serials.append(serial)
            else:
                found.strangers.append(f"an output of {len(body)} bytes in {queue} that no program made")
        return serials

    def _late(self, serials: Sequence[int]) -> list[int]:
        """Healthy messages whose first output stands behind that of a later one of their key."""
        latest: dict[bytes, int] = {}
        seen: set[int] = set()
        late = []
        for serial in serials:
            sent = self.messages[serial]
            # What is tried again is overtaken on purpose, and what comes again was judged when it came first.
            if sent.kind != Kind.HEALTHY or serial in seen:
                continue
            seen.add(serial)
            if serial < latest.get(sent.key, -1):
                late.append(serial)
            latest[sent.key] = max(serial, latest.get(sent.key, -1))
        return late


def _make(serial: int, kind: Kind, chance: random.Random) -> Sent:
    fails = chance.randint(1, MOST_FAILURES)
    body = json.dumps({"serial": serial, "kind": kind, "fails": fails}).encode()
    if kind is Kind.INVALID:
        body = body[:-2]
    return Sent(serial, kind, b"key-%d" % chance.randrange(KEYS), body)


def _too_often(counts: Counter[int]) -> list[int]:
    return [serial for serial, count in counts.items() for _ in range(count - 1)]
