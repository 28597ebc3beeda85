"""What travels: cheap, and silent about its contents."""

from __future__ import annotations

import copy

import pytest

from penstock import message as room
from penstock.message import HEADER_PREFIX, QueueMessage, Record

SECRET = b"4111-1111-1111-1111"


def test_a_message_needs_no_more_than_its_handle_and_its_body() -> None:
    """That is all that the simplest connector has; the rest has defaults that say "unknown" or "none"."""
    message = QueueMessage("handle", b"body")

    assert (message.message_context, message.message) == ("handle", b"body")
    assert (message.key, message.headers, message.timestamp) == (None, (), None)
    assert (message.attempts, message.position) == (1, "")


def test_the_reference_names_work_as_keywords() -> None:
    """`message_context` and `message` are the names of the reference."""
    message = QueueMessage(message_context=7, message=b"body")

    assert (message.message_context, message.message) == (7, b"body")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (QueueMessage(SECRET, SECRET, SECRET, [("h", SECRET)]), "<QueueMessage ?, 19 bytes, attempt 1>"),
        (QueueMessage(None, b"", attempts=3), "<QueueMessage ?, 0 bytes, attempt 3>"),
        (QueueMessage(None, None, position="9"), "<QueueMessage 9, tombstone, attempt 1>"),
        (Record(SECRET, SECRET, [("h", SECRET)], options={"o": SECRET}), "<Record 19 bytes>"),
        (Record(None), "<Record tombstone>"),
    ],
)
def test_a_repr_shows_sizes_and_never_contents(shown: QueueMessage | Record, text: str) -> None:
    """A repr ends in logs; body, key, headers and handle do not belong there."""
    assert repr(shown) == text


@pytest.mark.parametrize("made", [QueueMessage(None, b""), Record(b"")])
def test_neither_has_a_dictionary(made: object) -> None:
    """Hundreds of thousands a second are made: slots only, and a misspelt attribute is an error."""
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.heders = ()  # type: ignore[attr-defined]


class Lazy(QueueMessage):
    """As a connector writes it: the key is taken from the backend's handle on first use."""

    __slots__ = ("asked",)

    def __init__(self, handle: dict[str, bytes]) -> None:
        self.asked = 0
        self.message_context = handle
        self.message = handle["body"]
        self.headers = ()
        self.timestamp, self.attempts, self.position = None, 1, "1"

    @property
    def key(self) -> bytes | None:  # type: ignore[override]
        self.asked += 1
        return self.message_context["key"]


def test_a_connector_may_fill_an_attribute_on_first_use() -> None:
    """A message whose key is not used does not pay for it."""
    message = Lazy({"body": b"b", "key": b"k"})

    assert (message.asked, repr(message)) == (0, "<Lazy 1, 1 bytes, attempt 1>")
    assert (message.key, message.asked) == (b"k", 1)


def test_two_deliveries_of_one_message_are_two_messages() -> None:
    """They are told apart by identity: one may be settled while the other is not."""
    first, second = QueueMessage("1", b"same"), QueueMessage("1", b"same")

    assert first != second
    assert len({first, second}) == 2


def test_every_header_of_ours_bears_the_prefix() -> None:
    """So that a user can tell them from his own, and a proxy can drop them."""
    names = [value for name, value in vars(room).items() if name.isupper() and isinstance(value, str)]

    assert len(names) == 9
    assert all(name.startswith(HEADER_PREFIX) for name in names)
    assert len(set(names)) == 9


class LazyMessage(QueueMessage):
    """As a connector has it: fields that are read on first use, and one of its own that is not filled yet."""

    __slots__ = ("requeued", "token")

    def __init__(self, token: str) -> None:
        self.message_context = "7"
        self.message = b"body"
        self.attempts = 1
        self.token = token

    @property
    def position(self) -> str:  # type: ignore[override]
        return f"q/{self.message_context}"


def test_a_message_of_a_connector_can_be_copied() -> None:
    """For its next attempt: each field that is filled, whether by the connector or by a property."""
    message = LazyMessage("t")
    again = copy.copy(message)
    again.attempts = 2

    assert (again.message, again.token, again.position) == (b"body", "t", "q/7")
    assert (message.attempts, again.attempts) == (1, 2)
    assert not hasattr(again, "requeued")


def test_a_message_of_a_plain_subclass_can_be_copied() -> None:
    """Also with attributes that have no slot."""

    class Plain(QueueMessage):
        extra: int

    message = Plain("7", b"body", key=b"k")
    message.extra = 1
    again = copy.copy(message)

    assert (again.key, again.extra) == (b"k", 1)
