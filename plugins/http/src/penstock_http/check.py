"""Options and URLs judged without a server; `penstock check` and start-up ask the same functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from penstock.options import OptionProblem, Role
from penstock.tls import tls_problems
from penstock_http.options import HttpOptions, PollOptions, WebhookOptions
from penstock_http.signature import key_of

HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def check_poll(name: str, options: PollOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (it has one role)
    """One sentence a problem."""
    return [*_value_problems(name), *_problems(options)]


def check_webhook(name: str, options: WebhookOptions, role: Role) -> Sequence[str]:  # noqa: ARG001
    """One sentence a problem."""
    problems: list[str] = list(_problems(options))
    if options.urls_from_records:
        if options.urls or "://" in name:
            problems.append(OptionProblem("urls_from_records is set beside a URL; keep one", "urls_from_records"))
        if options.token or options.password:
            text = "urls_from_records: token and password would go to every host that a record names; leave them out"
            problems.append(OptionProblem(text, "urls_from_records"))
    elif not options.urls or "://" in name:
        problems += _value_problems(name)
    problems += [OptionProblem(f"urls: {problem}", "urls") for url in options.urls if (problem := url_problem(url))]
    for secret in options.signing_secrets:
        if key_of(secret.get_secret_value()) is None:
            text = "signing_secret: it is `whsec_` and Base64, and this is not; copy it as the receiver shows it"
            problems.append(OptionProblem(text, "signing_secret"))
    return problems


def _value_problems(name: str) -> list[str]:
    return [f"value: {problem}"] if (problem := url_problem(name)) else []


def _problems(options: HttpOptions) -> Iterator[OptionProblem]:
    yield from tls_problems(options.tls)
    for header, value in options.headers.items():
        if not HEADER.fullmatch(header):
            yield OptionProblem(f"headers: {header!r} is not the name of a header", "headers")
        elif not _VALUE.fullmatch(value.get_secret_value()):
            yield OptionProblem(f"headers: the value of {header!r} has a line break or other control", "headers")
    ways = [options.token, options.password, *(h for h in options.headers if h.lower() == "authorization")]
    if sum(way is not None for way in ways) > 1:
        yield OptionProblem("token, password and a header Authorization exclude each other; keep one", "headers")
    if (options.username is None) != (options.password is None):
        yield OptionProblem("username and password belong together; set both", "username")


def url_problem(url: str) -> str | None:
    """What is wrong with a URL; None if nothing is. It does not show it: it may hold a password."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return "this is not a URL that begins with http:// or https:// and names a host"
    if parts.username is not None or parts.password is not None:
        return "a URL is printed, so it must not hold a password; write `username` and `password`, or `token`"
    return None
