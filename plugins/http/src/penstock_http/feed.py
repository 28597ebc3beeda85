"""What an answer of a feed means: its new items, and where to go on behind them. Nothing here makes a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.checkpoints import SourceMessage
from penstock.errors import FatalConnectorError, NotConnected
from penstock_http.items import at, items
from penstock_http.options import PollOptions

Place = Mapping[str, Any]
"""Where to go on: `url` or `cursor`, else `etag` and `modified` of the last answer; `seen`, the ids passed over."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a feed answered.

    Attributes:
        url: Who answered, for errors and positions.
        body: Decompressed.
        etag, modified: Headers ETag and Last-Modified.
        link: Where `Link: …; rel="next"` leads.
    """

    url: str
    body: bytes
    etag: str | None = None
    modified: str | None = None
    link: str | None = None


class Feed:
    """Reads answers, one after the other. Remembers the ids of their items."""

    def __init__(self, options: PollOptions) -> None:
        self._options = options
        self._cursor = options.cursor
        self._source = options.cursor.source if options.cursor else None
        self._seen: dict[str, None] = {}  # the oldest first

    def go_on_at(self, place: Place) -> None:
        """Start with the items that an earlier reader of the feed has marked as seen."""
        self._seen = dict.fromkeys(place.get("seen", ()))

    def read(self, answer: Answer, place: Place) -> tuple[list[tuple[SourceMessage, Place | None]], Place]:
        """The new items of an answer to a request at `place`, and the place behind all of them.

        Returns:
            Each item with the place behind it, or None where only the place behind the last is known.

        Raises:
            NotConnected: the answer is not JSON.
            FatalConnectorError: it has no list where `items` says.
        """
        try:
            found, whole = self._found(answer)
        except ValueError as error:
            raise NotConnected(f"{answer.url}: the answer is not JSON in UTF-8") from error
        following: dict[str, Any] = {key: place[key] for key in ("url", "cursor") if key in place}
        if self._source == "link" and answer.link:
            following["url"] = answer.link
        elif self._source == "body" and (cursor := self._cursor_in(whole)) not in (None, ""):
            following["cursor"] = cursor
        elif self._source == "item" and found:
            following["cursor"] = self._cursor_in(found[-1][0])
        if not moved(place, following):
            following |= {"etag": answer.etag, "modified": answer.modified}
        new = [self._message(value, body, answer) for value, body in found if self._is_new(value)]
        if self._options.item_id is not None:
            while len(self._seen) > self._options.remembered_ids:
                del self._seen[next(iter(self._seen))]
            following["seen"] = list(self._seen)
        by_item = self._source == "item"
        places = [{"cursor": message.message_context} if by_item else None for message in new[:-1]]
        return list(zip(new, [*places, following], strict=False)), following

    def _found(self, answer: Answer) -> tuple[list[tuple[Any, bytes]], Any]:
        """The items of an answer, and what its cursor is looked for in."""
        pointer = self._options.items
        if pointer is None and self._source != "body":
            return [(None, answer.body)], None
        text = answer.body.decode()
        whole = json.loads(text)
        if pointer is None:
            return [(None, answer.body)], whole
        if (found := items(text, pointer)) is None:
            raise FatalConnectorError(f"{answer.url}: the answer has no list at {pointer!r}; check `items`")
        listed = [(value, raw.encode()) for value, raw in found]
        return listed[::-1] if self._options.newest_first else listed, whole

    def _is_new(self, value: Any) -> bool:
        if (identity := self._id(value)) is None:
            return True
        known = identity in self._seen
        self._seen[identity] = None
        return not known

    def _message(self, value: Any, body: bytes, answer: Answer) -> SourceMessage:
        identity = self._id(value)
        context = self._cursor_in(value) if self._source == "item" else identity
        return SourceMessage(context, body, identity or str(context or answer.url), identity=identity)

    def _id(self, value: Any) -> str | None:
        found = None if self._options.item_id is None else at(value, self._options.item_id)
        return None if found is None else str(found)

    def _cursor_in(self, value: Any) -> Any:
        return at(value, self._cursor.pointer) if self._cursor else None


def moved(before: Place, after: Place) -> bool:
    """Whether there may be more at once, because the place is another one."""
    return any(before.get(key) != after.get(key) for key in ("url", "cursor"))
