"""The same two workers, configured in Python."""

import os

from functions import Row, add_row, print_row

from penstock import Engine

DSN = os.environ["POSTGRES_DSN"]
CONFIG = {
    "input_queue": {"profile": "postgres", "config": {"create": True}},
    "postgres_queue": {
        "value": "pg_queue_table",
        "data_model": Row,
        "model_handler": "pydantic",
        "serializer": "disabled",
        "consumer": "my_plugin.MyPGConsumer",
        "producer": "my_plugin.MyPGProducer",
        "config": {"dsn": DSN},
    },
}

adding = Engine("input_queue", ["postgres_queue"], app_name="adding", queue_config=CONFIG, metrics_port=None)
adding.stream_app(add_row)

printing = Engine("postgres_queue", app_name="printing", queue_config=CONFIG, metrics_port=None)
printing.stream_app(print_row)
