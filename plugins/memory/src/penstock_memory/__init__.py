"""Queues in the memory of one process."""

from __future__ import annotations

__version__ = "0.1.0"


def reset(namespace: str = "default") -> None:
    """Forget every in-process queue of `namespace`, with its messages.

    Connectors that are open keep the queues they have; what opens afterwards starts with empty ones.
    """
    # Imported here, because listing plugins imports this module and needs no queues.
    from penstock_memory.namespaces import forget

    forget(namespace)
