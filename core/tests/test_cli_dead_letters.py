"""`penstock dead-letters`: letters that are odd, cannot be sent, or are chosen; files; what is asked and said."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.capabilities import Capabilities
from penstock.cli.main import main
from penstock.dead_letters import REPLAYS, dead_letter, read
from penstock.envelope import wrap
from penstock.message import Headers, QueueMessage, Record
from penstock.operations import open as open_queue
from penstock.operations.letters import Filter
from penstock.operations.taking import Taking, open_envelopes
from penstock.queues.browsing import OpenedMessage
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.options import MemoryOptions

CONFIG = """
queues:
  orders: {profile: memory-dlq, value: shop.orders, config: {namespace: SPACE}}
  bills: {profile: memory-dlq, config: {namespace: SPACE}}
  dead: {profile: memory-dlq, config: {namespace: SPACE}}
"""


class Shop:
    """A configuration with the queues `orders`, `bills` and `dead`, and the command on `dead`."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "queues.yml"
        self.config.write_text(CONFIG.replace("SPACE", uuid.uuid4().hex))
        self._capfd = capfd

    def put(self, *records: Record, queue: str = "dead") -> None:
        """Put records into a queue."""

        async def send() -> None:
            async with open_queue.publish(self.config, queue) as opened:
                assert not await opened.produce(records)

        asyncio.run(send())

    def seen(self, queue: str) -> list[OpenedMessage]:
        """All messages of a queue."""

        async def look() -> list[OpenedMessage]:
            async with open_queue.browse(self.config, queue) as opened:
                return [each async for each in opened.messages()]

        return asyncio.run(look())

    def bodies(self, queue: str) -> list[bytes | None]:
        """The bodies in a queue."""
        return [each.message.message for each in self.seen(queue)]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._capfd.readouterr()
        try:
            code = main(["dead-letters", str(self.config), "dead", *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        out, err = self._capfd.readouterr()
        return code, out, err


@pytest.fixture
def shop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capfd)


def died(body: bytes = b"{}", headers: Headers = (), **about: Any) -> Record:
    """A dead letter of `shop.orders`."""
    said = {"stage": "function", "error": ValueError("x"), "queue": "shop.orders", "app": "stock", "now": 1e9, **about}
    return dead_letter(QueueMessage(None, body, b"k", headers, position="7"), attempts=3, **said)


def test_an_empty_queue_is_said_to_be_empty(shop: Shop) -> None:
    """By each action, and none fails for it, but `show`, which was asked for a letter."""
    assert shop("list") == (0, "dead: 0 letters\n", "")
    assert json.loads(shop("list", "--json")[1]) == {"queue": "dead", "letters": 0, "groups": []}
    assert shop("show")[::2] == (1, "penstock: dead: no such letter; `list` counts what is there\n")
    assert shop("replay")[::2] == (0, "0 letters replayed\n")
    assert shop("drop", "--all")[::2] == (0, "0 letters dropped\n")
    assert shop("export", str(shop.folder / "file"))[::2] == (0, "0 letters exported\n")


def test_letters_are_counted_by_what_they_have_in_common(shop: Shop) -> None:
    """Stage, class of the error, origin and app, each with the first and the last time."""
    shop.put(died(), died(now=1e9 + 5), died(stage="decode"), died(app="till"), Record(b"foreign"))
    groups = json.loads(shop("list", "--json")[1])["groups"]
    assert [(each["count"], each["stage"], each["error"], each["origin"], each["app"]) for each in groups] == [
        (2, "function", "ValueError", "shop.orders", "stock"),
        (1, "decode", "ValueError", "shop.orders", "stock"),
        (1, "function", "ValueError", "shop.orders", "till"),
        (1, "", "", "", ""),
    ]
    assert (groups[0]["first"], groups[0]["last"]) == ("2001-09-09T01:46:40.000Z", "2001-09-09T01:46:45.000Z")
    assert "not a dead letter" in shop("list")[1]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["--stage", "decode"], [b"1"]),
        (["--error", "KEYERROR: 'no"], [b"2"]),
        (["--origin", "other"], [b"3"]),
        (["--app", "till"], [b"4"]),
        (["--since", "2001-09-09T01:46:41Z"], [b"5", b"6"]),
        (["--until", "2001-09-09T03:46:40+02:00", "--stage", "decode"], [b"1"]),
        (["--since", "1h"], [b"6"]),
        (["--id", "shop.orders:7", "--app", "till"], [b"4"]),
        (["--id", "6", "--id", "4"], [b"3", b"5"]),
    ],
)
def test_a_filter_chooses_letters(shop: Shop, chosen: list[str], expected: list[bytes]) -> None:
    """By stage, error, origin, app, time, id and position; for each action alike."""
    shop.put(
        died(b"0"),
        died(b"1", stage="decode"),
        died(b"2", error=KeyError("nothing")),
        died(b"3", queue="other"),
        died(b"4", app="till"),
        died(b"5", now=1e9 + 5),
        Record(b"6"),
    )
    file = shop.folder / "letters.jsonl"
    assert shop("export", str(file), "--keep", *chosen)[0] == 0
    assert [json.loads(line)["body"].encode() for line in file.read_bytes().splitlines()] == expected
    assert shop("drop", "--yes", *chosen)[0] == 0
    assert not set(expected) & set(shop.bodies("dead"))
    assert len(shop.bodies("dead")) == 7 - len(expected)


