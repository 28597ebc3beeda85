"""The process behind `FeedServer`: python feed_app.py PORT FILE."""

from __future__ import annotations

import base64
import json
import sys
import uuid
from pathlib import Path

from aiohttp import web

LARGEST = 8 * 2**20  # bytes of a body
MOST, MOST_BYTES = 100, 2**20  # of an answer


def serve(port: int, data: Path) -> None:
    """Answer until this process is killed."""
    queues: dict[str, list[bytes]] = {}
    keys: set[tuple[str, str]] = set()
    file = data.open("a+b")
    file.seek(0)
    for line in map(json.loads, file):
        queues.setdefault(line["queue"], []).append(base64.b64decode(line["body"]))
        keys.add((line["queue"], line["key"]))

    async def take(request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.read()
        key = request.headers.get("Idempotency-Key", uuid.uuid4().hex)
        if body == b"REFUSE":
            return web.Response(status=422)
        if (name, key) not in keys:
            line = {"queue": name, "key": key, "body": base64.b64encode(body).decode()}
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()  # the kernel keeps it when this process is killed
            keys.add((name, key))
            queues.setdefault(name, []).append(body)
        return web.Response(status=201)

    async def give(request: web.Request) -> web.Response:
        name, after = request.match_info["name"], int(request.query.get("after", 0))
        records = queues.get(name, [])
        page: list[dict[str, object]] = []
        size = 0
        for number, body in enumerate(records[after : after + MOST], after + 1):
            page.append({"id": number, "body": base64.b64encode(body).decode()})
            if (size := size + len(body)) > MOST_BYTES:
                break
        return web.json_response(page)

    app = web.Application(client_max_size=LARGEST)
    app.add_routes([web.post("/{name}", take), web.get("/{name}", give)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
