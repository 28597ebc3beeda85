"""A client that blocks, shared by threads: kept while it answers, made anew when it was lost."""

from __future__ import annotations

import pytest

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, NotConnected
from penstock.shared_client import SharedClient


class Connection:
    """A connection that can break."""

    def __init__(self) -> None:
        self.broken = self.closed = False

    def ask(self) -> None:
        if self.broken:
            raise ConnectionResetError("reset by peer")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made() -> list[Connection]:
    return []


@pytest.fixture
def shared(made: list[Connection]) -> SharedClient[Connection]:
    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    return SharedClient("queue 'q'", "host:1", ErrorTable("Acme", {OSError: NotConnected}), connect)


def test_a_client_that_answers_is_kept(shared: SharedClient[Connection], made: list[Connection]) -> None:
    """What was delivered on its connection stays valid."""
    assert [shared.open(Connection.ask) for _ in range(3)] == [True, False, False]
    assert len(made) == 1


def test_a_client_that_broke_is_not_used_again(shared: SharedClient[Connection], made: list[Connection]) -> None:
    """It may be in the middle of an answer. The next `open` closes it and makes another one."""
    shared.open(Connection.ask)
    made[0].broken = True
    with pytest.raises(NotConnected, match="Acme at host:1: reset by peer"), shared.client() as client:
        client.ask()
    made[0].broken = False
    with pytest.raises(NotConnected), shared.client():
        pass

    assert shared.open(Connection.ask)
    assert (len(made), made[0].closed) == (2, True)


def test_after_the_close_there_is_no_client(shared: SharedClient[Connection], made: list[Connection]) -> None:
    """A second close does nothing, and an `open` closes what it made."""
    shared.open(Connection.ask)
    shared.close()
    shared.close()

    with pytest.raises(ConnectorError, match="closed"):
        shared.open(Connection.ask)
    assert all(each.closed for each in made)