@pytest.mark.parametrize("time", ["yesterday", "2001-09-09T01:46:41", "2w", ""])
def test_a_time_that_is_none_is_answered_with_one(shop: Shop, time: str) -> None:
    """With the two forms; a time without a zone may be any."""
    code, _out, err = shop("list", "--since", time)
    assert code == 2
    assert "write 2026-11-27T02:00:00Z, or 90s, 30m, 2h, 7d ago" in err


def test_a_letter_is_shown_whole_and_harmless(shop: Shop) -> None:
    """Escapes of a terminal are shown as text, secrets of the configuration are masked, bytes are shown in hex."""
    text = shop.config.read_text()
    shop.config.write_text(text + "  sender: {profile: rsmq, config: {host: nowhere, password: hunter2hunter2}}\n")
    shop.put(died(b"\x1b[2J password is hunter2hunter2", [("h", b"\x1b]0;x\x07")]), Record(b"\xff\x00abc"))
    code, out, _err = shop("show")
    assert code == 0
    assert "\x1b" not in out
    assert "\\x1b[2J" in out
    assert "error     ValueError: x" in out
    assert "origin    shop.orders at 7" in out
    assert "not a dead letter" in out
    assert "ff 00 61 62 63" in out
    shown = [json.loads(line) for line in shop("show", "--json")[1].splitlines()]
    assert [shown[0]["stage"], shown[0]["attempts"], shown[1]["body"]] == ["function", 3, {"base64": "/wBhYmM="}]


def test_a_long_body_is_cut_but_not_through_a_character(shop: Shop) -> None:
    """Text whose last shown character is halved is text all the same, and the command says how to see the rest."""
    shop.put(died("ä".encode() * 50))
    assert "ää\n… 95 more bytes: --bytes 100 shows all\n" in shop("show", "--bytes", "5")[1]
    assert "ä" * 50 + "\n" in shop("show", "--bytes", "100")[1]


def test_a_foreign_message_stays_unless_it_is_told_where_to_go(shop: Shop) -> None:
    """Its origin is not known, which is said with what to do."""
    shop.put(Record(b"foreign", b"k", [("h", b"v")]), died(b"ours"))
    code, out, err = shop("replay", "--dry-run")
    assert (code, out) == (1, "1 letter of dead would go to orders\n")
    assert "1 letter would be left: the letter does not say where it came from" in err
    assert "name a queue with --to" in err
    code, _out, err = shop("replay")
    assert code == 1
    assert err.startswith("1 letter replayed\n1 letter left: the letter does not say")
    assert (shop.bodies("orders"), shop.bodies("dead")) == ([b"ours"], [b"foreign"])
    assert shop("replay", "--to", "bills")[0] == 0
    assert shop.bodies("bills") == [b"foreign"]


def test_an_origin_that_is_not_configured_is_said(shop: Shop) -> None:
    """And its letters stay, until the queue is in the configuration or another one is named."""
    shop.put(died(b"1", queue="gone"))
    code, _out, err = shop("replay")
    assert code == 1
    assert f"no queue of {shop.config} is 'gone' at its backend; add it there, or name another queue with --to" in err
    assert shop.bodies("dead") == [b"1"]


