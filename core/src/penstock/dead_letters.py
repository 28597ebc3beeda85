"""Makes a dead letter, and reads it back for replay. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from penstock.errors import MessageError
from penstock.message import (
    APP,
    ATTEMPTS,
    ERROR_STAGE,
    ERROR_TEXT,
    ERROR_TYPE,
    FAILED_AT,
    HEADER_PREFIX,
    ORIGIN_POSITION,
    ORIGIN_QUEUE,
    Headers,
    QueueMessage,
    Record,
)

MESSAGE_ID = HEADER_PREFIX + "id"
"""The header with an id that a message shares with everything made of it. Programs set it; a replay does, too."""

REPLAYS = HEADER_PREFIX + "replays"
"""The header that counts how often a message was sent back to its queue. A message that dies again keeps it."""

TRIES = HEADER_PREFIX + "tries"
"""The header that counts how often the function was tried, of a message that was sent to the tail of its queue."""

TEXT_LENGTH = 1000  # characters of an error's text that are kept; backends limit the size of headers

ERROR_HEADERS = frozenset(
    {ERROR_STAGE, ERROR_TYPE, ERROR_TEXT, ATTEMPTS, ORIGIN_QUEUE, ORIGIN_POSITION, FAILED_AT, APP}
)
"""The headers that a dead letter has beside the message's own."""


class Form(Enum):
    """How much a dead letter has beside the message itself; the values continue "stored with"."""

    WHOLE = "all its reasons"
    SHORT = "a short error text"
    BARE = "no reasons, as it came"


FORMS = tuple(Form)
"""From the preferred form to the one that fits wherever the message itself fits."""

SHORT_TEXT = 100  # characters of an error's text in the short form


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The content of a dead letter. A field is empty where the record lacks it, as when another program wrote it.

    Attributes:
        stage: What failed: decode, validate, function, output, produce.
        error_type: The class of the exception.
        error_text: Its text.
        attempts: How often the function was tried; 0 if unknown.
        queue: The backend's name of the queue that the message came from.
        position: Where it stood in that queue.
        failed_at: When, with its zone.
        app: The app that gave up.
        record: The message as it was before it failed: send it to be processed again.
        id: The message's own `penstock-id`; of one without, its queue and position ("orders:42").
        replays: How often it was sent back before.
    """

    stage: str
    error_type: str
    error_text: str
    attempts: int
    queue: str
    position: str
    failed_at: datetime | None
    app: str
    record: Record
    id: str = ""
    replays: int = 0

    @property
    def headers_with_id(self) -> Headers:
        """The message's headers, with its `id` as `penstock-id`, so that a replay can be traced."""
        headers = self.record.headers
        return headers if own_id(headers) or not self.id else [*headers, (MESSAGE_ID, self.id.encode("utf-8"))]

    def to_replay(self) -> Record:
        """The message as it was, with its id, and with one replay more in `penstock-replays`."""
        headers = [pair for pair in self.headers_with_id if pair[0].lower() != REPLAYS]
        return Record(self.record.message, self.record.key, [*headers, (REPLAYS, b"%d" % (self.replays + 1))])


def dead_letter(
    message: QueueMessage,
    *,
    stage: str,
    error: BaseException,
    attempts: int,
    queue: str,
    app: str,
    now: float,
    form: Form = Form.WHOLE,
) -> Record:
    """Make the record for the dead-letter queue: body, key and headers byte for byte, and the reason.

    Args:
        message: The message that failed. If it was a dead letter before, what it says about that is replaced.
        stage: decode, validate, function, output or produce.
        error: What went wrong; see `error_text` for what is kept of it.
        attempts: How often the function was tried.
        queue: The backend's name of the queue it came from.
        app: The engine's app name.
        now: Seconds since the epoch.
        form: How much of the reasons it says.
    """
    if form is Form.BARE:
        return Record(message.message, message.key, message.headers)
    text = error_text(error)
    reasons = {
        ERROR_STAGE: stage,
        ERROR_TYPE: type(error).__name__,
        ERROR_TEXT: text[:SHORT_TEXT] if form is Form.SHORT else text,
        ATTEMPTS: str(attempts),
        ORIGIN_QUEUE: queue,
        ORIGIN_POSITION: message.position,
        FAILED_AT: datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        APP: app,
    }
    headers = _own_headers(message.headers)
    headers.extend((name, _one_line(text).encode("utf-8")) for name, text in reasons.items())
    return Record(message.message, message.key, headers)


def read(message: QueueMessage) -> DeadLetter:
    """Read a dead letter. Never fails: a queue may hold any record."""
    said = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers if name in ERROR_HEADERS}
    queue, position = said.get(ORIGIN_QUEUE, ""), said.get(ORIGIN_POSITION, "")
    return DeadLetter(
        stage=said.get(ERROR_STAGE, ""),
        error_type=said.get(ERROR_TYPE, ""),
        error_text=said.get(ERROR_TEXT, ""),
        attempts=_number(said.get(ATTEMPTS, "")),
        queue=queue,
        position=position,
        failed_at=_time(said.get(FAILED_AT, "")),
        app=said.get(APP, ""),
        record=Record(message.message, message.key, _own_headers(message.headers)),
        id=own_id(message.headers) or (f"{queue}:{position}" if queue and position else ""),
        replays=_number(_own(message.headers, REPLAYS)),
    )


def error_text(error: BaseException) -> str:
    """The text of an error on one line of at most 1,000 characters.

    Of a pydantic `ValidationError`, also as the cause of a `MessageError`, only the places and the rules are told, not
    the values: they are the message's data. Safe for logs as far as the user's own exceptions are.
    """
    cause = error.__cause__ if isinstance(error, MessageError) else None
    try:
        for candidate in (error, cause):
            text = _validation_text(candidate)
            if text is not None:
                return _one_line(text)
        return _one_line(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  (the `str` of a user's class may raise; that must not lose the message)
        return "(this error cannot be shown as text)"


def _validation_text(error: BaseException | None) -> str | None:
    from pydantic_core import ValidationError  # imported for a failure only

    if not isinstance(error, ValidationError):
        return None
    problems = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(map(str, problem["loc"]))
        # This rule's text quotes the message.
        text = "unknown tag" if problem["type"] == "union_tag_invalid" else problem["msg"]
        problems.append(f"{place}: {text}" if place else text)
    return "; ".join(problems)


def _own_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    return [(name, value) for name, value in headers if name not in ERROR_HEADERS and name.lower() != TRIES]


def attempts_of(message: QueueMessage) -> int:
    """How often the function was tried with a message, before it was sent to the tail of its queue, too."""
    return message.attempts + _number(_own(message.headers, TRIES))


def own_id(headers: Headers) -> str:
    """The `penstock-id` among headers; "" without one."""
    return _own(headers, MESSAGE_ID)


def _own(headers: Headers, wanted: str) -> str:
    # Case-insensitive: some backends change the case of names.
    return next((value.decode("utf-8", "replace") for name, value in headers if value and name.lower() == wanted), "")


def _one_line(text: str) -> str:
    # Some backends reject line breaks and control characters in headers, and UTF-8 cannot have lone surrogates.
    return "".join(character if character.isprintable() else " " for character in text[:TEXT_LENGTH])


def _number(text: str) -> int:
    # Bounded, because Python rejects very long numbers.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
