"""A directory as a queue: each message a file, taken by renaming it."""

__version__ = "0.1.0"
