"""Options and names judged without a server; `penstock check` and start-up ask the same functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.options import OptionProblem, Role
from penstock.tls import tls_problems
from penstock_aws.options import AwsOptions, SqsOptions, Target

FIFO = ".fifo"


def check_standard(name: str, options: SqsOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (the same for both)
    """What is wrong with a standard queue, one sentence a problem."""
    problems = list(_problems(options))
    if Target.parse(name).name.endswith(FIFO):
        problems.append(f"{name!r} is the name of a FIFO queue; write `connector: sqs.fifo`")
    return problems


def check_fifo(name: str, options: SqsOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (the same for both)
    """What is wrong with a FIFO queue, one sentence a problem."""
    problems = list(_problems(options))
    if not Target.parse(name).name.endswith(FIFO):
        problems.append(f"{name!r} is not the name of a FIFO queue, which ends in {FIFO!r}; write `connector: sqs`")
    return problems


def check_topic(name: str, options: AwsOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (it is an output)
    """What is wrong with a topic, one sentence a problem."""
    problems = list(_problems(options))
    if not name.startswith("arn:") or name.count(":") != 5:
        problems.append(f"{name!r} is not the ARN of a topic, such as arn:aws:sns:eu-west-1:123456789012:orders")
    return problems


def _problems(options: AwsOptions) -> Iterator[str]:
    yield from tls_problems(options.tls)
    if (options.access_key_id is None) != (options.secret_access_key is None):
        missing, there = "secret_access_key", "access_key_id"
        if options.access_key_id is None:
            missing, there = there, missing
        yield OptionProblem(f"{there} is set without {missing}; write both, or leave both out", there)
