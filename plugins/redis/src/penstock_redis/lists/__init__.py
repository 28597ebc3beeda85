"""The connector `redis.lists`."""
