"""A worker that ends: by a signal in the middle of its work, or killed between an output and its settlement."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import Any

from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.children import Child, children
from penstock_kit.families.loss import KILLS
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.running import OUT, STOP_LIMIT, Running, names, queues

AT_ONCE = 20  # messages in flight
MOST_KILLS = 5  # after each, the backend needs time to notice the death
SHORT_GRACE = 0.2  # seconds
WORK_SECONDS = 0.002  # seconds of work for a message
AGAIN = 1.5  # leases after which all messages of a killed worker have come again


class Endings:
    """Engines in processes of their own."""

    @at_least_once
    def test_a_worker_that_is_stopped_in_the_middle_loses_nothing(self, kit: Kit) -> None:
        """SIGTERM while it works, with too little time to finish: it ends in time with exit code 0, settled messages
        stay settled, and the rest is there."""
        kit.needs("processes")

        async def main() -> None:
            sent = numbered(80)
            await kit.send(*sent)
            with children(kit) as maker:
                worker = maker.start_engine(queues(kit), **_job(work_seconds=0.02, shutdown_timeout=SHORT_GRACE))
                worker.go()
                await worker.wait_for("did", 10)
                worker.interrupt(signal.SIGTERM)
                code = await worker.ended(STOP_LIMIT)
                did = worker.lines("did")
                must(
                    code == 0,
                    f"a worker that is stopped ends with exit code 0; it was {code}, and its standard error:\n"
                    f"{worker.said()}",
                    "what the connector raises while it is shut down",
                )
            async with kit.consumer() as successor:
                rest = bodies(await successor.receive(80 - len(set(did)))) + bodies(await successor.rest())
            scenario = f"a worker was stopped by SIGTERM when it had done {len(did)} of 80 messages"
            look = "shutdown: it makes settlements durable, and requeues what is unsettled"
            balance(sent, [*did, *rest], repeats=AT_ONCE, scenario=scenario, look=look)

        kit.run(main)

    @at_least_once
    def test_outputs_of_killed_workers_are_all_there(self, kit: Kit) -> None:
        """`kill -9` at random moments, also between an output and the settlement of its input: each input has its
        output, and only those in flight may have more than one."""
        kit.needs("processes")

        async def main() -> None:
            sent, kills = await _kill_workers(kit)
            seen = await _outputs(kit, sent)
            balance(
                sent,
                seen,
                repeats=kills * (AT_ONCE + kit.backend.settled_late),
                scenario=f"outputs of {kills} workers that were killed, with {AT_ONCE} messages in flight at most",
                look="produce, which confirms what is not stored; what settles a message before its outputs are stored",
            )

        kit.run(main)

    @proves("transactions", probe=False)
    def test_outputs_of_killed_workers_are_there_once(self, kit: Kit) -> None:
        """With `delivery: exactly_once`, each input has exactly one output, whenever the kill came."""
        kit.needs("processes")

        async def main() -> None:
            sent, kills = await _kill_workers(kit, delivery="exactly_once")
            seen = await _outputs(kit, sent, delivery="exactly_once")
            look = "transact(): records and settlements become visible together, by one commit of the backend"
            balance(sent, seen, scenario=f"exactly once, and {kills} workers were killed", look=look)

        kit.run(main)

    def test_ctrl_c_ends_a_worker_whose_backend_is_away(self, kit: Kit) -> None:
        """While it waits for the backend, its health says why. Ctrl-C ends it at once, with exit code 0."""
        kit.needs("processes")
        kit.needs("nowhere")

        async def main() -> None:
            plain = {"serializer": None, "model_handler": None}
            away = [{"name": name, **plain, **kit.backend.nowhere(queue)} for name, queue in names(kit).items()]
            with children(kit) as maker:
                worker = maker.start_engine(away, **_job())
                await worker.wait_for("loaded")
                worker.go()
                (reason, *_) = await worker.wait_for("degraded", seconds=10 + kit.timeout)
                must(
                    reason.strip(),
                    "health says why a worker cannot work; its backend is away, and the reason was empty",
                    "the text of NotConnected that connect raises",
                )
                worker.interrupt(signal.SIGINT)
                code = await worker.ended(STOP_LIMIT)
                must(
                    code == 0,
                    f"Ctrl-C ends a worker that waits for its backend with exit code 0; it was {code}, and its "
                    f"standard error:\n{worker.said()}",
                    "what connect and shutdown raise while the backend is away",
                )

        kit.run(main)


def _job(work_seconds: float = WORK_SECONDS, shutdown_timeout: float = 5.0, **settings: Any) -> dict[str, Any]:
    return {
        "work_seconds": work_seconds,
        "shutdown_timeout": shutdown_timeout,
        "settings": {"max_in_flight": AT_ONCE, **settings},
    }


async def _kill_workers(kit: Kit, **settings: Any) -> tuple[list[bytes], int]:
    """Send messages, let workers work on them, kill each; returns what was sent, and how many were killed."""
    kills = min(MOST_KILLS, max(2, int(os.environ.get(KILLS, "6")) // 2))
    sent = numbered(60 * kills)
    await kit.send(*sent)
    configuration = queues(kit, **kit.backend.short_lease)
    with children(kit) as maker:
        started = [maker.start_engine(configuration, **_job(**settings))]
        for kill in range(kills):
            worker = started[kill]
            await worker.wait_for("loaded")
            worker.go()
            if kill + 1 < kills:
                # The next worker loads while this one works.
                started.append(maker.start_engine(configuration, **_job(**settings)))
            chance = random.Random(kill)
            await worker.wait_for("did", chance.randint(1, 40))
            if kill % 2:
                await _pause_of(worker)
            else:
                await asyncio.sleep(chance.uniform(0, 0.03))
            worker.kill()
    return sent, kills


async def _pause_of(worker: Child) -> None:
    """Wait until the function is idle for a moment, if that comes soon: then its outputs are being sent, or were sent
    and are not settled yet."""
    for _look in range(10):
        done = len(worker.lines("did"))
        await asyncio.sleep(10 * WORK_SECONDS)
        if len(worker.lines("did")) == done:
            return


async def _outputs(kit: Kit, sent: list[bytes], **settings: Any) -> list[bytes | None]:
    """Let an engine process the rest, and read all outputs."""
    seen: list[bytes | None] = []
    async with (
        Running(kit, lambda body: (OUT, body), max_in_flight=AT_ONCE, **settings),
        kit.consumer(names(kit)[OUT]) as reader,
    ):
        while set(sent) - set(seen) and (found := await reader.consume(timeout=2 * kit.timeout)):
            seen += bodies(found)
            await reader.succeed(found)
        if settings.get("delivery") == "exactly_once":
            # Messages of a killed worker come again when its lease ends; a second output could come only then.
            await asyncio.sleep(await _until_all_came_again(kit))
    async with kit.consumer(names(kit)[OUT]) as reader:
        return seen + bodies(await reader.rest())


async def _until_all_came_again(kit: Kit) -> float:
    """Seconds after which a killed worker holds no messages."""
    async with kit.consumer(**kit.backend.short_lease) as looking:
        held = max(looking.lease or 0.0, kit.backend.frozen_after or 0.0)
    return AGAIN * held if held else kit.timeout
