"""Reads dead letters: sends back those that the function could not handle, and drops those that nobody ever will."""

from penstock import Engine, Output, QueueMessage
from penstock.dead_letters import read

app = Engine(
    app_name="replay",
    input_queue="rejects",
    output_queues=["orders-as-they-were"],
    yaml_config_path="queues.yml",
)


@app.stream_app
def replay(_body: bytes, msg_ctx: QueueMessage) -> Output | None:
    letter = read(msg_ctx)
    print(f"{letter.queue} {letter.position}, {letter.stage}, tried {letter.attempts} times: {letter.error_text}")
    if letter.stage in ("decode", "validate"):
        return None  # the same bytes fail the same way: settled, and gone
    record = letter.record  # the message as it was, without what the dead letter said
    return Output("orders-as-they-were", record.message, key=record.key, headers=record.headers)
