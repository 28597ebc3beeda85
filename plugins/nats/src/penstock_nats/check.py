"""Options and subjects judged without a server; `penstock check` and start-up ask the same function."""

from __future__ import annotations

import os
from collections.abc import Sequence

from penstock.options import OptionProblem, Role
from penstock.tls import tls_problems
from penstock_nats.options import NatsOptions


def check(name: str, options: NatsOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (both roles have the same rules)
    """One sentence a problem.

    Args:
        name: The queue's subject.
        options: Its options.
        role: What it is opened for; the rules are the same for both.
    """
    problems: list[str] = []
    if any(not part or part in "*>" or any(c.isspace() for c in part) for part in name.split(".")):
        problems.append(f"{name!r} is not a subject to write to: tokens between dots, without spaces, '*' and '>'")
    if name.startswith("$"):
        problems.append(f"{name!r}: subjects that begin with '$' belong to NATS itself")
    if options.creds_file is not None and not os.access(options.creds_file, os.R_OK):
        problems.append(OptionProblem(f"creds_file: the file {options.creds_file!r} cannot be read", "creds_file"))
    if options.token is not None and (options.user or options.password):
        problems.append(OptionProblem("token is set beside user or password; the server takes one of both", "token"))
    return [*problems, *tls_problems(options.tls)]
