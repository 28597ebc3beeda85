"""Makes pages of metrics on a thread of its own, for many scrapers at once and not more often than is worth it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from penstock.observability.metrics import MetricsRegistry

log = logging.getLogger(__name__)

REST = 4  # times as long as a page took, the next one waits: scrapers get a fifth of a core at most
LONGEST_REST = 2.0  # seconds

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class Scrapes:
    """Makes one page for all who asked before it was begun.

    Args:
        metrics: The worker's metrics.
        on_page: Called on the thread when a page is there to be taken.
    """

    def __init__(self, metrics: MetricsRegistry, on_page: Callable[[], None]) -> None:
        self._metrics = metrics
        self._on_page = on_page
        self._asked = threading.Event()
        self._begun = 0
        self._page: tuple[int, Answer] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self) -> int:
        """Make a page that is begun after this; returns its number. Later ones do as well."""
        number = self._begun + 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="penstock-metrics", daemon=True)
            self._thread.start()
        self._asked.set()
        return number

    def take(self) -> tuple[int, Answer] | None:
        """The latest page and its number; None before the first."""
        return self._page

    def close(self) -> None:
        """Let the thread end; it is not waited for."""
        self._closed = True
        self._asked.set()

    def _work(self) -> None:
        while self._asked.wait() and not self._closed:
            self._asked.clear()
            self._begun += 1
            began = time.thread_time()
            self._page = (self._begun, self._make())
            self._on_page()
            time.sleep(min(LONGEST_REST, REST * (time.thread_time() - began)))

    def _make(self) -> Answer:
        try:
            body, content_type = self._metrics.exposition()
        except Exception:  # whatever it is, the watcher gets an answer and the log the reason
            log.warning("the metrics cannot be shown", exc_info=True)
            text = b"the metrics cannot be shown; the log says why\n"
            return HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text
        return HTTPStatus.OK, content_type, body
