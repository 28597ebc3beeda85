"""A loop over PyRSMQ, written by hand: receive, send, delete, one message at a time, as the library has it.

python -m benchmarks.raw.rsmq HOST PORT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import sys

from rsmq import RedisSMQ

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak


def main(host: str, port: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    options = {"decode_responses": False}
    there = RedisSMQ(host=host, port=port, qname=source, options=options)
    here = RedisSMQ(host=host, port=port, qname=target, options=options)
    here.createQueue(vt=60).exceptions(False).execute()
    clock = Clock()
    clock.go()
    for _ in range(messages):
        message = there.receiveMessage(vt=60).execute()
        here.sendMessage(message=encode(peak(decode(message["message"])))).execute()
        there.deleteMessage(id=message["id"]).execute()
    clock.show(messages)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
