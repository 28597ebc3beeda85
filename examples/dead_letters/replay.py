"""Reads dead letters: sends back those that the function could not handle, and keeps apart those that never will be."""

from penstock import Engine, Output, QueueMessage
from penstock.dead_letters import read

app = Engine(
    app_name="replay",
    input_queue="rejects",
    output_queues=["orders-as-they-were", "unreadable"],
    config="queues.yml",
)


@app.stream_app
def replay(body: bytes, msg_ctx: QueueMessage) -> Output:
    letter = read(msg_ctx)
    print(f"{letter.queue} {letter.position}, {letter.stage}, tried {letter.attempts} times: {letter.error_text}")
    if letter.stage in ("decode", "validate"):
        # The same bytes fail the same way. To return None would settle the letter, and it would be gone.
        return Output("unreadable", body, key=msg_ctx.key, headers=msg_ctx.headers)
    record = letter.record  # the message as it was, without what the dead letter said
    return Output("orders-as-they-were", record.message, key=record.key, headers=letter.headers_with_id)
