"""Amazon SQS queues and SNS topics for Penstock."""

__version__ = "0.1.0"
