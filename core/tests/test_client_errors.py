"""One table says what a client's errors mean, and a client that grows a new one is noticed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected


class ClientError(Exception): ...


class Refused(ClientError): ...


class WrongPassword(Refused): ...


class Away(ClientError): ...


class Unknown(ClientError): ...


def coded(error: BaseException) -> tuple[str, str]:
    """An error of this client begins with its code."""
    code, _, text = str(error).partition(" ")
    return (text, code) if code.isupper() else (str(error), "")


TABLE = ErrorTable(
    "Acme",
    {Away: NotConnected, WrongPassword: FatalConnectorError, OSError: NotConnected},
    roots=(ClientError,),
    by_code={"AB": FatalConnectorError, "ABC": NotConnected},
    remedies={"AB": "mend it", WrongPassword: "check `password`"},
    describe=coded,
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Away("gone"), NotConnected, "gone"),
        (ConnectionRefusedError(111, "refused"), NotConnected, "[Errno 111] refused"),
        (Refused("no"), ConnectorError, "no"),
        (WrongPassword("no"), FatalConnectorError, "no; check `password`"),
        (Away("ABX broken"), FatalConnectorError, "broken; mend it"),
        (Refused("ABCD busy"), NotConnected, "busy; mend it"),
        (KeyError("x"), ConnectorError, "'x'"),
    ],
)
def test_an_error_means_what_its_code_or_its_class_says(error: Exception, kind: type, text: str) -> None:
    """The code first, by its longest prefix; then the most specific class; else it is a plain refusal."""
    translated = TABLE.translate(error, "host:1")

    assert type(translated) is kind
    assert str(translated) == f"Acme at host:1: {text}"


def test_an_error_without_text_is_named() -> None:
    """By its class."""
    assert str(ErrorTable("Acme", {}).translate(TimeoutError(), "host")) == "Acme at host: TimeoutError"


def test_what_leaves_the_block_is_translated_and_keeps_its_cause() -> None:
    """What the table does not list passes as it is: it is not the client's."""
    with pytest.raises(NotConnected) as translated, TABLE.translating("host"):
        raise Away("gone")
    assert isinstance(translated.value.__cause__, Away)
    with pytest.raises(ConnectorError, match="no"), TABLE.translating("host"):
        raise Refused("no")

    with pytest.raises(KeyError), TABLE.translating("host"):
        raise KeyError("a bug")


def test_classes_without_a_meaning_are_listed() -> None:
    """By name, those of several modules together."""
    one, other = ModuleType("one"), ModuleType("other")
    one.ClientError, one.Away, one.text = ClientError, Away, "no class"  # type: ignore[attr-defined]
    other.Unknown, other.WrongPassword, other.Lookup = Unknown, WrongPassword, LookupError  # type: ignore[attr-defined]

    assert TABLE.unmapped(one, other) == {"ClientError", "Unknown", "LookupError"}


def test_asyncios_error_about_a_lost_connection_is_that_of_a_lost_connection() -> None:
    """From Python 3.12 on, until 3.13.6, `writelines` raises just this where the server has gone."""
    loop: Any = None
    with pytest.raises(NotConnected, match="Acme at host: the connection is lost"), TABLE.translating("host"):
        loop._add_writer(1, print)
    with pytest.raises(AttributeError), TABLE.translating("host"):
        loop.create_task()
