"""The messages of PostgreSQL's output plugin `pgoutput`, and the changes that they make. Does no I/O.

A change becomes a JSON object, whose values are those of PostgreSQL's own `to_json`:

    {"operation": "update", "table": "public.users", "key": {"id": 7}, "row": {"id": 7, "name": "Ann"}, "old": null,
     "unchanged": ["photo"], "lsn": "0/16B3748", "xid": 753, "committed_at": "2026-11-27T05:52:57.099191+00:00"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring as quoted
from struct import Struct
from typing import NamedTuple

from penstock.message import Headers

Convert = Callable[[str], str]
Lsn = int

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of PostgreSQL's times
_BEGIN = Struct("!QqI")  # LSN of the commit, its time, transaction id
_COMMIT = Struct("!BQQ")  # flags, LSN, end
_OID, _COUNT, _COLUMN, _TRUNCATE = Struct("!I"), Struct("!H"), Struct("!Ii"), Struct("!IB")
_LOGICAL = Struct("!BQ")  # flags, LSN
_ARRAY = re.compile(r'[{},]|"((?:[^"\\]|\\.)*)"|[^{},]+', re.DOTALL)
_NUMBER = re.compile(r"-?\d")


class Sent(NamedTuple):
    """A message as the server sent it, whatever a function makes of its delivery."""

    position: str
    body: bytes | None
    key: bytes | None
    headers: Headers
    timestamp: float | None


class Commit(NamedTuple):
    """The end of a transaction: from `end` on, all of it need not come again."""

    end: Lsn


class _Column(NamedTuple):
    quoted: str
    start: str  # the name and a colon
    convert: Convert


class _Relation(NamedTuple):
    name: str
    columns: list[_Column]
    keys: list[_Column]
    key_places: list[int]  # in a row


class Kinds:
    """How the text of a column's type becomes JSON.

    Args:
        bases: Type → the type that its values have the form of, for domains.
        elements: Array type → the type of its elements.
    """

    def __init__(self, bases: Mapping[int, int], elements: Mapping[int, int]) -> None:
        self._bases, self._elements = bases, elements

    def of(self, oid: int) -> Convert:
        """The conversion of one type."""
        while oid in self._bases:
            oid = self._bases[oid]
        if oid in self._elements:
            element = self.of(self._elements[oid])
            return lambda text: _array(text, element)
        return _CONVERT.get(oid, quoted)


class Decoder:
    """Makes messages of what pgoutput sends.

    Args:
        kinds: The types of the database.
        prefix: Of the logical messages that are wanted; None wants none.

    Attributes:
        last: Commit and index of the last change that was read. What comes again up to there, after a reconnection, is
            passed over.
        inside: Whether a transaction has begun and not ended.
    """

    def __init__(self, kinds: Kinds, prefix: str | None, last: tuple[Lsn, int] = (0, 0)) -> None:
        self._kinds, self._prefix = kinds, prefix
        self._relations: dict[int, _Relation] = {}
        self._commit: Lsn = 0
        self._lsn = ""  # of the commit, as text
        self._index = 0
        self._xid = 0
        self._tail = ""  # of each change's JSON in this transaction
        self._heads: dict[tuple[str, str], tuple[str, Headers]] = {}  # the same, by operation and table
        self._seconds = 0.0
        self.last = last
        self.inside = False

    def feed(self, data: bytes) -> Sequence[Sent | Commit]:
        """What one message of the server brings."""
        kind = data[:1]
        if kind in b"IUD":
            return self._new(self._row_change(data))
        if kind == b"B":
            self._begin(data)
        elif kind == b"C":
            self.inside = False
            return (Commit(_COMMIT.unpack_from(data, 1)[2]),)
        elif kind == b"R":
            self._learn(data)
        elif kind == b"T":
            count, _options = _TRUNCATE.unpack_from(data, 1)
            oids = [_OID.unpack_from(data, 6 + 4 * number)[0] for number in range(count)]
            return [new for oid in oids for new in self._new(self._change("truncate", self._relations[oid]))]
        elif kind == b"M":
            return self._logical(data)
        return ()

    def _begin(self, data: bytes) -> None:
        self._commit, time, self._xid = _BEGIN.unpack_from(data, 1)
        self._lsn = lsn_text(self._commit)
        when = _EPOCH + timedelta(microseconds=time)
        self._seconds, self._index, self.inside = when.timestamp(), 0, True
        self._tail = f'],"lsn":"{self._lsn}","xid":{self._xid},"committed_at":"{when.isoformat()}"}}'
        self._heads.clear()

    def _new(self, change: Sent) -> Sequence[Sent]:
        self._index += 1
        if (here := (self._commit, self._index)) <= self.last:
            return ()
        self.last = here
        return (change,)

    @property
    def _position(self) -> str:
        return f"{self._lsn}/{self._index + 1}"

    def _learn(self, data: bytes) -> None:
        [oid] = _OID.unpack_from(data, 1)
        schema, table, rest = data[5:].split(b"\0", 2)
        full = rest[:1] == b"f"
        [count] = _COUNT.unpack_from(rest, 1)
        columns: list[_Column] = []
        places: list[int] = []
        rest = rest[3:]
        for _number in range(count):
            name, after = rest[1:].split(b"\0", 1)
            kind, _modifier = _COLUMN.unpack_from(after)
            if rest[0] & 1 and not full:
                places.append(len(columns))
            text = quoted(name.decode())
            columns.append(_Column(text, f"{text}:", self._kinds.of(kind)))
            rest = after[_COLUMN.size :]
        keys = [columns[place] for place in places]
        self._relations[oid] = _Relation(f"{schema.decode()}.{table.decode()}", columns, keys, places)

    def _row_change(self, data: bytes) -> Sent:
        relation = self._relations[_OID.unpack_from(data, 1)[0]]
        at, old, new = 5, None, None
        is_key = data[at : at + 1] == b"K"
        if data[at : at + 1] in b"KO":
            old, at = _tuple(data, at + 1)
        if data[at : at + 1] == b"N":
            new, at = _tuple(data, at + 1)
        operation = {b"I": "insert", b"U": "update", b"D": "delete"}[data[:1]]
        return self._change(operation, relation, new, old, old_is_key=is_key)

    def _change(
        self,
        operation: str,
        relation: _Relation,
        new: list[str | None] | None = None,
        old: list[str | None] | None = None,
        *,
        old_is_key: bool = False,
    ) -> Sent:
        columns, keys, places = relation.columns, relation.keys, relation.key_places
        whole = new if new is not None else old
        key = previous = "null"
        if keys and whole is not None:
            key = _object(keys, [whole[place] for place in places])
        if old is not None:
            if not old_is_key:
                previous = _object(columns, old)
            else:
                previous = key if new is None else _object(keys, [old[place] for place in places])
        row = "null" if new is None else _object(columns, new)
        unchanged = ""
        if new is not None and UNCHANGED in new:
            unchanged = ",".join(each.quoted for each, value in zip(columns, new, strict=True) if value is UNCHANGED)
        head, headers = self._heads.get((operation, relation.name)) or self._head(operation, relation.name)
        body = f'{head}{key},"row":{row},"old":{previous},"unchanged":[{unchanged}{self._tail}'
        sent_key = None if key == "null" else key.encode()
        return Sent(f"{self._lsn}/{self._index + 1}", body.encode(), sent_key, headers, self._seconds)

    def _head(self, operation: str, table: str) -> tuple[str, Headers]:
        text = f'{{"operation":"{operation}","table":{quoted(table)},"key":'
        found = self._heads[operation, table] = text, change_headers(operation, table, self._lsn, self._xid)
        return found

    def _logical(self, data: bytes) -> Sequence[Sent | Commit]:
        flags, lsn = _LOGICAL.unpack_from(data, 1)
        prefix, rest = data[1 + _LOGICAL.size :].split(b"\0", 1)
        if prefix.decode() != self._prefix:
            return ()
        if flags & 1:
            return self._new(Sent(self._position, rest[4:], None, (), self._seconds or None))
        # It belongs to no transaction, so it is one of its own.
        self._commit, self._lsn, self._index, self._seconds = lsn, lsn_text(lsn), 0, 0.0
        return [*self._new(Sent(self._position, rest[4:], None, (), None)), Commit(lsn)]  # the end of its record


UNCHANGED = "\0unchanged"  # a marker that is compared by identity
"""Stands for a large value that an update did not touch, which the server does not send."""


def change_headers(operation: str, table: str, lsn: str | None, xid: int | str | None) -> Headers:
    """The headers of a change."""
    headers = [("postgres-operation", operation.encode()), ("postgres-table", table.encode())]
    if lsn is not None:
        headers.append(("postgres-lsn", lsn.encode()))
    if xid is not None:
        headers.append(("postgres-xid", str(xid).encode()))
    return tuple(headers)


def lsn_text(lsn: Lsn) -> str:
    """A log position as PostgreSQL writes it: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def _tuple(data: bytes, at: int) -> tuple[list[str | None], int]:
    [count] = _COUNT.unpack_from(data, at)
    at += 2
    values: list[str | None] = []
    for _number in range(count):
        kind, at = data[at], at + 1
        if kind == 0x74:  # t
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            values.append(data[at + 4 : end].decode())
            at = end
        else:
            values.append(UNCHANGED if kind == 0x75 else None)  # u, else n
    return values, at


