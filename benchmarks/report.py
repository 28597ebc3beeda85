"""Runs contenders in turn on the same topic and prints medians and ratios: `nox -s bench`.

    python -m benchmarks.report [--messages N] [--rounds N] [--only NAME …] [--readme]

Each contender is a process of its own that prints one line (see clock.py); all read the same topic, filled once, in a
group of their own, and write to a topic of their own. Rounds interleave, so that a machine that slows down slows all;
the ratio is the median of the rounds' own ratios to the yardstick.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.work import bodies

ROOT = Path(__file__).parents[1]
YARDSTICK = "raw, pipelined"
CONTENDERS = {
    YARDSTICK: "benchmarks.raw.kafka",
    "penstock": "benchmarks.penstock_app.kafka",
}
"""Name → module that takes BOOTSTRAP SOURCE TARGET MESSAGES. Add a contender here."""

TIMEOUT = 300  # seconds that one run of one contender may take
PARTITIONS = 4


@dataclass(frozen=True)
class Run:
    """One run of one contender: messages a second, and microseconds of its own CPU time a message."""

    rate: float
    cpu: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Penstock beside hand-written loops, on one Kafka broker.")
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="besides the yardstick")
    parser.add_argument("--readme", action="store_true", help="write the figure into README.md")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if name == YARDSTICK or not options.only or name in options.only]
    with broker() as server:
        print(f"filling a topic with {options.messages:,} messages", flush=True)
        source = fill(server, options.messages)
        rounds = [one_round(server, source, options.messages, names, number) for number in range(options.rounds)]
    report = table(names, rounds)
    print(report)
    if options.readme:
        write_readme(options.messages, rounds)


@contextmanager
def broker() -> Iterator[Any]:
    """A real broker: of our own from its jars, or the one that PENSTOCK_TEST_KAFKA names."""
    from tests.servers.kafka import ADDRESS, jars
    from tests.servers.kafka.broker import Broker
    from tests.servers.kafka.server import ExternalServer

    server = ExternalServer(os.environ[ADDRESS]) if os.environ.get(ADDRESS) else Broker(jars.fetch())
    try:
        yield server
    finally:
        server.close()


def fill(server: Any, messages: int) -> str:
    """A new topic with the messages in it."""
    from confluent_kafka import Producer

    topic: str = server.topic(partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": server.bootstrap, "linger.ms": 5, "enable.idempotence": True})
    for key, body in bodies(messages):
        while True:
            try:
                producer.produce(topic, body, key)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return topic


def one_round(server: Any, source: str, messages: int, names: list[str], number: int) -> dict[str, Run]:
    """Every contender once; each round begins with another one."""
    runs = {}
    turn = number % len(names)
    for name in names[turn:] + names[:turn]:
        target = server.topic(f"out-{uuid.uuid4().hex[:8]}", partitions=PARTITIONS)
        command = [sys.executable, "-m", CONTENDERS[name], server.bootstrap, source, target, str(messages)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
        seen = json.loads(done.stdout.strip().splitlines()[-1])
        runs[name] = Run(seen["messages"] / seen["seconds"], 1e6 * seen["cpu_seconds"] / seen["messages"])
        print(f"round {number + 1}, {name}: {runs[name].rate:,.0f} msg/s, {runs[name].cpu:.1f} µs CPU", flush=True)
    return runs


def table(names: list[str], rounds: list[dict[str, Run]]) -> str:
    """Medians, spread, and the ratio to the yardstick."""
    lines = ["", f"{'contender':<18} {'msg/s':>9} {'(min – max)':>19} {'CPU µs':>7} {'ratio':>6} {'(min – max)':>13}"]
    for name in names:
        rates = [each[name].rate for each in rounds]
        ratios = [each[name].rate / each[YARDSTICK].rate for each in rounds]
        lines.append(
            f"{name:<18} {statistics.median(rates):>9,.0f} {min(rates):>8,.0f} – {max(rates):>8,.0f} "
            f"{statistics.median(each[name].cpu for each in rounds):>7.1f} {statistics.median(ratios):>6.2f} "
            f"{min(ratios):>5.2f} – {max(ratios):.2f}"
        )
    return "\n".join(lines)


def write_readme(messages: int, rounds: list[dict[str, Run]]) -> None:
    """Put the figure between the README's marks."""
    ratio = statistics.median(each["penstock"].rate / each[YARDSTICK].rate for each in rounds)
    rate = statistics.median(each["penstock"].rate for each in rounds)
    line = (
        f"{ratio:.2f} of the best hand-written loop over confluent-kafka with the same guarantee, {rate:,.0f} "
        f"messages/s in one process (Kafka to Kafka, {messages:,} messages of 200 bytes, JSON and pydantic in and out, "
        f"one output, broker on the same {os.cpu_count()} cores, median of {len(rounds)} interleaved rounds)"
    )
    readme = ROOT / "README.md"
    text, count = re.subn(
        r"(<!-- bench -->).*?(<!-- /bench -->)", rf"\g<1>{line}\g<2>", readme.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit("README.md has no place for the figure: <!-- bench --><!-- /bench -->")
    readme.write_text(text)


if __name__ == "__main__":
    main()
