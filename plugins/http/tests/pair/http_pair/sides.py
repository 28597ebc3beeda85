"""Both sides, as the test's server needs them."""

from __future__ import annotations

import base64
from typing import Any

from http_pair.options import PairOptions
from penstock.checkpoints import SourceMessage
from penstock_http.feed import Answer, Feed
from penstock_http.poll import PollConsumer
from penstock_http.webhook import WebhookProducer


class Base64Feed(Feed):
    """A body is Base64 inside its item, because JSON has no bytes."""

    def _message(self, value: Any, body: bytes, answer: Answer) -> SourceMessage:  # noqa: ARG002
        return super()._message(value, base64.b64decode(value["body"]), answer)


class PairConsumer(PollConsumer):
    """See `PollConsumer`."""

    def __init__(self, name: str, options: PairOptions) -> None:
        super().__init__(name, options)
        self._feed = Base64Feed(options)


class PairProducer(WebhookProducer):
    """See `WebhookProducer`; it sends with POST although the pair's options say GET, for the other side."""

    def __init__(self, name: str, options: PairOptions) -> None:
        super().__init__(name, options.model_copy(update={"method": "POST"}))
