"""Each change of the table `users` becomes a webhook."""

from typing import Any

from pydantic import BaseModel

from penstock import Engine
from penstock_postgres import Change


class User(BaseModel):
    """A row."""

    id: int
    name: str


app = Engine("changes", ["hooks"], app_name="webhooks", config="queues.yml")


@app.stream_app
def announce(change: Change[User]) -> tuple[str, dict[str, Any]]:
    name = change.row.name if change.row else None
    return "hooks", {"type": f"user.{change.operation}", "user": change.key, "name": name, "change": change.lsn}
