"""An engine as a harness runs it: its own function, settings, codecs and data models, but every queue in memory.

Connectors are replaced, and with them everything under `config:`. So the harness imports no client library, connects
nowhere, and needs no environment variable that only says where a queue is. The capabilities of the real connector are
kept where its plugin is installed: an output with a delay that the real connector lacks is refused here, too.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.config.files import Source, load
from penstock.config.model import Configuration, QueueConfig
from penstock.config.resolve import registry_for
from penstock.engine import Engine
from penstock.options import Role
from penstock.plugins.hints import EMBEDDED
from penstock.plugins.registry import Registry
from penstock.queues.adapters import make_consumer, make_producer
from penstock.queues.cancellation import raise_if_not_exception
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.testing.fakes import consumer_class, producer_class
from penstock.testing.memory_queue import MemoryQueue, Watcher
from penstock.testing.production_queue import LOCATION_KEYS, ProductionQueue, Profiles, capabilities, look

FOREVER = 1e9  # seconds; a real lease would end at a random moment of the harness's clock


class EngineUnderTest(Engine):
    """A copy of an engine with another configuration; the original stays as it is."""

    def __init__(self, original: Engine, configuration: Configuration) -> None:
        vars(self).update(vars(original))
        self._raise_if_fatal = raise_if_not_exception  # so that a test can fail inside the function
        if "delivery" in self._overrides:
            # Queues in memory have no transactions; the function behaves the same without them.
            self._overrides = {**self._overrides, "delivery": "at_least_once"}
        self._resolved: dict[tuple[str, Role], ResolvedQueue] | None = None
        self.configure(configuration)

    @property
    def resource_names(self) -> list[str]:
        """The names of the resources that the engine declares."""
        return self._extensions.resources.names

    def replace_resources(self, values: Mapping[str, Any]) -> None:
        """Use these values instead of what the resources of these names open."""
        self._extensions = replace(self._extensions, replaced=values)

    def resolve(self) -> dict[tuple[str, Role], ResolvedQueue]:
        """Resolve once for all runs, because it takes more time than most tests."""
        if self._resolved is None:
            self._resolved = super().resolve()
        return dict(self._resolved)


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
        original = copy.copy(engine).configuration if config is None else load(config)
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
        return EngineUnderTest(engine, replace(configuration, queues=configs)), queues

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
    plugins, engine = configuration.plugins, configuration.engine
    if plugins.allow is not None:
        plugins = plugins.model_copy(update={"allow": [*plugins.allow, EMBEDDED]})
    if engine.delivery != "at_least_once":
        engine = engine.model_copy(update={"delivery": "at_least_once"})
    missing = {
        name: [fault for fault in faults if not (len(fault.path) > 2 and fault.path[2] in LOCATION_KEYS)]
        for name, faults in configuration.missing_variables.items()
    }
    return replace(configuration, plugins=plugins, engine=engine, missing_variables=missing)


def _replaced(
    queue: QueueConfig, real: ProductionQueue, memory_queue: MemoryQueue, registry: Registry, memory: _Memory
) -> QueueConfig:
    label = real.spec.name if real.spec else EMBEDDED
    sides: dict[str, Any] = {}
    for side, make in (("consumer", consumer_class), ("producer", producer_class)):
        can = capabilities(real, getattr(queue, side), side, registry, memory.capabilities)
        sides[side] = make(label, memory_queue, can)
    return QueueConfig(**{**real.settings, "value": real.value, **sides})
