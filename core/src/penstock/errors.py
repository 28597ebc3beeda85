"""Every error that Penstock raises, by who must act on it.

    PenstockError
    ├── ConfigError                 you: the configuration or the wiring asks for something impossible
    │   └── CapabilityError         … for something that this connector cannot do
    ├── PluginError                 the plugin's author: it does not load, fit or exist
    │   ├── UnknownNameError        nothing installed offers this name
    │   └── DuplicateNameError      two distributions offer this name
    ├── FunctionError               you: the function has the wrong shape or returned something illegal
    ├── ConnectorError              the backend
    │   ├── NotConnected            … is away: wait and connect again
    │   ├── ProduceError            … rejected, or did not confirm, one record
    │   │   └── GivenUp             … in as many attempts as the queue's `retry` allows
    │   ├── NotSent                 … will never take some of what `Queues.send_batch` sent
    │   └── FatalConnectorError     … will never accept this (credentials, authorisation, fencing): stop
    ├── MessageError                the sender: these bytes are not a message of this queue
    │   ├── DecodeError             … they do not parse
    │   └── InvalidMessage          … they parse, but do not fit the data model
    ├── ProcessEnded                you: the function raised SystemExit or KeyboardInterrupt
    └── NotIdle                     you, in a test: the engines did not come to rest in time

`Retry` is not an error: a function raises it to say "later".

A message says what, where and what to do. Errors hold text and plain fields, never live objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from penstock.known_secrets import hide

LONGEST_DELAY = 1e9
"""Seconds, about 31 years: the times of backends have a limit."""


class PenstockError(Exception):
    """The base class: `except PenstockError` catches everything that Penstock itself raises."""


class ConfigError(PenstockError):
    """The configuration, or the way an engine was wired, cannot work.

    Args:
        problems: All that were found: a complete sentence each, or a value that prints as one.

    Attributes:
        problems: The sentences.
        details: The problems as they were given.
    """

    def __init__(self, *problems: object) -> None:
        self.details: Sequence[Any] = problems
        self.problems: Sequence[str] = tuple(map(str, problems))
        super().__init__("\n".join(self.problems))


class CapabilityError(ConfigError):
    """A setting needs what the chosen connector cannot do."""


class PluginError(PenstockError):
    """A plugin does not load, does not fit this version, or offers something unusable."""


class UnknownNameError(PluginError):
    """Nothing installed offers this name."""


class DuplicateNameError(PluginError):
    """Several installed distributions offer this name, and the config does not say which is meant."""


class FunctionError(PenstockError):
    """The user's function has an unusable signature, or returned something that is not a legal result."""


class ConnectorError(PenstockError):
    """The backend failed. The engine adds the names of the engine and the queue; a connector need not.

    The text may be the client's own: secrets of the configuration are taken out of it.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(hide(text) if isinstance(text, str) else text)


class NotConnected(ConnectorError):
    """The backend is away. The queue waits, connects again and goes on; nothing is settled meanwhile.

    Args:
        text: What happened, without secrets.
        retry_after: Seconds to wait before the next attempt; None leaves it to the queue's backoff.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class ProduceError(ConnectorError):
    """One record was not confirmed by the backend.

    Args:
        text: What the backend said, without the body.
        retriable: True if the same record may be accepted later (broker away, queue full); False if it never will
            be (too large, not authorised for it), so that sending it again is useless.
    """

    def __init__(self, text: str, retriable: bool = True) -> None:
        self.retriable = retriable
        super().__init__(text)


class GivenUp(ProduceError):
    """A record was not confirmed in as many attempts as the queue's `retry` allows; the backend may have it."""


class NotSent(ConnectorError):
    """The backend will never take some of the objects that `Queues.send_batch` sent; the others are stored.

    Attributes:
        refused: For each of them its place among the objects, from 0, and what the backend said.
    """

    def __init__(self, queue: str, count: int, refused: Sequence[tuple[int, ProduceError]]) -> None:
        self.refused = refused
        place, error = refused[0]
        super().__init__(f"{queue}: {len(refused)} of {count} refused; object {place}: {error}")


class FatalConnectorError(ConnectorError):
    """The backend will never accept this client as it is configured. The engine stops and says why."""


class MessageError(PenstockError):
    """These bytes are not a valid message of this queue."""


class DecodeError(MessageError):
    """The serializer could not parse the bytes."""


class InvalidMessage(MessageError):
    """The bytes parse, but do not fit the queue's data model."""


class ProcessEnded(PenstockError):
    """The user's function raised what ends a process, such as `SystemExit`: the cause, raised once all engines end."""


class NotIdle(PenstockError):
    """An engine of a `Harness` was still busy at the time limit. The text says with what."""


class Retry(Exception):
    """Raised by a user's function: requeue this message and deliver it again later.

    Args:
        delay: Seconds until it may be delivered again, up to 1e9; None uses the engine's backoff.
        reason: Shown in logs and, once the attempts are used up, in the dead letter.
        to: "tail" sends the message behind the younger ones of its queue, which the engine must have among its outputs;
            without a delay at once.

    Raises:
        ValueError: the delay is not a number of seconds, or `to` is another word.
    """

    to: Literal["queue", "tail"] = "queue"

    def __init__(self, delay: float | None = None, reason: str = "", *, to: Literal["queue", "tail"] = "queue") -> None:
        if to not in ("queue", "tail"):
            raise ValueError("Retry(to=…): write 'tail', or 'queue', which is the default")
        if delay is not None and (problem := delay_problem(delay)) is not None:
            raise ValueError(f"Retry(delay={_shown(delay)}): the delay is {problem}")
        self.delay = delay
        self.reason = reason
        self.to = to
        super().__init__(reason or ("later" if delay is None else f"in {delay} s"))

    def __reduce__(self) -> tuple[type[Retry], tuple[float | None, str], dict[str, str]]:
        # The function may raise it in a process pool, which pickles it.
        return type(self), (self.delay, self.reason), {"to": self.to}


def _shown(delay: object) -> object:
    return delay if isinstance(delay, (bool, float)) or (isinstance(delay, int) and abs(delay) < 10**15) else "…"


def delay_problem(delay: object) -> str | None:
    """Why this is not a delay, to continue "its delay is …"; None if it is one. The value itself is not shown."""
    if isinstance(delay, timedelta):
        return "not a number of seconds but a timedelta; give its total_seconds()"
    if isinstance(delay, bool) or not isinstance(delay, (int, float)):
        return f"not a number of seconds but a {type(delay).__name__}; give an int or a float"
    if delay < 0:
        return "in seconds and cannot be negative"
    if not delay <= LONGEST_DELAY:  # nor is NaN
        return f"not a number of seconds from 0 to {LONGEST_DELAY:.0f}"
    return None
