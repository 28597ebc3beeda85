"""For connectors: one table that says what each error of a client library means.

ERRORS = ErrorTable("Acme", {OSError: NotConnected, acme.Denied: FatalConnectorError}, roots=(acme.Error,))

with ERRORS.translating("localhost:6379"):
    client.send(...)

assert ERRORS.unmapped(acme) == {"Error", "UsageError"}    # in a test: a new class of the client fails it
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from penstock.errors import ConnectorError

Kind = type[ConnectorError]
V = TypeVar("V")


def _connection_is_lost(error: AttributeError) -> bool:
    """Whether `writelines` said so: in Python 3.12 to 3.13.5 it asks the event loop that a lost connection has not."""
    return error.obj is None and error.name == "_add_writer"


def _describe(error: BaseException) -> tuple[str, str]:
    return str(error) or type(error).__name__, ""


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """What the errors of a client library mean to the engine.

    Args:
        service: The backend as error messages name it.
        by_type: Error class → what to raise. The most specific class wins.
        roots: The library's other root classes. `translating` catches what is listed in `by_type` or here, and nothing
            else; what has no row becomes a `ConnectorError`.
        by_code: Error code → what to raise; it wins over the class. The longest code that the error's code begins with
            counts.
        remedies: What to do about it, by code or by class.
        describe: Returns the error's text, without message data and secrets, and its code, or "".
    """

    service: str
    by_type: Mapping[type[BaseException], Kind]
    roots: tuple[type[BaseException], ...] = ()
    by_code: Mapping[str, Kind] = field(default_factory=dict)
    remedies: Mapping[str | type[BaseException], str] = field(default_factory=dict)
    describe: Callable[[BaseException], tuple[str, str]] = _describe

    def translate(self, error: BaseException, address: str) -> ConnectorError:
        """The error for the engine.

        Args:
            error: What the client raised.
            address: The server, for the text.
        """
        text, code = self.describe(error)
        kind = _by_prefix(self.by_code, code) or _by_class(self.by_type, type(error)) or ConnectorError
        remedy = _by_prefix(self.remedies, code) or _by_class(self.remedies, type(error))
        return kind(f"{self.service} at {address}: {text}" + (f"; {remedy}" if remedy else ""))

    @contextmanager
    def translating(self, address: str) -> Iterator[None]:
        """Translate what the client raises inside this block; its own error becomes the cause.

        What asyncio raises for a lost connection is an `OSError` here in each version of Python.
        """
        try:
            yield
        except (*self.by_type, *self.roots) as error:
            raise self.translate(error, address) from error
        except AttributeError as error:
            if not _connection_is_lost(error):
                raise
            raise self.translate(ConnectionResetError("the connection is lost"), address) from error

    def unmapped(self, *modules: ModuleType) -> set[str]:
        """Names of the error classes in these modules that have no row, or mean `ConnectorError`."""
        return {
            each.__name__
            for module in modules
            for each in vars(module).values()
            if inspect.isclass(each)
            and issubclass(each, Exception)
            and _by_class(self.by_type, each) in (None, ConnectorError)
        }


def _by_prefix(table: Mapping[Any, V], code: str) -> V | None:
    return next((table[code[:end]] for end in range(len(code), 0, -1) if code[:end] in table), None)


def _by_class(table: Mapping[Any, V], kind: type) -> V | None:
    return next((table[each] for each in kind.__mro__ if each in table), None)