def test_an_origin_of_two_meanings_is_asked_for(shop: Shop) -> None:
    """Two names of one queue are one origin; the same name at two backends is not."""
    text = shop.config.read_text()
    space = text.partition("namespace: ")[2].partition("}")[0]
    shop.config.write_text(f"{text}  again: {{profile: memory, value: shop.orders, config: {{namespace: {space}}}}}\n")
    shop.put(died(b"1"))
    assert shop("replay")[0] == 0
    shop.config.write_text(f"{text}  again: {{profile: memory, value: shop.orders, config: {{namespace: other}}}}\n")
    shop.put(died(b"2"))
    code, _out, err = shop("replay")
    assert code == 1
    assert "'orders' and 'again' are both 'shop.orders' at their backends; name one of them with --to" in err


def test_a_letter_that_died_again_and_again_is_not_replayed_blindly(shop: Shop) -> None:
    """Each replay counts in a header that the next letter keeps; the fourth one has to be forced."""
    shop.put(died(b"1"))
    for replay in (1, 2, 3):
        assert shop("replay")[0] == 0
        message = shop.seen("orders")[-1].message
        assert dict(message.headers)[REPLAYS] == b"%d" % replay
        shop.put(died(b"1", message.headers))
    code, _out, err = shop("replay")
    assert code == 1
    assert (
        "1 letter left: replayed 3 times or more, and died each time: look at them with `show`, then use --force" in err
    )
    assert read(shop.seen("dead")[0].message).replays == 3
    assert shop("replay", "--force")[0] == 0
    assert dict(shop.seen("orders")[-1].message.headers)[REPLAYS] == b"4"


def test_dropping_needs_a_choice_and_a_yes(shop: Shop) -> None:
    """Without a filter --all; and without a terminal to ask --yes."""
    shop.put(died(), died())
    assert shop("drop", "--yes")[0] == 2
    code, _out, err = shop("drop", "--all")
    assert (code, err) == (1, "penstock: nothing was dropped; answer yes, or add --yes\n")
    assert len(shop.bodies("dead")) == 2
    assert shop("drop", "--all", "--yes")[::2] == (0, "2 letters dropped\n")
    assert shop.bodies("dead") == []


def test_a_file_that_holds_something_is_not_written_over(shop: Shop) -> None:
    """It takes --append; and a letter whose line could not be written stays."""
    shop.put(died())
    file = shop.folder / "letters.jsonl"
    file.write_text("mine\n")
    code, _out, err = shop("export", str(file))
    assert code == 2
    assert "add --append" in err
    assert shop("export", "-")[0] == 2
    assert shop("export", "/dev/full")[0] == 1
    assert len(shop.bodies("dead")) == 1
    assert shop("export", str(file), "--append")[0] == 0
    assert file.read_text().startswith('mine\n{"penstock-envelope":1,')
    assert shop.bodies("dead") == []


