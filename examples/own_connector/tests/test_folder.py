"""What a connector promises, on a real disk and with real processes."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from penstock_folder.consumer import FolderConsumer
from penstock_folder.options import FolderOptions, check
from penstock_folder.producer import FolderProducer

from penstock.errors import NotConnected, ProduceError
from penstock.message import QueueMessage, Record

TAKE_AND_SLEEP = """
import sys, time
from penstock_folder.consumer import FolderConsumer
from penstock_folder.options import FolderOptions
consumer = FolderConsumer("q", FolderOptions(path=sys.argv[1]))
consumer.connect()
print(len(consumer.consume(10, 5.0)), flush=True)
time.sleep(60)
"""


def put(path: Path, *bodies: bytes) -> None:
    producer = FolderProducer("q", FolderOptions(path=str(path)))
    producer.connect()
    assert producer.produce([Record(body) for body in bodies]) == [None] * len(bodies)
    producer.shutdown()


def consumer(path: Path) -> FolderConsumer:
    made = FolderConsumer("q", FolderOptions(path=str(path)))
    made.connect()
    return made


def bodies(messages: list[QueueMessage]) -> list[bytes | None]:
    return [message.message for message in messages]


def test_what_a_killed_process_held_comes_again_and_is_counted(tmp_path: Path) -> None:
    """SIGKILL after the messages were taken: the next consumer gets all of them, with `attempts` raised."""
    put(tmp_path, b"a", b"b")
    command = [sys.executable, "-c", TAKE_AND_SLEEP, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "2\n"
        heir = consumer(tmp_path)
        assert heir.consume(10, 0.0) == []  # as long as it lives, they are its own
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = list(heir.consume(10, 5.0))
    assert sorted(bodies(found)) == [b"a", b"b"]
    assert [message.attempts for message in found] == [2, 2]
    heir.shutdown()


def test_a_message_has_one_holder(tmp_path: Path) -> None:
    """Four consumers side by side take each message exactly once."""
    put(tmp_path, *(b"%d" % number for number in range(200)))
    consumers = [consumer(tmp_path) for _ in range(4)]

    def take_all(each: FolderConsumer) -> list[bytes | None]:
        taken: list[bytes | None] = []
        while messages := each.consume(7, 0.0):
            taken += bodies(list(messages))
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [body for part in pool.map(take_all, consumers) for body in part]
    assert sorted(taken) == sorted(b"%d" % number for number in range(200))
    for each in consumers:
        each.shutdown()


def test_a_settled_message_is_gone_and_settling_it_again_is_late(tmp_path: Path) -> None:
    """Settling is idempotent; the second time is counted and changes nothing."""
    put(tmp_path, b"a")
    first = consumer(tmp_path)
    messages = first.consume(10, 0.0)
    assert first.on_success(messages) == 0
    assert first.on_success(messages) == 1
    first.on_fail(messages)
    assert first.lag() == 0
    first.shutdown()


def test_what_is_unsettled_at_shutdown_is_visible_at_once(tmp_path: Path) -> None:
    """No lease must run out first."""
    put(tmp_path, b"a")
    first = consumer(tmp_path)
    assert len(first.consume(10, 0.0)) == 1
    first.shutdown()
    second = consumer(tmp_path)
    assert bodies(list(second.consume(10, 0.0))) == [b"a"]
    second.shutdown()


def test_a_directory_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Not mounted is not the same as wrong: the engine shall try again."""
    with pytest.raises(NotConnected):
        consumer(tmp_path / "not-mounted")


def test_one_bad_record_does_not_keep_its_neighbours_out(tmp_path: Path) -> None:
    """A record that can never be stored is answered for, not raised."""
    producer = FolderProducer("q", FolderOptions(path=str(tmp_path)))
    producer.connect()
    answers = producer.produce([Record(b"a"), Record(b"b", options={"priority": 1}), Record(b"c")])
    assert [answers[0], answers[2]] == [None, None]
    assert isinstance(answers[1], ProduceError)
    assert not answers[1].retriable
    reader = consumer(tmp_path)
    assert sorted(bodies(list(reader.consume(10, 0.0)))) == [b"a", b"c"]
    reader.shutdown()


def test_a_queue_that_cannot_be_a_directory_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    """What `penstock check` says."""
    options = FolderOptions(path=str(tmp_path))
    assert not check("orders", options, "input")
    assert "'../orders'" in check("../orders", options, "input")[0]
