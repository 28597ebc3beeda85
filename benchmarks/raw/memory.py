"""The work alone, in a loop over a list: what is above it in memory → memory is what a framework and its queue cost.

python -m benchmarks.raw.memory MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, bodies, peak


def main(messages: int) -> None:
    """Read, call and write `messages` times, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    source = list(bodies(messages))
    clock = Clock()
    clock.go()
    target = [(key, encode(peak(decode(body)))) for key, body in source]
    clock.show(len(target))


if __name__ == "__main__":
    main(int(sys.argv[1]))
