"""Headers inside the body: everything comes back byte for byte, and nothing else is taken for an envelope."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.capabilities import Capabilities
from penstock.envelope import MAGIC, needs_envelope, unwrap, uses_envelope, wrap
from penstock.errors import DecodeError
from penstock.message import Record

PLAIN = Capabilities()  # like RSMQ: a body, nothing else
FULL = Capabilities(headers=True, keys=True, tombstones=True)  # like Kafka

TEXT = st.text(st.characters(exclude_categories=()))  # with lone surrogates
BYTES = st.binary() | st.text().map(str.encode)
RECORDS = st.builds(Record, st.none() | BYTES, st.none() | BYTES, st.lists(st.tuples(TEXT, st.none() | BYTES)))


def same(record: Record) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    return record.message, record.key, list(record.headers)


@settings(deadline=None)
@given(RECORDS)
@example(Record(b""))
@example(Record(None, b"", [("", b"")]))
@example(Record(b"body", None, [("null", None), ("empty", b"")]))
@example(Record(b"\xff\xfe", b"\x00", [("h", b"\xff"), ("h", b"text"), ("h", b"\xff")]))
@example(Record(b'{"base64": "AAAA"}', b'{"base64":"AAAA"}'))
def test_what_was_wrapped_comes_back_byte_for_byte(record: Record) -> None:
    """Text, binary, empty, null; headers in order, repeated, with any name."""
    assert unwrap(wrap(record)) == same(record)


@settings(deadline=None)
@given(RECORDS)
def test_an_envelope_is_known_by_its_first_bytes_and_is_utf8_json(record: Record) -> None:
    """Any JSON reader can open it, and its version comes first."""
    body = wrap(record)

    assert body.startswith(MAGIC)
    assert json.loads(body.decode("utf-8"))["penstock-envelope"] == 1


@settings(deadline=None)
@given(RECORDS)
def test_an_envelope_inside_an_envelope_is_a_body(record: Record) -> None:
    """A body that looks like an envelope is wrapped once more and comes back as that body, not opened further."""
    inner = Record(wrap(record))

    assert needs_envelope(inner, PLAIN)
    assert unwrap(wrap(inner)) == (inner.message, None, [])


@settings(deadline=None)
@given(st.binary().filter(lambda body: not body.startswith(MAGIC)))
@example(b"")
@example(b"{}")
@example(b'{"penstock-envelope"')
@example(b' {"penstock-envelope":1,"body":"x"}')
@example(b'{"penstock-envelope" :1,"body":"x"}')
@example(b'{"body":"x","penstock-envelope":1}')
@example(b'[{"penstock-envelope":1,"body":"x"}]')
def test_a_plain_body_is_never_taken_for_an_envelope(body: bytes) -> None:
    """Only those exact first bytes count; everything else stays what it was, without a wrapper."""
    assert unwrap(body) is None
    assert not needs_envelope(Record(body), PLAIN)


def test_text_stays_readable() -> None:
    """People and other programs can read key, headers and body without us."""
    body = wrap(Record('{"name": "Zoë"}'.encode(), b"42", [("penstock-error-stage", b"decode"), ("h", b"\xff")]))

    assert body.decode() == (
        '{"penstock-envelope":1,"key":"42","headers":[["penstock-error-stage","decode"],["h",{"base64":"/w=="}]],'
        '"body":"{\\"name\\": \\"Zoë\\"}"}'
    )


def test_what_a_record_does_not_have_is_not_written() -> None:
    """The smallest envelope has a version and a body."""
    assert wrap(Record(b"x")) == b'{"penstock-envelope":1,"body":"x"}'


@pytest.mark.parametrize(
    ("record", "capabilities", "needed"),
    [
        (Record(b"x"), PLAIN, False),
        (Record(b"x", key=b"k"), PLAIN, True),
        (Record(b"x", key=b""), PLAIN, True),
        (Record(b"x", headers=[("h", b"v")]), PLAIN, True),
        (Record(None), PLAIN, True),
        (Record(b"x", key=b"k"), Capabilities(keys=True), False),
        (Record(b"x", headers=[("h", b"v")]), Capabilities(keys=True), True),
        (Record(b"x", headers=[("h", b"v")]), Capabilities(headers=True), False),
        (Record(None), Capabilities(headers=True, keys=True), True),
        (Record(None), Capabilities(tombstones=True), False),
        (Record(MAGIC), PLAIN, True),
        (Record(MAGIC), Capabilities(headers=True, keys=True), True),
    ],
)
def test_only_what_the_backend_cannot_carry_is_wrapped(
    record: Record, capabilities: Capabilities, needed: bool
) -> None:
    """A record that arrives as it is without help stays readable for everybody."""
    assert needs_envelope(record, capabilities) is needed


@pytest.mark.parametrize(
    ("capabilities", "used"),
    [
        (FULL, False),
        (PLAIN, True),
        (Capabilities(headers=True, keys=True), True),
        (Capabilities(headers=True, tombstones=True), True),
        (Capabilities(keys=True, tombstones=True), True),
    ],
)
def test_a_backend_that_carries_everything_has_no_envelopes(capabilities: Capabilities, used: bool) -> None:
    """There nothing is wrapped, so nothing may be opened: a body that looks like an envelope is a body."""
    assert uses_envelope(capabilities) is used


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"1",
        b"1}",
        b"1,",
        b'1,"body":"cut',
        b'1,"body":"\xff"}',
        b'1,"body":"\\ud800"}',
        b'1,"body":5}',
        b'1,"body":["x"]}',
        b'1,"body":{"base64":"?"}}',
        b'1,"body":{"base64":"AAA"}}',
        '1,"body":{"base64":"é"}}'.encode(),
        b'1,"body":{"base64":5}}',
        b'1,"body":{"base64":"","more":1}}',
        b'1,"body":{}}',
        b'1,"key":null,"body":"x"}',
        b'1,"headers":null,"body":"x"}',
        b'1,"headers":{"h":"v"},"body":"x"}',
        b'1,"headers":[["h"]],"body":"x"}',
        b'1,"headers":[["h","v","w"]],"body":"x"}',
        b'1,"headers":[[1,"v"]],"body":"x"}',
        b'1,"headers":["hv"],"body":"x"}',
        b'1,"more":1,"body":"x"}',
        b'true,"body":"x"}',
        b'1.0,"body":"x"}',
        b'"1","body":"x"}',
        b'[1],"body":"x"}',
        b'2,"body":"x"}',
        b'1,"body":"x","penstock-envelope":2}',
        b'1,"body":"x"} {}',
        pytest.param(b"[" * 200_000, id="deep list"),
        pytest.param(b'{"a":' * 200_000, id="deep object"),
        pytest.param(b"9" * 10_000 + b',"body":"x"}', id="long number"),
    ],
)
def test_a_damaged_envelope_is_a_decode_error(rest: bytes) -> None:
    """What begins like an envelope and cannot be opened is refused by name, not handed on as a body."""
    with pytest.raises(DecodeError, match="envelope"):
        unwrap(MAGIC + rest)


@settings(deadline=None)
@given(RECORDS, st.data())
def test_an_envelope_that_changed_on_its_way_is_opened_or_refused(record: Record, data: st.DataObject) -> None:
    """Cut, with bytes changed or put in: another content or a `DecodeError`, never any other error."""
    body = wrap(record)
    start = data.draw(st.integers(len(MAGIC), len(body)))
    end = data.draw(st.integers(start, len(body)))

    try:
        opened = unwrap(body[:start] + data.draw(st.binary(max_size=8)) + body[end:])
    except DecodeError:
        return

    assert opened is not None


def test_another_version_says_what_to_do() -> None:
    """A queue that a newer Penstock writes is not silently misread by an older one."""
    with pytest.raises(DecodeError, match="not of version 1"):
        unwrap(b'{"penstock-envelope":2,"body":"x","more":[]}')


def test_the_error_shows_nothing_of_the_body() -> None:
    """Errors end in logs; bodies do not."""
    with pytest.raises(DecodeError) as caught:
        unwrap(b'{"penstock-envelope":1,"body":"4929-1234"')

    assert "4929" not in str(caught.value)
