"""Sends every number on, some only at a later try, as the message says; stopped and killed by test_stop.py."""

import time

from penstock import Engine, Output, QueueMessage

app = Engine("numbers", ["out"], app_name="waiting", metrics_port=None)


@app.stream_app
def send_on(message: dict[str, int], msg_ctx: QueueMessage) -> Output:
    if msg_ctx.attempts <= message["fails"]:
        raise TimeoutError("not yet")
    time.sleep(0.0001)  # some work, so that a stop finds the worker in the middle of it
    return Output("out", {"id": message["id"]})
