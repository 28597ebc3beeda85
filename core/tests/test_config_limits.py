"""A configuration that would stop or starve the program is an error in words, with its place, within a moment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.errors import ConfigError

AT_ONCE = 20.0  # seconds, on a machine with much else to do; each took minutes, or for ever


def refusal(source: Any) -> str:
    """What is said of a configuration, at once."""
    began = time.monotonic()
    with pytest.raises(ConfigError) as refused:
        load(source)
    assert time.monotonic() - began < AT_ONCE
    return str(refused.value)


def test_a_named_pipe(tmp_path: Path) -> None:
    """A named pipe without a writer: the error comes at once."""
    os.mkfifo(tmp_path / "q.yml")

    assert "is a named pipe; a configuration is a regular file" in refusal(tmp_path / "q.yml")


def test_a_device(tmp_path: Path) -> None:
    """One that never ends."""
    (tmp_path / "q.toml").symlink_to("/dev/zero")

    assert "is a device; a configuration is a regular file" in refusal(tmp_path / "q.toml")


def test_a_directory(tmp_path: Path) -> None:
    """Named like a file."""
    (tmp_path / "q.yml").mkdir()

    assert "cannot be read: Is a directory" in refusal(tmp_path / "q.yml")


@pytest.mark.parametrize("name", ["q.yml", "q.toml"])
def test_a_large_file(tmp_path: Path, name: str) -> None:
    """100 MB, of which no more is read than is needed to see it."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(100_000_000)

    assert "is larger than 512 KiB" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"a.b.c.d{number} = 1\n" for number in range(30_000)),
        ".".join(["a"] * 50_000) + " = 1\n",
        "[" + ".".join(["a"] * 50_000) + "]\n",
        "x = {" + ".".join(["a"] * 50_000) + " = 1}\n",
        "".join("a." * steps + f"a{steps} = 1\n" for steps in range(1, 600)),
        "".join(f"[a.b{number}]\n" for number in range(30_000)),
    ],
    ids=["lines", "one key", "one table", "inline", "a stair", "tables"],
)
def test_dotted_keys(tmp_path: Path, text: str) -> None:
    """They cost TOML's parser the square of their number."""
    (tmp_path / "q.toml").write_text(text)

    answer = refusal(tmp_path / "q.toml")

    assert answer.startswith(f"{tmp_path / 'q.toml'}:")
    assert "steps; " in answer or "dots; " in answer


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.yml", "[" * 100_000, "nested too deeply"),
        ("q.yml", "a: " + "{a: " * 50_000, "nested too deeply"),
        ("q.toml", "a = " + "[" * 100_000, "nested too deeply"),
        ("q.toml", "a = " + "9" * 5_000, "is not well-formed TOML"),
        ("q.yml", "queues: {a: {connector: !!bool maybe}}", "q.yml:1:"),
        ("q.yml", "queues: {a: {connector: !!timestamp now}}", "q.yml:1:"),
        ("q.yml", "queues: {a: {connector: !!int ''}}", "q.yml:1:"),
    ],
)
def test_what_a_parser_stumbles_over(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Whatever it raises is an error of the file."""
    (tmp_path / name).write_text(text)

    assert said in refusal(tmp_path / name)


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"], ids=["NUL", "surrogate"])
@pytest.mark.parametrize(
    ("key", "queue"),
    [
        ("value", {"value": "BAD"}),
        ("config.namespace", {"config": {"namespace": "BAD"}}),
        ("config.list[1]", {"config": {"list": ["a", "BAD"]}}),
        ("connector", {"connector": "BAD"}),
    ],
)
def test_text_that_no_client_library_takes(key: str, queue: dict[str, Any], bad: str) -> None:
    """It would end there, in C, and name another topic; the answer says where it stands."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        return [fill(each) for each in value] if isinstance(value, list) else value.replace("BAD", bad)

    answer = refusal({"queues": {"orders": {"connector": "memory", **fill(queue)}}})

    assert f"{key!r} has " in answer
    assert "at position 2" in answer
    assert bad not in answer


def test_a_queues_own_name() -> None:
    """As a key, in a list, from an object, and out of the environment."""
    for source in ({"queues": {"a\0b": {"connector": "memory"}}}, [QueueConfig(name="a\0b", connector="memory")]):
        assert "has a NUL character at position 2" in refusal(source)


def test_a_usual_configuration_is_read(tmp_path: Path) -> None:
    """Hundreds of queues, in both formats, with dots in their values."""
    (tmp_path / "q.yml").write_text(
        "queues:\n" + "".join(f"  q{n}: {{connector: memory, value: a.b.c.d.{n}}}\n" for n in range(500))
    )
    (tmp_path / "q.toml").write_text(
        "".join(f'[queues."q{n}"]\nconnector = "memory"\nvalue = "{"a." * 50}"\n' for n in range(500))
    )

    assert len(load(tmp_path / "q.yml").queues) == len(load(tmp_path / "q.toml").queues) == 500
