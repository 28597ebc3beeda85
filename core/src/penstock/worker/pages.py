"""Makes the page of one route on a thread of its own: one page for all clients that wait, with pauses in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from penstock.routes import Report, Response, Route

log = logging.getLogger("penstock")

REST = 4  # times as long as a page took, the next one waits: a route gets a fifth of a core at most
LONGEST_REST = 2.0  # seconds


class PageMaker:
    """Makes one page for all clients that asked before it was begun.

    Args:
        route: Makes the page.
        report: Given to the route.
        on_page: Called on the thread when a page is ready.
    """

    def __init__(self, route: Route, report: Report, on_page: Callable[[], None]) -> None:
        self._route = route
        self._report = report
        self._on_page = on_page
        self._asked = threading.Event()
        self._begun = 0
        self._page: tuple[int, Response] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self) -> int:
        """Make a page that is begun after this call; returns its number. Later pages serve as well."""
        number = self._begun + 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"penstock{self._route.path}", daemon=True)
            self._thread.start()
        self._asked.set()
        return number

    def take(self) -> tuple[int, Response] | None:
        """The latest page and its number; None before the first."""
        return self._page

    def close(self) -> None:
        """Let the thread end, without waiting for it."""
        self._closed = True
        self._asked.set()

    def _work(self) -> None:
        while self._asked.wait() and not self._closed:
            self._asked.clear()
            self._begun += 1
            began = time.thread_time()
            self._page = (self._begun, response_of(self._route, self._report))
            self._on_page()
            time.sleep(min(LONGEST_REST, REST * (time.thread_time() - began)))


def response_of(route: Route, report: Report) -> Response:
    """What a route answers; if it fails, a response without details, and the reason in the log."""
    try:
        response = route.answer(report)
        if not isinstance(response, Response):
            raise TypeError(f"it returned a {type(response).__name__} instead of a penstock.routes.Response")
    except Exception:
        log.warning("%s cannot be shown", route.path, exc_info=True)
        text = f"{route.path} cannot be shown; the log says why\n"
        return Response(text.encode(), status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return response