def _object(columns: Sequence[_Column], values: Sequence[str | None]) -> str:
    parts = [
        f"{start}null" if value is None else start + convert(value)
        for (_quoted, start, convert), value in zip(columns, values, strict=True)
        if value is not UNCHANGED
    ]
    return "{" + ",".join(parts) + "}"


def _number(text: str) -> str:
    return text if _NUMBER.match(text) else quoted(text)  # JSON has no NaN and no Infinity


def _array(text: str, element: Convert) -> str:
    def part(found: re.Match[str]) -> str:
        piece = found[0]
        if piece in "{},":
            return {"{": "[", "}": "]", ",": ","}[piece]
        if piece == "NULL":
            return "null"
        return element(piece if found[1] is None else re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL))

    _bounds, _is_there, values = text.rpartition("]=") if text.startswith("[") else ("", "", text)
    return _ARRAY.sub(part, values)


def _moment(text: str) -> str:
    return quoted(text.replace(" ", "T", 1) if text[:1].isdigit() else text)


def _moment_in_zone(text: str) -> str:
    return _moment(text + ":00" if text[-3:-2] in "+-" else text)


_CONVERT: Mapping[int, Convert] = {
    16: lambda text: "true" if text == "t" else "false",
    **dict.fromkeys((20, 21, 23, 26), str),  # whole numbers
    **dict.fromkeys((700, 701, 1700), _number),  # real, double precision, numeric
    **dict.fromkeys((114, 3802), str),  # json, jsonb
    1114: _moment,
    1184: _moment_in_zone,
}
"""By the ids of PostgreSQL's own types; every other one is text in JSON, too."""
