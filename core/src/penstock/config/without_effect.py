"""Finds options that are set and cannot matter beside the others: they are told, so that no effect is expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.config.model import EngineSettings, WorkerSettings
from penstock.envelope import uses_envelope
from penstock.queues.resolved_queue import ResolvedQueue

_WAITS = ("initial_delay", "factor", "max_delay", "jitter")


def engine_options_without_effect(
    settings: EngineSettings, source: ResolvedQueue, *, dead_letters: bool
) -> Iterator[str]:
    """One sentence for each such option of an engine.

    Args:
        settings: Its settings.
        source: Its input queue.
        dead_letters: Whether it has a dead-letter queue.
    """
    given, retry = settings.model_fields_set, settings.retry
    counts_deliveries = source.capabilities.redelivery_count
    if "on_invalid" in given and dead_letters:
        yield "'on_invalid' has no effect: messages that are not valid go to the dead-letter queue"
    if "on_failed" in given and dead_letters:
        yield "'on_failed' has no effect: messages whose attempts are used up go to the dead-letter queue"
    if settings.batch is not None and not source.capabilities.keys:
        yield f"'batch: latest' has no effect: connector {source.connector!r} has no keys"
    if settings.batch_wait and not source.batch:
        yield "'batch_wait' has no effect: the function takes one message; set batch: true on its queue"
    if "max_deliveries" in retry.model_fields_set and not (dead_letters and counts_deliveries):
        missing = "a dead-letter queue" if counts_deliveries else "a connector that counts deliveries"
        yield f"'retry.max_deliveries' has no effect: it needs {missing}"
    waits = [f"'retry.{name}'" for name in _WAITS if name in retry.model_fields_set]
    if waits and retry.max_attempts == 1:
        yield f"{', '.join(waits)}: without effect, since 'retry.max_attempts' is 1, and nothing is tried again"
    if "batch_size" in given and settings.batch_size > settings.max_in_flight:
        yield f"'batch_size' has no effect beyond 'max_in_flight', which is {settings.max_in_flight}"


def notes_on_outputs(
    settings: EngineSettings, targets: Iterable[ResolvedQueue], dead_letters: str | None
) -> Iterator[str]:
    """Sentences about outputs: what `envelope: off` costs there, and what has no effect.

    Args:
        settings: The engine's.
        targets: Its outputs, the dead-letter queue among them.
        dead_letters: The name of that one.
    """
    for target in targets:
        if settings.delivery == "exactly_once" and target.retry is not None:
            yield (
                f"'retry' of queue {target.name!r} has no effect: with delivery: exactly_once the input stores its "
                "records, in the transaction that settles"
            )
        if not target.envelope:
            yield _note_on_envelope(target, dead_letters)


def _note_on_envelope(target: ResolvedQueue, dead_letters: str | None) -> str:
    capabilities = target.capabilities
    if not uses_envelope(capabilities):
        return f"'envelope: off' of queue {target.name!r} has no effect: connector {target.connector!r} needs none"
    if target.name == dead_letters:
        return (
            f"'envelope: off': dead letters in {target.name!r} are the raw bodies, without reason, attempts, "
            "origin, key and headers; only this log says why each is one"
        )
    lost = " and ".join(name for name in ("keys", "headers") if not getattr(capabilities, name))
    return f"'envelope: off': messages in {target.name!r} are the raw bodies, without {lost}"


def worker_options_without_effect(settings: WorkerSettings) -> Iterator[str]:
    """One sentence for each such option of a worker."""
    if settings.metrics_port is None and settings.routes:
        yield "'routes' has no effect: 'metrics_port' is off"
