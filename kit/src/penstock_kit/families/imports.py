"""The cost of importing a plugin, which every listing and every start pays."""

from __future__ import annotations

from importlib import import_module

from penstock.errors import PenstockError
from penstock.installed import plugin_of
from penstock_kit.alone import run_alone
from penstock_kit.broken import Broken, must
from penstock_kit.kit import Kit

IMPORT_LIMIT = 0.25  # seconds of CPU for a plugin's module and its options, on a slow machine

PROGRAM = """
import collections.abc, json, sys, threading, time
import penstock.standalone, penstock.hookspecs, penstock.specs, penstock.options, penstock.capabilities
import pydantic, importlib_metadata
pydantic.create_model("Warm", number=(int, 0), texts=(collections.abc.Sequence[str], ()))
before = set(sys.modules)
done = []
watched = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork")
sys.addaudithook(lambda event, arguments: done.append(event) if event in watched else None)
started = time.process_time()
for name in json.loads(sys.argv[1]):
    __import__(name)
seconds = time.process_time() - started
brought = sorted({name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
json.dump({"did": done, "threads": threading.active_count(), "brought": brought, "seconds": seconds,
           "modules": sorted(set(sys.modules) - before)}, sys.stdout)
"""


class Imports:
    """The plugin's module and its options model."""

    def test_the_plugin_is_light(self, kit: Kit) -> None:
        """Importing it and its options connects nowhere, starts nothing, is quick, and does not import the client
        library."""
        plugin = plugin_of(kit.connector)
        names = [plugin, *([kit.spec.options.partition(":")[0]] if kit.spec.options else [])]
        look = f"what {' and '.join(names)} import or do at their top; a spec names classes by import strings"
        found = run_alone(PROGRAM, names, "a plugin is imported", look)
        must(not found["did"], f"importing a plugin does no I/O; it did {sorted(set(found['did']))}", look)
        must(found["threads"] == 1, f"importing a plugin starts no thread; it started {found['threads'] - 1}", look)
        heavy = [
            target.partition(":")[0]
            for target in (kit.spec.consumer, kit.spec.producer)
            if target is not None and target.partition(":")[0] in found["modules"]
        ]
        own = {name.split(".")[0] for name in names}
        must(
            not heavy,
            f"importing a plugin does not import its connector; it imported {', '.join(sorted(set(heavy)))}",
            look,
        )
        foreign = [name for name in found["brought"] if name not in own | {"penstock"}]
        must(
            not foreign,
            f"importing a plugin imports no client library, so that listing is quick and works without it; it imported "
            f"{', '.join(foreign)}",
            look,
        )
        must(
            found["seconds"] < IMPORT_LIMIT,
            f"importing a plugin is quick; it took {found['seconds']:.2f} s of CPU",
            look,
        )

    def test_everything_that_the_plugin_names_exists(self, kit: Kit) -> None:
        """Its sides, options and check can be imported, and fit the contract."""
        try:
            for role in kit.roles:
                kit.make_consumer() if role == "input" else kit.make_producer()
        except PenstockError as error:
            raise Broken(f"everything that a plugin names exists: {error}\n    look at: its ConnectorSpec") from error
        if kit.spec.check is not None:
            module, _, name = kit.spec.check.partition(":")
            must(
                callable(getattr(import_module(module), name, None)),
                f"everything that a plugin names exists; check={kit.spec.check!r} does not, or is not a function",
                "`check` of its ConnectorSpec",
            )
