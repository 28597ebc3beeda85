"""What the port of a worker answers: a table of routes, to which programs and plugins add their own.

    @app.route("/orders/today")
    def today(report: Report) -> Response:
        return Response(b"17\\n")

A route is asked with GET or HEAD, and changes nothing: the port asks for no password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from penstock.errors import ConfigError

_PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Response:
    """What a route answers."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


def json_response(data: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Plain data as JSON."""
    return Response(json.dumps(data, indent=2).encode() + b"\n", "application/json", status)


Report = Callable[[], Mapping[str, Any]]
"""Returns what `GET /status` shows: the worker's report."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path.

    Attributes:
        path: Such as "/orders/today"; a query behind it is ignored.
        answer: Makes the response, on a thread of the route's own, for all who asked before it began. It is given the
            worker's report to call.
        quick: `answer` never waits, so it needs no thread of its own.

    Raises:
        ConfigError: the path is not one.
    """

    path: str
    answer: Callable[[Report], Response]
    quick: bool = False

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise ConfigError(f"route {self.path!r}: write a path such as '/orders/today'")
