"""The connector `redis.pubsub`."""
