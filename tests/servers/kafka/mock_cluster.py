"""librdkafka's own mock cluster as a program: the shared library inside the confluent-kafka wheel exports it.

Prints one JSON line `{"bootstrap": …}`, then obeys JSON lines on its standard input and ends with it:
`{"do": "topic", "name": …, "partitions": …}`, `{"do": "down"}`, `{"do": "up"}`,
`{"do": "refuse", "api": …, "codes": […]}`. Each is answered by `{"error": 0}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import confluent_kafka

ALL_BROKERS = -1
PRODUCER = 0  # the type of the client that carries the mock; it connects nowhere


def load() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka itself uses, with the types of the functions needed here."""
    package = Path(confluent_kafka.__file__).parent
    bundled = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    library = ctypes.CDLL(str(bundled[0]) if bundled else find_library("rdkafka") or "librdkafka.so.1")
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, ctypes.c_int]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_broker_set_down": (ctypes.c_int, [pointer, number]),
        "rd_kafka_mock_broker_set_up": (ctypes.c_int, [pointer, number]),
        "rd_kafka_mock_push_request_errors_array": (None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main() -> None:
    """Run the mock until standard input ends."""
    library = load()
    problem = ctypes.create_string_buffer(512)
    carrier = library.rd_kafka_new(PRODUCER, library.rd_kafka_conf_new(), problem, len(problem))
    if not carrier:
        raise RuntimeError(problem.value.decode())
    cluster = library.rd_kafka_mock_cluster_new(carrier, 1)
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    print(json.dumps({"bootstrap": library.rd_kafka_mock_cluster_bootstraps(cluster).decode()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "topic":
            error = library.rd_kafka_mock_topic_create(cluster, asked["name"].encode(), asked["partitions"], 1)
        elif asked["do"] == "down":
            error = library.rd_kafka_mock_broker_set_down(cluster, ALL_BROKERS)
        elif asked["do"] == "up":
            error = library.rd_kafka_mock_broker_set_up(cluster, ALL_BROKERS)
        elif asked["do"] == "refuse":
            codes = (ctypes.c_int * len(asked["codes"]))(*asked["codes"])
            error = 0
            library.rd_kafka_mock_push_request_errors_array(cluster, asked["api"], len(codes), ctypes.byref(codes))
        else:
            raise ValueError(asked["do"])
        print(json.dumps({"error": error}), flush=True)
    # Clients may still be connected: an orderly end would wait for them.
    os._exit(0)


if __name__ == "__main__":
    main()
