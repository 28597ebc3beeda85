"""Sends every number to two queues; a worker of it is killed in the middle by test_kill.py."""

import time

from penstock import Engine, Output, QueueMessage

app = Engine("numbers", ["left", "right"], app_name="fan-out", metrics_port=None)


@app.stream_app
def fan_out(message: dict[str, int], msg_ctx: QueueMessage) -> list[Output]:
    time.sleep(0.0001)  # some work, so that a kill finds the worker in the middle of it
    attempt = {"id": message["id"], "attempt": msg_ctx.attempts}
    return [Output("left", attempt), Output("right", attempt)]
