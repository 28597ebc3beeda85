"""The file: who may use it, and what is said when it cannot be used."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_sqlite import file_system
from penstock_sqlite.consumer import SqliteConsumer
from penstock_sqlite.errors import ERRORS
from penstock_sqlite.file_system import network_file_system
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.producer import SqliteProducer

UNPRIVILEGED = 65_534  # a user who owns nothing; for tests that run as root, whom no permission stops


def refusal(path: Path, **more: Any) -> ConnectorError:
    """What `connect` raises."""
    producer = SqliteProducer("q", SqliteOptions(path=str(path), **more))
    with pytest.raises(ConnectorError) as caught:
        producer.connect()
    producer.shutdown()
    return caught.value


def test_the_files_are_for_their_user_only(opened: Any, path: Path) -> None:
    """The database, and all that stands beside it, whatever the umask."""
    before = os.umask(0)
    try:
        opened.producer().produce([Record(b"x")])
        opened.consumer()
    finally:
        os.umask(before)

    assert {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()} == {
        path.name + end: "0o600" for end in ("", "-wal", "-shm", "-owners")
    }


def test_a_file_that_exists_keeps_its_mode(opened: Any, path: Path) -> None:
    """Users of a group share queues by creating the file first."""
    path.touch(0o660)
    path.chmod(0o660)
    opened.producer().produce([Record(b"x")])
    opened.consumer()

    assert {oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()} == {"0o660"}


def test_a_folder_that_does_not_exist_is_waited_for(tmp_path: Path) -> None:
    """It may be mounted later."""
    error = refusal(tmp_path / "missing" / "queues.db")

    assert isinstance(error, NotConnected)
    assert f"the folder {tmp_path / 'missing'} does not exist; create it, or mount it" in str(error)


def test_a_file_that_must_not_be_created_is_waited_for(path: Path) -> None:
    """Another program creates it; an empty file is not enough."""
    error = refusal(path, create=False)
    assert isinstance(error, NotConnected)
    assert "create the file, or set `create: true`" in str(error)
    path.touch()
    error = refusal(path, create=False)

    assert isinstance(error, FatalConnectorError)
    assert "the file has no queues; set `create: true` in the queue's config" in str(error)


def test_another_programs_file_is_refused_and_left_alone(path: Path) -> None:
    """So is a directory."""
    path.write_bytes(b"Dear diary, " * 100)
    error = refusal(path)
    assert isinstance(error, FatalConnectorError)
    assert "this is another program's file; choose another `path`" in str(error)
    assert path.read_bytes() == b"Dear diary, " * 100

    assert isinstance(refusal(path.parent), ConnectorError)


def test_a_database_in_utf_16_is_refused(path: Path) -> None:
    """Bodies are read as text of the database's encoding, which must leave bytes as they are."""
    with sqlite3.connect(path) as program:
        program.execute("PRAGMA encoding = 'UTF-16'")
        program.execute("CREATE TABLE mine (id)")
    program.close()

    assert "encoded in UTF-16le, and queues need UTF-8; choose another `path`" in str(refusal(path))


CONNECT = f"""
import os, sys
from penstock.errors import ConnectorError
from penstock_sqlite.consumer import SqliteConsumer
from penstock_sqlite.options import SqliteOptions
consumer = SqliteConsumer("q", SqliteOptions(path=sys.argv[1]))
if os.geteuid() == 0:
    os.setgid({UNPRIVILEGED})
    os.setuid({UNPRIVILEGED})
try:
    consumer.connect()
except ConnectorError as error:
    print(type(error).__name__, error)
consumer.shutdown()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that any user may enter; pytest's own are for their user only."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def connect_without_privileges(path: Path) -> str:
    """What a consumer's `connect` raises in a process of a user who owns nothing."""
    return subprocess.run([sys.executable, "-c", CONNECT, path], check=True, capture_output=True, text=True).stdout


def test_a_folder_that_may_not_be_written_is_named(folder: Path) -> None:
    """SQLite itself says only that it cannot open the file."""
    folder.chmod(0o555)
    told = connect_without_privileges(folder / "queues.db")

    assert told.startswith("FatalConnectorError")
    assert f"this user may not create files in {folder}" in told


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_that_may_not_be_written_is_named(folder: Path, mode: int) -> None:
    """Though its folder may be; or not even read."""
    path = folder / "queues.db"
    path.touch()
    path.chmod(mode)
    folder.chmod(0o777)
    told = connect_without_privileges(path)

    assert told.startswith("FatalConnectorError")
    assert str(path) in told
    assert "let this user" in told


