"""A producer class of one's own gets key, headers and delay as keywords, and never an envelope."""

from __future__ import annotations

from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.foreign import Foreign, Table
from core.tests.scripted import Source

from penstock.config.model import QueueConfig
from penstock.dead_letters import read
from penstock.message import QueueMessage
from penstock.routing import Output


class Keeps(Foreign):
    """Stores what it is given."""

    def shutdown(self) -> None: ...


class TakesAll(Keeps):
    def produce(self, queue_name: str, message: Any, message_context: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        self.table.rows.append((message, kwargs))
        return True


class TakesKey(Keeps):
    def produce(self, queue_name: str, message: Any, message_context: Any, key: Any = None) -> bool:  # noqa: ARG002
        self.table.rows.append((message, {"key": key}))
        return True


class TakesNothing(Keeps):
    def produce(self, queue_name: str, message: Any, message_context: Any) -> bool:  # noqa: ARG002
        self.table.rows.append((message, {}))
        return True


def rows_of(producer: type[Any], output: Any) -> tuple[list[Any], list[str]]:
    """What it stored, and the errors of dead letters."""
    stand, table = EngineFixture(), Table()
    source = Source([QueueMessage(0, b"1", key=b"inherited", headers=[("traceparent", b"t")])])
    queue = QueueConfig(name="out", producer=producer, config={"table": table})
    drain(stand.engine(lambda _: output, source=source.queue(), targets=[queue], dead_letters=True))
    return table.rows, [read(letter).error_text for letter in stand.take("dead")]


FULL = Output("out", 1, key="k", headers={"h": "v"}, delay=1.5, color="red")


def test_everything_comes_by_keyword_where_everything_is_taken() -> None:
    """As the contract promises; the message's own headers of a trace too."""
    expected = {"key": b"k", "headers": [("h", b"v"), ("traceparent", b"t")], "delay": 1.5, "color": "red"}
    assert rows_of(TakesAll, FULL) == ([(b"1", expected)], [])


@pytest.mark.parametrize(
    ("producer", "keywords"), [(TakesKey, {"key": b"inherited"}), (TakesNothing, {})], ids=["key", "nothing"]
)
def test_a_plain_output_is_stored_as_it_is(producer: type[Any], keywords: dict[str, Any]) -> None:
    """Without an envelope, with what is taken."""
    assert rows_of(producer, ("out", 1)) == ([(b"1", keywords)], [])


def test_what_is_not_taken_is_refused_with_a_sentence() -> None:
    """Never dropped in silence, and never tried for ever."""
    for producer, names in ((TakesKey, "color, delay, headers"), (TakesNothing, "color, delay, headers, key")):
        rows, [text] = rows_of(producer, FULL)
        assert rows == []
        assert f"has {names}, which produce() of" in text
