"""Where a configuration must not run code, what a dsn can load is refused, too."""

from __future__ import annotations

import pytest

from penstock.config.files import load
from penstock.config.resolve import problems_of

CODE = [
    "postgresql://host/db?sslkey=pkcs11:token",
    "postgresql://host/db?sslkey=pkcs11%3Atoken",
    "host=h sslkey='dynamic:x'",
    "host=h sslkey = dynamic:x",
    "service=mine",
    "postgresql:///?service=mine",
    "host=h options='-c session_preload_libraries=x'",
    "postgresql://host/db?options=-c%20local_preload_libraries%3Dx",
]


def problems(dsn: str, connector: str, allowed: bool) -> list[str]:
    """What is wrong with a queue of this dsn."""
    source = load(
        {
            "queues": {"q": {"connector": connector, "config": {"dsn": dsn}}},
            "plugins": {"allow_import_paths": allowed},
        }
    )
    return [str(each) for each in problems_of(source, (), [("q", "output")]) if "code" in each.text]


@pytest.mark.parametrize("connector", ["postgres", "postgres.table"])
@pytest.mark.parametrize("dsn", CODE)
def test_what_loads_code_is_refused(dsn: str, connector: str) -> None:
    """Only there, and without a word of the dsn."""
    [problem] = problems(dsn, connector, allowed=False)

    assert "'dsn'" in problem
    assert "allow_import_paths" in problem
    assert "x'" not in problem
    assert problems(dsn, connector, allowed=True) == []


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:p@host:5432/db?sslkey=/etc/key.pem&sslmode=require", "host=h port=5432"]
)
def test_an_ordinary_dsn_stays_allowed(dsn: str) -> None:
    """A file is not an engine."""
    assert problems(dsn, "postgres", allowed=False) == []