def test_a_lock_of_another_program_is_waited_for(opened: Any, path: Path) -> None:
    """For `timeout` seconds; then the engine is told to try again, and what to look for."""
    producer = opened.producer(timeout=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotConnected, match="look for a backup, or a shell with an open transaction"):
        producer.produce([Record(b"x")])
    other.execute("ROLLBACK")
    other.close()

    assert producer.produce([Record(b"x")]) == [None]


def test_a_full_disk_stores_nothing_and_says_what_to_do(path: Path) -> None:
    """The error of a database that may not grow is that of a full disk."""
    small = sqlite3.connect(path, isolation_level=None)
    small.execute("CREATE TABLE t (body)")
    small.execute("PRAGMA max_page_count = 3")
    with (
        pytest.raises(NotConnected, match="the disk is full; free some space") as caught,
        ERRORS.translating(str(path)),
    ):
        small.execute("INSERT INTO t VALUES (zeroblob(100000))")
    small.close()

    assert str(path) in str(caught.value)


def test_a_file_that_was_replaced_is_opened_again(opened: Any, path: Path) -> None:
    """What is written to a file that is no longer there would be lost."""
    producer, consumer = opened.producer(), opened.consumer()
    for each in path.parent.iterdir():
        each.unlink()
    with pytest.raises(NotConnected):
        producer.produce([Record(b"x")])
    producer.connect()
    producer.produce([Record(b"x")])
    with pytest.raises(NotConnected, match="another file is in its place"):
        consumer.consume(1, 0)
    consumer.connect()

    assert [message.message for message in consumer.consume(1, 5)] == [b"x"]


def test_network_file_systems_are_known_by_their_mount(tmp_path: Path) -> None:
    """The longest mount point that holds the file counts, and the last one at the same place."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
        "23 22 0:50 / /home rw,relatime shared:5 - nfs4 server:/home rw\n"
        "24 23 0:51 / /home/local rw - ext4 /dev/sdb rw\n"
        "25 22 0:52 / /with\\040space rw - cifs //server/share rw\n"
        "26 22 0:53 / /over rw - nfs server:/x rw\n"
        "27 22 0:54 / /over rw - xfs /dev/sdc rw\n"
    )
    found = {
        path: network_file_system(path, str(mounts))
        for path in ("/a.db", "/home/a.db", "/home/local/a.db", "/homes/a.db", "/with space/a.db", "/over/a.db")
    }

    assert {path: kind for path, kind in found.items() if kind} == {"/home/a.db": "nfs4", "/with space/a.db": "cifs"}
    assert network_file_system("/a.db", str(tmp_path / "missing")) is None


def test_a_network_file_system_is_warned_about_once(
    opened: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It works for the processes of one machine, so it is not refused."""
    monkeypatch.setattr(file_system, "network_file_system", lambda _path: "nfs4")
    with caplog.at_level(logging.WARNING, "penstock.sqlite"):
        opened.producer().produce([Record(b"x")])
        opened.consumer()

    (message,) = [each.getMessage() for each in caplog.records]
    assert "is on a network file system (nfs4)" in message
    assert "use a local disk, or a connector with a server" in message


def test_every_error_class_of_the_client_has_a_meaning() -> None:
    """A bug of ours, or a refusal, is a plain ConnectorError; what else there is, the codes tell."""
    assert ERRORS.unmapped(sqlite3) == {
        "DataError",
        "DatabaseError",
        "Error",
        "IntegrityError",
        "InterfaceError",
        "InternalError",
        "NotSupportedError",
        "OperationalError",
        "ProgrammingError",
        "Warning",
    }


def test_every_code_in_the_table_is_one_of_sqlites() -> None:
    """A typing error there would be an error that means nothing."""
    for code in (*ERRORS.by_code, *(key for key in ERRORS.remedies if isinstance(key, str))):
        assert hasattr(sqlite3, code), code


def test_a_closed_consumer_leaves_no_lock(opened: Any, path: Path) -> None:
    """The number of a consumer is free again, and its row is gone."""
    consumer = SqliteConsumer("q", SqliteOptions(path=str(path)))
    consumer.connect()
    consumer.shutdown()
    with sqlite3.connect(path) as program:
        left = program.execute("SELECT count(*) FROM penstock_consumers").fetchone()
    program.close()

    assert left == (0,)
