"""What the workers' configurations say and the bounds are computed from."""

from __future__ import annotations

COMMIT_INTERVAL = 0.2  # seconds between two commits on Kafka
LONGEST_ATTEMPTS = 1.0  # seconds for all attempts of a message; the waits between them are 0.6
