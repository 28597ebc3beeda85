"""Code lines of the core and of each connector: no blank lines, comments or docstrings.

python -m tests.code_lines            # the working tree
python -m tests.code_lines 5e37291    # the same at another commit, beside it
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator

from tests.sources import ROOT

PLACES = {
    "penstock (core)": "core/src",
    "penstock-kit": "kit/src",
    "gcp": "plugins/gcp/src",
    "aws (sqs, sns)": "plugins/aws/src",
    "compat": "plugins/compat/src",
    "kafka": "plugins/kafka/src",
    "http (poll and webhook)": "plugins/http/src",
    "timer": "plugins/timer/src",
    "memory": "plugins/memory/src",
    "msgpack": "plugins/msgpack/src",
    "nats": "plugins/nats/src",
    "azure": "plugins/azure/src",
    "- servicebus": "plugins/azure/src/penstock_azure/servicebus",
    "- storage_queue": "plugins/azure/src/penstock_azure/storage_queue",
    "postgres": "plugins/postgres/src",
    "redis": "plugins/redis/src",
    "- redis.streams": "plugins/redis/src/penstock_redis/streams",
    "- redis.lists": "plugins/redis/src/penstock_redis/lists",
    "- redis.pubsub": "plugins/redis/src/penstock_redis/pubsub",
    "rabbitmq": "plugins/rabbitmq/src",
    "rsmq": "plugins/rsmq/src",
    "sqlite": "plugins/sqlite/src",
    "zmq": "plugins/zmq/src",
    "beanstalkd (a third's)": "tests/third_party/penstock-beanstalkd/src",
}
"""Where the sources of each distribution are."""

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """How many lines of a module have code on them."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _docstring_lines(source))


def _docstring_lines(source: str) -> set[int]:
    """Lines of strings that stand alone: docstrings of modules, classes, functions and attributes."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def sources_now(folder: str) -> Iterator[str]:
    """The modules below a folder of the working tree."""
    return (path.read_text() for path in (ROOT / folder).rglob("*.py"))


def sources_at(commit: str, folder: str) -> Iterator[str]:
    """The modules below a folder, as they were at a commit."""
    listed = _git("ls-tree", "-r", "--name-only", commit, "--", folder).splitlines()
    return (_git("show", f"{commit}:{path}") for path in listed if path.endswith(".py"))


def pairs() -> Iterator[str]:
    """The folders that have a consumer and a producer, each in a module of that name."""
    for consumer in sorted((ROOT / "plugins").glob("*/src/**/consumer.py")):
        if (consumer.parent / "producer.py").exists():
            yield str(consumer.parent.relative_to(ROOT))


def pair_lines(folder: str) -> int:
    """Code lines of a consumer and its producer."""
    return sum(code_lines((ROOT / folder / f"{name}.py").read_text()) for name in ("consumer", "producer"))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def total(sources: Iterator[str]) -> int:
    """Code lines of several modules."""
    return sum(map(code_lines, sources))


def main(arguments: list[str]) -> None:
    """Print the table."""
    commit = arguments[0] if arguments else None
    print(f"{'':22}{'now':>8}" + (f"{commit[:8]:>10}{'change':>9}" if commit else ""))
    for name, folder in PLACES.items():
        now = total(sources_now(folder))
        before = total(sources_at(commit, folder)) if commit else 0
        change = f"{before:>10,}{f'{now / before - 1:+.0%}' if before else 'new':>9}" if commit else ""
        if now or before:
            print(f"{name:22}{now:>8,}{change}")
    print("\nconsumer.py and producer.py")
    for folder in pairs():
        print(f"{folder.partition('/src/penstock_')[2]:22}{pair_lines(folder):>8,}")


if __name__ == "__main__":
    main(sys.argv[1:])
