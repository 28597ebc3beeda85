"""The same two workers, configured in Python: `TABLE` says which classes serve the table."""

import os

from functions import Row, add_row, print_row

from penstock import Engine

DSN = os.environ["POSTGRES_DSN"]

TABLES = {
    "my_plugin": {
        "value": "pg_queue_table",
        "data_model": Row,
        "model_handler": "pydantic",
        "serializer": "disabled",
        "consumer": "my_plugin.MyPGConsumer",
        "producer": "my_plugin.MyPGProducer",
        "config": {"dsn": DSN},
    },
    "connector": {
        "value": "pg_queue_table",
        "data_model": Row,
        "connector": "postgres.table",
        "config": {
            "dsn": DSN,
            "create": True,
            "visible": "visible",
            "columns": {name: name for name in Row.model_fields},
        },
    },
}
CONFIG = {
    "input_queue": {"connector": "postgres", "config": {"dsn": DSN, "create": True}},
    "postgres_queue": TABLES[os.environ.get("TABLE", "connector")],
}

adding = Engine("input_queue", ["postgres_queue"], app_name="adding", queue_config=CONFIG, metrics_port=None)
adding.stream_app(add_row)

printing = Engine("postgres_queue", app_name="printing", queue_config=CONFIG, metrics_port=None)
printing.stream_app(print_row)
