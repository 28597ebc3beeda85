"""A record comes back byte for byte, and text stays text for other programs."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import DecodeError
from penstock.message import Record
from penstock_aws.wire import KEY, read, unwrapped, written, written_key

NAMES = st.one_of(st.sampled_from(["a", "B.c", "aws.x", "Penstock.Key", "..", ""]), st.text(max_size=5))


@given(
    st.none() | st.binary(max_size=20) | st.text(max_size=10).map(str.encode),
    st.none() | st.binary(max_size=10),
    st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=5) | st.just(b"text")), max_size=12),
)
@settings(deadline=None)
def test_a_record_comes_back(body: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    """And what stands between is what AWS accepts: no empty value, at most ten attributes."""
    text, attributes = written(Record(body, key, headers))
    if key is not None:
        attributes[KEY] = written_key(key)
    assert text
    assert len(attributes) <= 10
    assert all(attribute.get("StringValue") or attribute.get("BinaryValue") for attribute in attributes.values())
    found_body, found_key, found_headers = read(text, dict(reversed(attributes.items())))
    assert (found_body, found_key, list(found_headers)) == (body, key, headers)


def test_text_and_plain_headers_are_what_other_programs_see() -> None:
    """The body as it is; a header is an attribute of its name, so SNS's filters work."""
    text, attributes = written(Record('{"id": 1, "ü": "€"}'.encode(), None, [("event_type", b"order")]))

    assert text == '{"id": 1, "ü": "€"}'
    assert attributes == {"event_type": {"DataType": "String", "StringValue": "order"}}


def test_an_envelope_of_sns_is_opened() -> None:
    """Body and attributes as they were published; another program's JSON stays as it is."""
    envelope = {
        "Type": "Notification", "TopicArn": "arn:aws:sns:x:1:t", "Message": "body",
        "MessageAttributes": {
            "event_type": {"Type": "String", "Value": "order"},
            KEY: {"Type": "Binary", "Value": base64.b64encode(b"-\xff").decode()},
        },
    }  # fmt: skip

    assert read(*unwrapped(json.dumps(envelope), {})) == (b"body", b"\xff", [("event_type", b"order")])
    for other in ('{"TopicArn": 1', '{"TopicArn": 1}', "text", '{"Type": "Notification", "TopicArn": "x"}'):
        assert unwrapped(other, {}) == (other, {})


def test_a_damaged_body_is_a_decode_error() -> None:
    """Its message is dead-lettered; the text quotes no data."""
    with pytest.raises(DecodeError, match=r"Penstock\.Body"):
        read("no base64!", {"Penstock.Body": {"StringValue": "base64"}})
