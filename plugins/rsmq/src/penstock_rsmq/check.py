"""Options and queue names judged without a server; `penstock check` and start-up ask the same function."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.options import Role
from penstock.tls import tls_problems
from penstock_rsmq.keys import name_problem
from penstock_rsmq.options import RsmqOptions


def check(name: str, options: RsmqOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (both roles have the same rules)
    """One sentence a problem.

    Args:
        name: The queue's name in RSMQ.
        options: Its options.
        role: What it is opened for.
    """
    problems: list[str] = []
    if problem := name_problem(name):
        problems.append(problem)
    return [*problems, *tls_problems(options.tls)]
