"""An engine as a harness runs it: its own function, settings, codecs and data models, but every queue in memory.

Connectors are replaced, and with them everything under `config:`. So the harness imports no client library, connects
nowhere, and needs no environment variable that only says where a queue is. The capabilities of the real connector are
kept where its plugin is installed: an output with a delay that the real connector lacks is refused here, too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.config.files import Source, load
from penstock.config.model import Configuration, QueueConfig
from penstock.config.resolve import registry_for
from penstock.engine import Engine
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.pipeline.loop import Pipeline
from penstock.plugins.hints import EMBEDDED
from penstock.plugins.registry import Registry
from penstock.queues.adapters import make_consumer, make_producer
from penstock.queues.cancellation import raise_if_not_exception
from penstock.testing.fakes import consumer_class, producer_class
from penstock.testing.memory_queue import MemoryQueue, Watcher
from penstock.testing.production_queue import LOCATION_KEYS, ProductionQueue, Profiles, capabilities, look, plain_data

FOREVER = 1e9  # seconds; a real lease would end at a random moment of the harness's clock


class EngineUnderTest:
    """A copy of an engine with another configuration.

    Args:
        engine: The copy.

    Attributes:
        queues: Its queues, resolved once for all runs, because that takes more time than most tests.
        resources: Values by name, instead of what its resources open.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queues = engine.resolve()
        self.resources: Mapping[str, Any] = {}

    def start(self, health: Health, metrics: MetricsRegistry) -> Pipeline:
        """See `Engine.start`. Lets a test fail inside the function."""
        return self.engine.start(
            health, metrics, queues=self.queues, resources=self.resources, raise_if_fatal=raise_if_not_exception
        )


class QueueStore:
    """The queues in memory of one harness.

    Args:
        namespace: Keeps the queues of different harnesses apart.
        watcher: Told when engines may be idle.
        profiles: The settings of profiles that are not installed.
    """

    def __init__(self, namespace: str, watcher: Watcher, profiles: Profiles) -> None:
        self._namespace = namespace
        self._watcher = watcher
        self._profiles = profiles
        self._memory: _Memory | None = None
        self._queues: dict[tuple[str, str], MemoryQueue] = {}

    @property
    def queues(self) -> list[MemoryQueue]:
        """All queues."""
        return list(self._queues.values())

    def engine_under_test(
        self, engine: Engine, config: Source | None
    ) -> tuple[EngineUnderTest, dict[str, MemoryQueue]]:
        """Copy an engine so that its queues are in memory. Returns the copy and its queues by name.

        Args:
            engine: Not changed.
            config: Instead of the engine's own configuration.

        Raises:
            ConfigError, PluginError: the configuration is invalid, a profile unknown, or `memory` not installed.
        """
        # Read by a copy: the engine would keep values from the environment of one test.
        original = engine.copy().configuration if config is None else load(config)
        configuration = _for_tests(original)
        registry = registry_for(configuration)
        if self._memory is None:
            self._memory = _Memory(registry, self._namespace)
        queues: dict[str, MemoryQueue] = {}
        configs = dict(configuration.queues)
        for name in dict.fromkeys([engine.input_queue, *engine.output_queues, engine.dead_letter_queue]):
            if name is not None and name in configs:  # a missing queue is reported by resolve()
                real = look(original, configs[name], registry, self._profiles)
                queues[name] = self._queue(self._memory, real)
                configs[name] = _replaced(configs[name], real, queues[name], registry, self._memory)
        # Queues in memory have no transactions; the function behaves the same without them.
        tested = engine.copy(replace(configuration, queues=configs), delivery="at_least_once")
        return EngineUnderTest(tested), queues

    def forget(self) -> None:
        """Drop all messages."""
        if self._memory is not None:
            self._memory.forget(self._namespace)

    def _queue(self, memory: _Memory, real: ProductionQueue) -> MemoryQueue:
        key = (real.backend, real.value)
        if key not in self._queues:
            self._queues[key] = memory.queue(real, self._watcher)
        return self._queues[key]


class _Memory:
    """The connector `memory`."""

    def __init__(self, registry: Registry, namespace: str) -> None:
        spec = registry.connector(EMBEDDED)
        self.capabilities = spec.capabilities
        self._consumer = registry.load(spec, spec.consumer or "")
        self._producer = registry.load(spec, spec.producer or "")
        self._options = registry.load(spec, spec.options or "")(namespace=namespace, vt=FOREVER)

    def queue(self, real: ProductionQueue, watcher: Watcher) -> MemoryQueue:
        name = f"{real.backend}:{real.value}"
        return MemoryQueue(
            real.value,
            lambda: make_consumer(self._consumer, name, self._options),
            lambda: make_producer(self._producer, name, self._options),
            watcher,
        )

    def forget(self, namespace: str) -> None:
        # The plugin's public function, if it has one. Without it the empty queues stay, some KiB for each.
        reset = getattr(sys.modules[self._consumer.__module__.partition(".")[0]], "reset", None)
        if reset is not None:
            reset(namespace)


def _for_tests(configuration: Configuration) -> Configuration:
    plugins = configuration.plugins
    if plugins.allow is not None:
        plugins = plugins.model_copy(update={"allow": [*plugins.allow, EMBEDDED]})
    missing = {
        name: [fault for fault in faults if not (len(fault.path) > 2 and fault.path[2] in LOCATION_KEYS)]
        for name, faults in configuration.missing_variables.items()
    }
    return replace(configuration, plugins=plugins, missing_variables=missing)


def _replaced(
    queue: QueueConfig, real: ProductionQueue, memory_queue: MemoryQueue, registry: Registry, memory: _Memory
) -> QueueConfig:
    label = real.spec.name if real.spec else EMBEDDED
    sides: dict[str, Any] = {}
    for side, make in (("consumer", consumer_class), ("producer", producer_class)):
        can = capabilities(real, getattr(queue, side), side, registry, memory.capabilities)
        sides[side] = make(label, memory_queue, can)
    sides["producer"].plain_data = plain_data(queue.producer, registry)
    return QueueConfig(**{**real.settings, "value": real.value, **sides})
