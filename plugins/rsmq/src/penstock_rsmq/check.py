"""Options and queue names judged without a server; `penstock check` and start-up ask the same function."""

from __future__ import annotations

import os
from collections.abc import Sequence

from penstock.options import OptionProblem, Role
from penstock_rsmq.keys import name_problem
from penstock_rsmq.options import RsmqOptions, TlsOptions


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
    if isinstance(options.tls, TlsOptions):
        for key in ("ca", "cert", "key"):
            path = getattr(options.tls, key)
            if path is not None and not os.access(path, os.R_OK):
                problems.append(OptionProblem(f"tls.{key}: the file {path!r} cannot be read", "tls", key))
        if options.tls.key and not options.tls.cert:
            problems.append(OptionProblem("tls.key is set without tls.cert, which it belongs to", "tls", "key"))
    return problems
