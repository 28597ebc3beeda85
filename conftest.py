"""Loads the fixtures that start real servers; pytest allows this in the root alone."""

pytest_plugins = [
    "tests.servers.kafka",
    "tests.servers.nats",
    "tests.servers.postgres",
    "tests.servers.redis",
    "tests.servers.proxy",
]
