"""Takes the maxima from `my-redis-output`; sends three larger numbers back to `my-kafka-input` until one is over 10."""

from models import InputMessage, OutputMessage

from penstock import Engine

app = Engine(
    app_name="app_1",
    input_queue="my-redis-output",
    output_queues=["my-kafka-input"],
    yaml_config_path="queues.yml",
    metrics_port=None,
)


@app.stream_app
def main(message: OutputMessage) -> bool | list[tuple[str, InputMessage]]:
    print(f"The maximum: {message.the_max}")
    if message.the_max > 10:
        print("That's it, we are done!")
        return True
    return [("my-kafka-input", InputMessage(my_values=[message.the_max + step for step in range(3)]))]


if __name__ == "__main__":
    main()
