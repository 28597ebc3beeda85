"""Remembers the secrets of this process's configurations, and masks them in errors and logs.

A client may quote its options in an error or a log line. So each secret is remembered when options are read, and every
`ConnectorError`, every line of a client's log and everything that `penstock run` logs goes through `hide`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote

MASK = "********"

SHORTEST = 4  # characters; a shorter secret is not searched for, since it would be part of many words

# Up to the last "@": a password that was not percent-encoded may hold any other character.
_WORD = re.compile(r"\S+")
# Each part is bounded and begins with a fixed word, so that the time is proportional to the length of the text.
_PAIR = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[_-]?key)\d{0,3}(?:[._-][\w.-]{0,64})?\s{0,8}=(?!=)\s{0,8})"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,]+)",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL)
_USER_OF_URL = re.compile(r"://([^:/@\s]*):(\S*)@")

_known: set[str] = set()


def remember(secrets: Iterable[str]) -> None:
    """Mask these texts, and passwords inside them, from now on."""
    for secret in secrets:
        # A password that equals the user's name ("postgres", "guest") would mask an ordinary word everywhere.
        passwords = [password for user, password in _USER_OF_URL.findall(secret) if password != user]
        parts = [secret, *passwords, *(pair[1].strip("'\"") for pair in _PAIR.findall(secret))]
        _known.update(form for part in parts for form in (part, unquote(part)) if len(form) >= SHORTEST)


def hide(text: str) -> str:
    """A text without the remembered secrets, and without credentials of URLs, connection strings and PEM blocks."""
    if _known:
        text = replaced(text, _known)
    return without_credentials(text)


def replaced(text: str, secrets: Iterable[str]) -> str:
    """A text without these secrets."""
    # The longest first: a secret may be part of another one.
    for secret in sorted(set(secrets), key=len, reverse=True):
        if secret in text:
            # A secret that may be part of other words is masked only where it stands alone.
            edge = r"\b" if secret.isalpha() or (len(secret) < 6 and secret.isalnum()) else ""
            text = re.sub(edge + re.escape(secret) + edge, MASK, text)
    return text


def without_credentials(text: str) -> str:
    """A text without the credentials that URLs, connection strings and PEM blocks carry."""
    if "://" in text:
        text = _WORD.sub(_without_user_info, text)
    text = _PAIR.sub(rf"\1{MASK}", text)
    return _PRIVATE_KEY.sub(MASK, text)


def _without_user_info(word: re.Match[str]) -> str:
    text = word[0]
    begin, end = text.find("://"), text.rfind("@")
    return f"{text[: begin + 3]}{MASK}{text[end:]}" if 0 < begin < end else text


class SecretFormatter(logging.Formatter):
    """Hides secrets in the lines of another formatter. Does not change the record, which other handlers share.

    Args:
        inner: The formatter whose lines are made safe.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The line, tracebacks included, without secrets."""
        before = record.exc_text
        try:
            return hide(self._inner.format(record))
        finally:
            record.exc_text = before  # the inner formatter caches its text there for the next handler


class SecretFilter(logging.Filter):
    """Hides secrets in what is logged, tracebacks included; for a logger that a client writes to, or for a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place, and accept it."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  (wrong arguments: logging reports them when it writes the record)
            return True
        hidden = hide(text)
        if hidden != text:
            record.msg, record.args = hidden, None
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = hide(record.exc_text)
        return True
