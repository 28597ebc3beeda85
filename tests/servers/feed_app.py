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
            store(name, key, body, request.headers.get("penstock-error-stage", ""))
            file.flush()  # the kernel keeps it when this process is killed
        return web.Response(status=201)

    def store(name: str, key: str, body: bytes, stage: str = "") -> None:
        line = {"queue": name, "key": key, "body": base64.b64encode(body).decode(), "stage": stage}
        file.write(json.dumps(line).encode() + b"\n")
        keys.add((name, key))
        queues.setdefault(name, []).append(body)

    async def take_many(request: web.Request) -> web.Response:
        for body in (await request.read()).split(b"\n"):
            store(request.match_info["name"], uuid.uuid4().hex, body)
        file.flush()
        return web.Response(status=201)

    async def give(request: web.Request) -> web.Response:
        name, after = request.match_info["name"], int(request.query.get("after", 0))
        records = queues.get(name, [])
        if "count" in request.query:
            return web.json_response(len(records))
        page: list[bytes] = []
        for body in records[after : after + MOST]:
            page.append(body)
            if sum(map(len, page)) > MOST_BYTES:
                break
        if "plain" in request.query:
            following = f'</{name}?plain=1&after={after + len(page)}>; rel="next"'
            return web.Response(body=b"[%s]" % b",".join(page), headers={"Link": following} if page else {})
        ids = range(after + 1, after + len(page) + 1)
        items = [{"id": each, "body": base64.b64encode(body).decode()} for each, body in zip(ids, page, strict=True)]
        return web.json_response(items)

    app = web.Application(client_max_size=LARGEST)
    app.add_routes([web.post("/{name}", take), web.put("/{name}", take_many), web.get("/{name}", give)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
