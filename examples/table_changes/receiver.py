"""The other side: prints so many webhooks, then ends. Where it listens stands in `receiver.url`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

received: list[str] = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received.append(f"{hook['type']} {hook['user']['id']} {hook['name']}")
        print(received[-1], flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None: ...


with HTTPServer(("127.0.0.1", 0), Receiver) as server:
    Path("receiver.url").write_text(f"http://127.0.0.1:{server.server_port}/hooks")
    while len(received) < int(sys.argv[1]):
        server.handle_request()
