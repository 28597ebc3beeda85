"""The wire format of predicthq-kafka: `{"item": …, "hist": …}`, so that one service of a chain can be moved alone.

`item` is what the function gets and gives. `hist` is the way of the message, here the header of `penstock.lineage`:

    {"svc": "pricing", "dt": "2026-11-27T09:30:00.000000Z", "refs": [{"topic": "orders", "partition": 0, "offset": 42,
     "key": "7", "hist": {… of that message …}}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from penstock.errors import DecodeError
from penstock.lineage import HEADER, Hop, dump, read
from penstock.message import Headers, QueueMessage, Record
from penstock.serializers import Serializer

WITHOUT_WAY = b',"hist":null}'
MOST = 1_000  # hops of one message that are read


class PhqSerializer(Serializer):
    """JSON, with the way of the message beside the item."""

    format: ClassVar[str] = "phq"
    headers_in_body: ClassVar[bool] = True

    def serialize(self, data: Any) -> bytes:
        """See `Serializer.serialize`."""
        item = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return b'{"item":' + item.encode() + WITHOUT_WAY

    def deserialize(self, body: bytes) -> Any:
        """See `Serializer.deserialize`."""
        content = json.loads(body)
        if not isinstance(content, dict) or "item" not in content:
            raise DecodeError("it is not an object with the key 'item'")
        return content["item"]

    def read_headers(self, message: QueueMessage) -> Headers:
        """See `Serializer.read_headers`."""
        if read(message):
            return ()
        try:
            hops = hops_of(json.loads(message.message or b"")["hist"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return ()
        return [(HEADER, dump(hops[-MOST:]))] if hops else ()

    def write_headers(self, record: Record) -> Record:
        """See `Serializer.write_headers`."""
        body, hops = record.message, read(record.headers)
        if not hops or body is None or not body.endswith(WITHOUT_WAY):
            return record
        text = json.dumps(history_of(hops), separators=(",", ":")).encode()
        headers = [pair for pair in record.headers if pair[0].lower() != HEADER]
        message = body.removesuffix(b"null}") + text + b"}"
        return Record(message, record.key, headers, record.delay, record.options)


def hops_of(history: Any) -> list[Hop]:
    """The hops of a history and of all those in it, each once, by their times.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not a history.
    """
    found: dict[Hop, None] = {}
    waiting = [history] if history else []
    while waiting:
        current = waiting.pop()
        refs = current.get("refs") or []
        refs = [refs] if isinstance(refs, dict) else refs  # messages of its first versions have one alone
        place = refs[0] if refs else {}
        hop = Hop(str(current["svc"]), str(place.get("topic", "")), _position(place), _seconds(current["dt"]))
        found[hop] = None
        waiting += [ref["hist"] for ref in refs if ref.get("hist")]
    return sorted(found, key=lambda hop: hop.time)


def history_of(hops: Sequence[Hop]) -> dict[str, Any] | None:
    """The history of which these are the hops: one after the other, also where messages were joined."""
    history: dict[str, Any] | None = None
    for number, hop in enumerate(hops):
        refs = [] if number == 0 and not hop.queue else [{**_place(hop), "key": "", "hist": history}]
        history = {"svc": hop.app, "dt": date(hop.time), "refs": refs}
    return history


def date(seconds: float) -> str:
    """A time as the format has it. All are of one length and zone: its readers compare them as text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _position(place: dict[str, Any]) -> str:
    if not place:
        return ""
    if place.get("partition") is None:
        return str(place.get("offset", ""))
    return f"{place['topic']}/{place['partition']}/{place['offset']}"


def _place(hop: Hop) -> dict[str, Any]:
    topic, *place = hop.position.rsplit("/", 2)
    if len(place) == 2 and all(part.isdecimal() for part in place):
        return {"topic": topic, "partition": int(place[0]), "offset": int(place[1])}
    return {"topic": hop.queue, "partition": None, "offset": hop.position}
