"""Takes lists of numbers from `my-kafka-input` and sends the largest number of each to `my-redis-output`."""

import json

from models import InputMessage, OutputMessage

from penstock import Engine

app = Engine(
    app_name="app_0",
    input_queue="my-kafka-input",
    output_queues=["my-redis-output"],
    yaml_config_path="queues.yml",
)


@app.stream_app
def main(message: InputMessage) -> list[tuple[str, OutputMessage]]:
    print(f"Received {json.dumps(message.model_dump())}")
    the_max = max(message.my_values)
    print(f"the_max={the_max}")
    return [("my-redis-output", OutputMessage(the_max=the_max))]


if __name__ == "__main__":
    main()
