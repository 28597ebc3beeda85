"""The options of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from penstock.options import Role
from penstock_http.check import check_poll, check_webhook
from penstock_http.options import PollOptions, WebhookOptions


class PairOptions(PollOptions, WebhookOptions):
    """Each side takes its own."""

    # The producer's is always POST.
    method: Literal["GET", "POST"] = "GET"  # type: ignore[assignment]


def check(name: str, options: PairOptions, role: Role) -> Sequence[str]:
    """What the check of each side says."""
    return [*check_poll(name, options, role), *check_webhook(name, options, role)]
