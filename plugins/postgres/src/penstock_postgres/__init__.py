"""Penstock's connector for PostgreSQL: queues in a table, changes of tables, and `enqueue` for the user's own
transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_postgres.change import Change as Change
    from penstock_postgres.outbox import enqueue as enqueue

__version__ = "0.1.0"

__all__ = ["Change", "__version__", "enqueue"]


def __getattr__(name: str) -> Any:
    # Listing plugins imports this package, so psycopg is imported only for `enqueue`.
    if name == "enqueue":
        from penstock_postgres.outbox import enqueue

        return enqueue
    if name == "Change":
        from penstock_postgres.change import Change

        return Change
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
