"""Runs contenders in turn on the same messages and prints medians and ratios: `nox -s bench`.

    python -m benchmarks.report [--backend NAME …] [--messages N] [--rounds N] [--only NAME …] [--readme]

Each contender is a process of its own that prints one line (see clock.py). Rounds interleave, so that a machine that
slows down slows all; a ratio is the median of the rounds' own ratios to the yardstick, the hand-written loop.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.backends import BACKENDS, Backend
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.environments import python_for

ROOT = Path(__file__).parents[1]
TIMEOUT = 300  # seconds that one run of one contender may take


@dataclass(frozen=True)
class Run:
    """One run of one contender: messages a second, and microseconds of its own CPU time a message."""

    rate: float
    cpu: float


Rounds = Sequence[dict[str, Run]]


def main() -> None:
    """Measure and print."""
    options = _arguments()
    for name in options.backend:
        contenders = [each for each in CONTENDERS if each.backend == name]
        if options.only:
            contenders = [contenders[0], *(each for each in contenders[1:] if each.name in options.only)]
        print(f"\n{name}: starting, {options.messages:,} messages", flush=True)
        backend = BACKENDS[name](options.messages)
        try:
            rounds = [_one_round(backend, contenders, number) for number in range(options.rounds)]
        finally:
            backend.close()
        print(table(contenders, rounds), flush=True)
        if options.readme and name == "kafka":
            write_readme(options.messages, rounds, yardstick=contenders[0].name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Penstock beside hand-written loops and other frameworks.")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="all by default")
    parser.add_argument("--messages", type=int, default=300_000, help="of one run (300,000)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    names = sorted({each.name for each in CONTENDERS})
    parser.add_argument("--only", nargs="+", choices=names, help="besides the yardsticks")
    parser.add_argument("--readme", action="store_true", help="write the figure on Kafka into README.md")
    return parser.parse_args()


def _one_round(backend: Backend, contenders: Sequence[Contender], number: int) -> dict[str, Run]:
    """Every contender once; each round begins with another one."""
    runs = {}
    turn = number % len(contenders)
    for contender in (*contenders[turn:], *contenders[:turn]):
        runs[contender.name] = run = _run(backend, contender)
        print(f"round {number + 1}, {contender.name}: {run.rate:,.0f} msg/s, {run.cpu:.1f} µs CPU", flush=True)
    return runs


def _run(backend: Backend, contender: Contender) -> Run:
    messages = int(backend.messages * contender.share)
    place = backend.prepare(messages)
    command = [python_for(contender.requires), "-m", contender.module, *place, str(messages), *contender.arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise SystemExit(f"{contender.name} failed:\n{done.stdout}\n{done.stderr}")
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    return Run(seen["messages"] / seen["seconds"], 1e6 * seen["cpu_seconds"] / seen["messages"])


def table(contenders: Sequence[Contender], rounds: Rounds) -> str:
    """Medians, spread, and the ratios to the yardstick, which is the first contender."""
    yardstick = contenders[0].name
    columns = f"{'contender':<24} {'msg/s':>9} {'(min – max)':>19} {'ratio':>6} {'(min – max)':>13}"
    lines = ["", f"{columns} {'CPU µs':>7} {'ratio':>6}"]
    for name in (each.name for each in contenders):
        rates = [each[name].rate for each in rounds]
        ratios = [each[name].rate / each[yardstick].rate for each in rounds]
        costs = [each[name].cpu / each[yardstick].cpu for each in rounds]
        lines.append(
            f"{name:<24} {statistics.median(rates):>9,.0f} {min(rates):>8,.0f} – {max(rates):>8,.0f} "
            f"{statistics.median(ratios):>6.2f} {min(ratios):>5.2f} – {max(ratios):>5.2f} "
            f"{statistics.median(each[name].cpu for each in rounds):>7.1f} {statistics.median(costs):>6.2f}"
        )
    return "\n".join(lines)


def write_readme(messages: int, rounds: Rounds, yardstick: str) -> None:
    """Put the figure between the README's marks."""
    ratio = statistics.median(each["penstock"].rate / each[yardstick].rate for each in rounds)
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
