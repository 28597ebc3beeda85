"""`penstock.checkpoints`: messages are settled in any order, the stored place never passes an unsettled one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.checkpoints import Checkpoints, SourceMessage
from penstock.errors import FatalConnectorError, NotConnected

log = logging.getLogger("test")


def checkpoints(path: Path | None) -> Checkpoints:
    return Checkpoints("feed", None if path is None else str(path), log)


def messages(*bodies: bytes) -> list[SourceMessage]:
    return [SourceMessage(None, body, body.decode(), identity=body.decode()) for body in bodies]


def bodies(taken: list[SourceMessage]) -> list[bytes | None]:
    return [message.message for message in taken]


async def stored(path: Path) -> Any:
    """What the next owner finds."""
    following = checkpoints(path)
    assert await following.own()
    try:
        return following.state
    finally:
        await following.close()


def test_the_stored_place_waits_for_the_lowest_unsettled_message(tmp_path: Path) -> None:
    """The second place holds only once the messages of the first are settled, too."""
    path = tmp_path / "place"

    async def main() -> None:
        ours = checkpoints(path)
        assert await ours.own()
        ours.add(messages(b"1", b"2"), "behind 2")
        ours.add(messages(b"3"), "behind 3")
        one, two, three = ours.take(10)
        assert await ours.succeed([three, one]) == 0
        assert ours.state is None
        assert await ours.succeed([two]) == 0
        assert ours.state == "behind 3"
        await ours.close()

    asyncio.run(main())
    assert asyncio.run(stored(path)) == "behind 3"


def test_what_was_settled_behind_the_place_does_not_come_again(tmp_path: Path) -> None:
    """The source brings it again after a restart, and its identity tells that it is done."""
    path = tmp_path / "place"

    async def main() -> None:
        ours = checkpoints(path)
        await ours.own()
        ours.add(messages(b"1", b"2", b"3"), "behind 3")
        _one, two, three = ours.take(10)
        assert await ours.succeed([two]) == 0
        assert await ours.succeed([three]) == 0
        del ours  # as a process that is killed: nothing more is stored

    async def again() -> None:
        theirs = checkpoints(path)
        assert await theirs.own()
        theirs.add(messages(b"1", b"2", b"3", b"4"), "behind 4")
        taken = theirs.take(10)
        assert bodies(taken) == [b"1", b"4"]
        assert await theirs.succeed(taken) == 0
        assert theirs.state == "behind 4"
        await theirs.close()

    asyncio.run(main())
    Path(f"{path}.lock").unlink()  # whose lock this very process has
    asyncio.run(again())


def test_a_requeued_message_comes_first_as_it_was_sent(tmp_path: Path) -> None:
    """With one attempt more, whatever was made of it; the place stays before it."""

    async def main() -> None:
        ours = checkpoints(tmp_path / "place")
        await ours.own()
        ours.add(messages(b"1", b"2"), "behind 2")
        [one] = ours.take(1)
        one.message = b"changed"
        assert ours.requeue([one]) == 0
        assert await ours.succeed([one]) == 1  # it belongs to its next delivery
        again, two = ours.take(10)
        assert (again.message, again.attempts, two.message) == (b"1", 2, b"2")
        assert ours.requeue([again], delay=0.0) == 0
        assert ours.is_empty  # of new ones, so the source is asked for more
        [again] = ours.take(10)
        await ours.succeed([two])
        assert ours.state is None
        await ours.succeed([again])
        assert ours.state == "behind 2"
        await ours.close()

    asyncio.run(main())


def test_what_is_settled_after_the_close_is_late(tmp_path: Path) -> None:
    """And changes nothing in the file, which another consumer may own."""
    path = tmp_path / "place"

    async def main() -> None:
        ours = checkpoints(path)
        await ours.own()
        ours.add(messages(b"1"), "behind 1")
        taken = ours.take(1)
        await ours.close()
        assert await ours.succeed(taken) == 1
        assert ours.requeue(taken) == 1

    asyncio.run(main())
    assert asyncio.run(stored(path)) is None


def test_another_consumer_stands_by_until_the_owner_closes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once in the log."""
    path = tmp_path / "place"

    async def main() -> None:
        ours, theirs = checkpoints(path), checkpoints(path)
        assert await ours.own()
        assert not await theirs.own()
        assert not await theirs.own()
        await ours.close()
        assert await theirs.own()
        await theirs.close()

    with caplog.at_level(logging.INFO, "test"):
        asyncio.run(main())
    assert [record.message.split(",")[0] for record in caplog.records] == ["queue feed: stands by"]


OWNER = """
import asyncio, logging, sys
from penstock.checkpoints import Checkpoints

async def main():
    assert await Checkpoints("feed", sys.argv[1], logging.getLogger()).own()
    print("owns", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_owner_leaves_the_place_to_others(tmp_path: Path) -> None:
    """The operating system takes the lock back."""
    path = tmp_path / "place"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"owns\n"

        async def owns() -> bool:
            theirs = checkpoints(path)
            try:
                return await theirs.own()
            finally:
                await theirs.close()

        assert not asyncio.run(owns())
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert asyncio.run(owns())


def test_a_place_that_cannot_be_stored_is_stored_by_the_next_call(tmp_path: Path) -> None:
    """The call raises `NotConnected`, so the engine repeats it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "place"

    async def main() -> None:
        ours = checkpoints(path)
        await ours.own()
        ours.add(messages(b"1"), "behind 1")
        taken = ours.take(1)
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(NotConnected, match=r"place.*No such file"):
            await ours.succeed(taken)
        (tmp_path / "elsewhere").rename(folder)
        assert await ours.succeed(taken) == 0
        assert ours.state == "behind 1"
        await ours.close()

    asyncio.run(main())


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}"])
def test_a_file_of_another_program_is_refused(tmp_path: Path, text: str) -> None:
    """It names the file, and is left as it is."""
    path = tmp_path / "place"
    path.write_text(text)

    with pytest.raises(FatalConnectorError, match="place' is not one that this connector wrote"):
        asyncio.run(checkpoints(path).own())
    assert path.read_text() == text


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Nothing could be stored there."""
    with pytest.raises(FatalConnectorError, match="No such file or directory"):
        asyncio.run(checkpoints(tmp_path / "missing" / "place").own())


def test_without_a_file_everything_stays_in_memory() -> None:
    """Everybody owns the source, and nothing is written."""

    async def main() -> None:
        before = set(os.listdir())
        ours = checkpoints(None)
        assert await ours.own()
        ours.add(messages(b"1"), "behind 1")
        assert bodies(ours.take(1)) == [b"1"]
        assert await ours.succeed(ours.take(1)) == 0
        await ours.close()
        assert set(os.listdir()) == before

    asyncio.run(main())
