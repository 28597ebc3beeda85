"""A five-line pipeline on whatever is installed: run by check.py with the interpreter of a fresh environment.

With penstock-memory there it goes through that; otherwise through two classes given in the config, since the core alone
has no connector.
"""

import asyncio
import sys
from importlib.util import find_spec

from penstock import Consumer, Engine, Producer, QueueMessage
from penstock.config.model import WorkerSettings
from penstock.worker.worker import Worker

OPTIONAL = {"confluent_kafka", "redis", "rsmq", "msgpack", "psycopg", "http.server", "prometheus_client"}
loaded = OPTIONAL & set(sys.modules)
assert not loaded, f"importing penstock imported {loaded}"

inbox, outbox = [b'{"n": 1}', b'{"n": 2}'], []


class Numbers(Consumer):
    async def connect(self):
        pass

    async def consume(self, max_messages, timeout):
        if inbox and max_messages:
            return [QueueMessage(None, inbox.pop())]
        await asyncio.sleep(timeout)
        return []

    async def on_success(self, _messages):
        return 0

    async def on_fail(self, _messages, delay=None):
        raise AssertionError(f"nothing fails here, and nothing is requeued for {delay} s")

    async def shutdown(self):
        pass


class Results(Producer):
    async def connect(self):
        pass

    async def produce(self, records):
        outbox.extend(record.message for record in records)
        return [None] * len(records)

    async def shutdown(self):
        pass


config = {"numbers": {"consumer": Numbers}, "results": {"producer": Results}}
if find_spec("penstock_memory"):
    config["numbers"] = config["results"] = {"connector": "memory"}

app = Engine("numbers", ["results"], queue_config=config)


@app.stream_app
def double(message: dict):
    return [("results", {"n": message["n"] * 2})]


if find_spec("penstock_memory"):
    import tempfile
    from pathlib import Path

    from penstock.cli.main import main

    folder = Path(tempfile.mkdtemp())
    (folder / "in.jsonl").write_bytes(b"\n".join(inbox))
    sys.modules["wheel_pipeline"] = sys.modules["__main__"]
    feed, collect = f"numbers={folder / 'in.jsonl'}", f"results={folder / 'out.jsonl'}"
    code = main(
        ["run", "wheel_pipeline:app", "--drain", "--feed", feed, "--collect", collect, "--metrics-port", "none"]
    )
    assert code == 0, code
    outbox = (folder / "out.jsonl").read_bytes().splitlines()
else:
    Worker([app], WorkerSettings(metrics_port=None), drain=True).run()

assert sorted(outbox) == [b'{"n":2}', b'{"n":4}'], outbox
print("pipeline ok")