def test_a_reader_that_goes_away_loses_nothing(shop: Shop) -> None:
    """A broken pipe ends the command; the letters stay where they are."""
    folder = shop.folder
    text = shop.config.read_text().replace("memory-dlq", "sqlite-dlq")
    shop.config.write_text(
        text.replace("namespace:", f"path: {folder}/").replace(f"path: {folder}/ ", f"path: {folder}/")
    )
    shop.put(*[died(b"x" * 5_000) for _ in range(100)])
    command = [sys.executable, "-m", "penstock.cli.main", "dead-letters", str(shop.config), "dead", "export", "-"]
    with subprocess.Popen([*command, "--keep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.read(100).startswith('{"penstock-envelope":1,')
        running.stdout.close()
        assert running.wait(60) == 1
        assert running.stderr is not None
        assert "Broken pipe" in (told := running.stderr.read())
        assert "Traceback" not in told
    assert len(shop.bodies("dead")) == 100


# Files


def exported(shop: Shop, count: int) -> Path:
    """A file with so many letters, which are nowhere else."""
    shop.put(*[died(b"%d" % number) for number in range(count)])
    file = shop.folder / "letters.jsonl"
    assert shop("export", str(file))[0] == 0
    return file


def test_a_file_goes_on_where_it_was_left(shop: Shop) -> None:
    """How far it was sent stands beside it: after a crash no letter is left out, and only a batch is repeated."""
    file = exported(shop, 5)
    lines = file.read_bytes().splitlines(keepends=True)
    sent = {"sent_bytes": len(b"".join(lines[:3])), "selection": f"{Filter()} "}
    Path(f"{file}.replayed").write_text(json.dumps(sent))
    assert shop("replay", "--from", str(file))[0] == 0
    assert shop.bodies("orders") == [b"3", b"4"]
    code, _out, err = shop("replay", "--from", str(file), "--stage", "function")
    assert code == 2
    assert f"is about other letters than those chosen now; remove {file}.replayed to send {file} from its start" in err


@pytest.mark.parametrize("line", [b"{}", b'{"penstock-envelope":1}', b'{"penstock-envelope":2,"body":""}', b"\xff"])
def test_a_line_that_is_not_a_letter_is_named_before_anything_is_sent(shop: Shop, line: bytes) -> None:
    """By its number in the file."""
    file = exported(shop, 1)
    file.write_bytes(file.read_bytes() + line + b"\n")
    code, _out, err = shop("replay", "--from", str(file))
    assert code == 2
    assert f"{file}, line 2: " in err
    assert shop.bodies("orders") == []


def test_a_file_with_a_letter_that_cannot_be_sent_is_not_sent(shop: Shop) -> None:
    """Its place in the file is one number, which must not pass over a letter."""
    shop.put(died(b"1"), Record(b"foreign"))
    file = str(shop.folder / "letters.jsonl")
    shop("export", file)
    code, _out, err = shop("replay", "--from", file)
    assert code == 1
    assert "0 letters replayed\n1 letter left: " in err
    assert shop.bodies("orders") == []
    assert shop("replay", "--from", file, "--to", "bills")[0] == 0
    assert shop.bodies("bills") == [b"1", b"foreign"]


# A connector that cannot deliver chosen messages


class NoClaim(MemoryConsumer):
    """Delivers from the front only."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        headers=True, keys=True, ordering="queue", lease=True, lag=True, tombstones=True, browse=True
    )

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__(name, MemoryOptions.model_validate(options))


def test_without_claims_the_others_are_held_and_put_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen letters are consumed from among the others, which are in the queue afterwards."""
    text = shop.config.read_text()
    monkeypatch.syspath_prepend(str(shop.folder))
    (shop.folder / "plain_shop.py").write_text("from core.tests.test_cli_dead_letters import NoClaim\n")
    shop.put(*[died(b"%d" % number, stage="decode" if number % 2 else "function") for number in range(8)])
    shop.config.write_text(
        text.replace(
            "dead: {profile: memory-dlq,",
            "dead: {consumer: 'plain_shop:NoClaim', serializer: null, model_handler: null,",
        )
    )
    code, _out, err = shop("replay", "--stage", "decode")
    assert code == 0
    assert err.startswith("4 letters replayed\n4 letters that were not chosen were leased as well")
    assert shop.bodies("orders") == [b"1", b"3", b"5", b"7"]
    assert shop.bodies("dead") == [b"0", b"2", b"4", b"6"]


def test_what_is_held_keeps_its_lease_through_many_short_calls() -> None:
    """Extensions fall due by the time since the last one, not by the time of one call."""

    class Held:
        lease, keep_polling, extended = 0.03, False, 0

        async def extend(self, messages: Sequence[QueueMessage]) -> None:
            self.extended += len(messages)

    async def main() -> int:
        queue = Held()
        taking = Taking(queue, [], lambda: 1, asyncio.Event())  # type: ignore[arg-type]
        for _call in range(30):
            async with taking.kept([QueueMessage(None, b"")]):
                await asyncio.sleep(0.004)
        return queue.extended

    assert asyncio.run(main()) >= 3


def test_a_damaged_envelope_is_taken_as_it_came() -> None:
    """It is a foreign letter, and stops no other one."""
    damaged = QueueMessage(None, b'{"penstock-envelope":9}')
    whole = QueueMessage(None, wrap(Record(b"x", b"k")))
    open_envelopes([damaged, whole])
    assert (damaged.message, whole.message, whole.key) == (b'{"penstock-envelope":9}', b"x", b"k")
