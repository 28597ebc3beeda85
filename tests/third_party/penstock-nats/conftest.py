"""The fixture `nats_server`: a real NATS. It comes from the repository in which this package is kept."""

pytest_plugins = ["tests.servers.nats"]
