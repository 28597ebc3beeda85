"""Kafka's topics as an input queue by a share group: messages are settled one by one, by any number of workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import ClassVar

from confluent_kafka import AcknowledgeType

from penstock.connectors import BlockingConsumer, Probed
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage
from penstock.timeouts import run_with_timeout
from penstock_kafka.browsing import Browser
from penstock_kafka.errors import describe
from penstock_kafka.options import topics
from penstock_kafka.probing import probe
from penstock_kafka.share_arrivals import Arrivals
from penstock_kafka.share_group import prepare
from penstock_kafka.share_member import ACCEPT, RELEASE, Member, ShareMessage, Terms
from penstock_kafka.share_options import ShareOptions

log = logging.getLogger("penstock.kafka")

LOOK_EVERY = 0.05  # seconds between looks at outages, locks and the members, while nothing comes
IN_A_BACKLOG = 4  # members, of which some are polled while the messages of the others are worked off
HELD_FOR_LONG = 0.5  # seconds that a member holds messages before another one is opened beside it
CLOSE_TIMEOUT = 8.0  # seconds to leave the group with all members


class ShareGroupConsumer(BlockingConsumer):
    """Consumes as one or more members of a share group.

    A member takes nothing new before all that it has is settled. So there are several, opened when they are needed.
    """

    join_successes: ClassVar[bool] = True
    keep_polling: ClassVar[bool] = True  # the client fetches on by itself, and what it has fetched is locked

    def __init__(self, name: str, options: ShareOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self.server = f"Kafka at {options.brokers}"
        self._where = f"{self.server}: share group {options.group_id!r}"
        self._browser = Browser(name, options.for_browsing())
        self._terms = Terms(0.0, 0)
        self._full_poll = int(options.merged_settings("input")["max.poll.records"])
        self._members: list[Member] = []
        self._arrivals = Arrivals()
        self._opened = 0.0
        self._connected = False

    def connect(self) -> None:
        """Check brokers and topics, set the group's configuration, and join."""
        self._terms = Terms(*prepare(self.name, self._options))
        if not self._members:
            self._open_member()
        self._connected = True

    def _open_member(self) -> None:
        names = topics(self.name, "input")
        self._members.append(Member(names, self._options, self._where, self._terms, self._arrivals))
        self._opened = time.monotonic()

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Members that hold nothing are polled, each by its own thread."""
        if not self._connected:
            raise ConnectorError("not connected; call connect() first, and nothing after shutdown()")
        deadline = time.monotonic() + timeout
        with nullcontext() if self._kept_waits() else self._arrivals.wanted():
            while True:
                self._maintain()  # first: what an earlier poll has locked may be locked no longer
                if found := self._arrivals.take(max_messages):
                    return found
                left = min(deadline - time.monotonic(), LOOK_EVERY)
                if left <= 0:
                    return []
                if max_messages and self._needs_more():
                    self._open_member()
                self._arrivals.wait(left, max_messages)

    def _kept_waits(self) -> bool:
        """Whether messages wait here that no other worker gets: with others beside them, they would grow in number."""
        kept = {message for member in self._members for message in list(member.kept)}
        return bool(kept) and self._arrivals.have_any(kept)

    def _needs_more(self) -> bool:
        """Whether another member has work: a backlog, or partitions that wait for what is held for long."""
        if len(self._members) >= self._options.members:
            return False
        if len(self._members) < IN_A_BACKLOG and all(
            member.held and member.polled >= self._full_poll for member in self._members
        ):
            return True
        now = time.monotonic()
        return now - self._opened > HELD_FOR_LONG and any(
            member.held and now - member.since > HELD_FOR_LONG for member in self._members
        )

    def _maintain(self) -> None:
        """Raise what ends consuming, release what is locked no longer, and let members give way."""
        for member in self._members:
            callbacks = member.callbacks
            if callbacks.fatal is not None:
                raise FatalConnectorError(f"{self._where}: {describe(callbacks.fatal)}")
            if callbacks.down:
                callbacks.down = False  # raised once for each outage, because the client reconnects by itself
                raise NotConnected(f"{self._where}: {callbacks.reason('all brokers are down')}")
            self._release_ended(member)
            # Not one that is polled from now on again: a worker that paused would wait until it has joined once more.
            if member.held or self._kept_waits():
                member.give_way()

    def _release_ended(self, member: Member) -> None:
        again, last = member.release_ended()
        if again:
            waiting = self._arrivals.drop(set(again))
            log.warning(
                "%s: the locks of %d messages end after %g s, %d of them before their turn, the first of message %s; "
                "they come again; raise 'share.record.lock.duration.ms' under 'group', or send smaller batches",
                self._where, len(again), self._terms.lock, waiting, again[0].position,
                extra={"position": again[0].position, "count": len(again)},
            )  # fmt: skip
        if last:
            log.warning(
                "%s: the locks of %d messages end after %g s at their last delivery, the first of message %s; no other "
                "worker gets them, so they stay with this one, which takes no others before their turn",
                self._where, len(last), self._terms.lock, last[0].position,
                extra={"position": last[0].position, "count": len(last)},
            )  # fmt: skip

    def _warn_of_dropped(self, messages: Sequence[ShareMessage]) -> None:
        for message in messages:
            if message.attempts >= self._terms.limit:
                log.error(
                    "%s: message %s was delivered %d times, and the brokers deliver it no more; it stays in its topic "
                    "as long as that keeps it", self._where, message.position, message.attempts,
                    extra={"position": message.position},
                )  # fmt: skip

    # -- settling, on a second thread: what a member holds is settled there, and only others are polled

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """See `Consumer.on_success`: each message is accepted by itself."""
        return self._settle(messages, ACCEPT)

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:  # noqa: ARG002
        """Release each message. At its last delivery it is delivered again from here: the brokers would drop it."""
        ours: Sequence[ShareMessage] = messages  # type: ignore[assignment]
        late = self._settle([each for each in ours if each.attempts < self._terms.limit], RELEASE)
        last = [each for each in ours if each.attempts >= self._terms.limit]
        return late + sum(not message.member.deliver_again(message) for message in last)

    def _settle(self, messages: Sequence[QueueMessage], how: AcknowledgeType) -> int:
        ours: Sequence[ShareMessage] = messages  # type: ignore[assignment]
        members = {message.member for message in ours}
        if len(members) == 1:
            return members.pop().settle(ours, how)
        return sum(member.settle([each for each in ours if each.member is member], how) for member in members)

    # -- what tools ask, without joining the group

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """All that the topics keep; see `Consumer.browse`."""
        return self._browser.browse(limit, after)

    def follow(self, timeout: float) -> Sequence[BrowsedMessage]:
        """See `Consumer.follow`."""
        return self._browser.follow(timeout)

    def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return probe(self.name, self._options, "input", group=False)

    def shutdown(self) -> None:
        """Leave the group with all members; the brokers release what is not settled."""
        self._browser.close()
        members, self._members, self._connected = self._members, [], False
        self._warn_of_dropped([message for member in members for message in (*member.held, *member.kept)])
        deadline, late = time.monotonic() + CLOSE_TIMEOUT, 0
        for member in members:
            try:
                run_with_timeout(member.close, max(0.0, deadline - time.monotonic()))
            except TimeoutError:  # it goes on beside us, and polls no more
                late += 1
        if late:
            log.warning("%s: the group was not left in time; it notices by itself", self._where)
        self._arrivals.clear()
