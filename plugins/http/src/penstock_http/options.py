"""What stands under the `config:` key of a queue on HTTP. No client library is imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from penstock.options import ConnectorOptions, FromEnvironment
from penstock.tls import TlsOptions

DAY = 86_400.0  # seconds


class HttpOptions(ConnectorOptions):
    """Options of both connectors.

    Attributes:
        headers: Headers of each request; their values are secrets.
        token: Sent as `Authorization: Bearer …`. From HTTP_TOKEN.
        username, password: Sent as `Authorization: Basic …`. From HTTP_USERNAME, HTTP_PASSWORD.
        tls: How an https server is verified, and which certificate we show.
        timeout: Seconds that a request may take, with its answer.
        connect_timeout: Seconds that a connection may take.
        max_connections: Connections at a time, to all hosts.
        max_connections_per_host: Connections at a time to one host; 0: any number.
        keepalive: Seconds for which an idle connection stays open.
        retriable_statuses: Answers after which the same request is sent again later.
    """

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    token: Annotated[SecretStr | None, FromEnvironment("HTTP_TOKEN")] = None
    username: Annotated[str | None, FromEnvironment("HTTP_USERNAME")] = None
    password: Annotated[SecretStr | None, FromEnvironment("HTTP_PASSWORD")] = None
    tls: TlsOptions = Field(default_factory=TlsOptions)
    timeout: float = Field(default=30.0, gt=0, le=3600)
    connect_timeout: float = Field(default=10.0, gt=0, le=600)
    max_connections: int = Field(default=100, ge=1)
    max_connections_per_host: int = Field(default=0, ge=0)
    keepalive: float = Field(default=5.0, gt=0, le=3600)
    retriable_statuses: frozenset[int] = frozenset({408, 425, 429, 500, 502, 503, 504})


class CursorOptions(ConnectorOptions):
    """How a feed is told where to go on.

    Attributes:
        source: `link`: at the answer's `Link: …; rel="next"`; `body`: behind a value of the answer; `item`: behind a
            value of its last item.
        pointer: Where the value is (a JSON pointer such as `/next`), in the answer or in the item.
        param: The query parameter that gets the value.
    """

    source: Literal["link", "body", "item"] = Field(alias="from")
    pointer: str = Field(default="", pattern="^(/.*)?$")
    param: str | None = None


class PollOptions(HttpOptions):
    """Options of the connector `http.poll`.

    Attributes:
        method: GET or POST.
        params: Query parameters of each request; the values of those that sound secret are masked.
        interval: Seconds from the start of a request to the start of the next, if the feed says nothing else.
        jitter: The part of the interval by which it is varied, so that many workers do not ask at once.
        state: The file that keeps the place, and its lock; null: a restart reads the feed from its start.
        start: Where to begin without a place: `first`, with what the feed has; `now`, behind it.
        items: Where the list of items is in the answer (a JSON pointer, `""` is the whole); null: the whole answer is
            one message.
        item_id: Where an item's id is in it (a JSON pointer); an id among the last `remembered_ids` is passed over.
        remembered_ids: How many ids are remembered.
        newest_first: The feed lists the newest item first.
        cursor: How the feed is told where to go on; null: by ETag and Last-Modified only.
        max_body: Bytes of the largest answer, after decompression.
    """

    method: Literal["GET", "POST"] = "GET"
    params: dict[str, str | int | float] = Field(default_factory=dict)
    interval: float = Field(default=30.0, gt=0, le=DAY)
    jitter: float = Field(default=0.1, ge=0, le=1)
    state: str | None = Field(default=None, min_length=1)
    start: Literal["first", "now"] = "first"
    items: str | None = Field(default=None, pattern="^(/.*)?$")
    item_id: str | None = Field(default=None, pattern="^(/.*)?$")
    remembered_ids: int = Field(default=1_000, ge=1, le=100_000)
    newest_first: bool = False
    cursor: CursorOptions | None = None
    max_body: int = Field(default=16 * 2**20, ge=1)

    @model_validator(mode="after")
    def _parts_fit(self) -> PollOptions:
        if self.items is None and (self.item_id is not None or (self.cursor and self.cursor.source == "item")):
            raise ValueError("item_id and a cursor from items need `items`, which says where the items are")
        if self.cursor and self.cursor.source != "link" and not (self.cursor.pointer and self.cursor.param):
            raise ValueError("a cursor from the body or an item needs `pointer` and `param`")
        return self


class WebhookOptions(HttpOptions):
    """Options of the connector `http.webhook`.

    Attributes:
        urls: Further URLs; a message is settled when each has accepted it.
        urls_from_records: Each record brings its own URL, `Output("hooks", event, url=…)`; private addresses are
            refused then, and `value` is only a name.
        allow_private: Records may name URLs of private addresses, too.
        method: POST, PUT or PATCH.
        content_type: The header Content-Type.
        concurrency: Requests at a time; 1 keeps the order of the records.
        id_header: The header with the record's id, which is the same each time it is sent; null: none.
        signing_secret: One or several secrets (`whsec_…`), each of which signs as Standard Webhooks do. From
            WEBHOOK_SECRET.
        success_statuses: Answers that accept a record; empty: 200 to 299.
        give_up_after: Seconds after which a record that was not accepted counts as refused; null: never.
        breaker_failures: Failures in a row after which a host is left alone; 0: never.
        breaker_pause: Seconds for which it is.
    """

    urls: tuple[str, ...] = ()
    urls_from_records: bool = False
    allow_private: bool = False
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    content_type: str = "application/json"
    concurrency: int = Field(default=10, ge=1, le=1_000)
    id_header: str | None = Field(default="Idempotency-Key", pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
    signing_secret: Annotated[SecretStr | tuple[SecretStr, ...], FromEnvironment("WEBHOOK_SECRET")] = ()
    success_statuses: frozenset[int] = frozenset()
    give_up_after: float | None = Field(default=None, gt=0)
    breaker_failures: int = Field(default=5, ge=0)
    breaker_pause: float = Field(default=60.0, gt=0, le=3600)

    @property
    def signing_secrets(self) -> tuple[SecretStr, ...]:
        """All of them."""
        return (self.signing_secret,) if isinstance(self.signing_secret, SecretStr) else self.signing_secret
