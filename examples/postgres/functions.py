"""What the two workers do. They know queues by name, and nothing of PostgreSQL."""

from datetime import UTC, datetime

from pydantic import BaseModel


class Request(BaseModel):
    """Numbers, and who asks."""

    request_id: str
    values: list[float]


class Row(BaseModel):
    """What a row of the table says."""

    request_id: str
    max_plus: float
    message_sent_at: datetime


def add_row(request: Request) -> list[tuple[str, Row]]:
    row = Row(request_id=request.request_id, max_plus=max(request.values) + 1, message_sent_at=datetime.now(UTC))
    return [("postgres_queue", row)]


def print_row(row: Row) -> bool:
    print(f"{row.request_id}: one more than the maximum is {row.max_plus}")
    return True
