"""The connector `redis.streams`."""
