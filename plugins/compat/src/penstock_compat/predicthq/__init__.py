"""The names of predicthq-kafka: `penstock_compat.predicthq.kafka`, and its wire format."""
