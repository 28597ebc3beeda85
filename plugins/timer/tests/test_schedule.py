"""When ticks are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.options import OptionProblem
from penstock_timer.check import check
from penstock_timer.options import TimerOptions
from penstock_timer.schedule import LONGEST_BACK, Schedule


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def due(options: TimerOptions, after: str, now: str, most: int = 100) -> list[str]:
    zone = Schedule(options).zone
    ticks, _ = Schedule(options).due(at(after), at(now), most)
    return [datetime.fromtimestamp(tick, zone).strftime("%d %H:%M:%S") for tick in ticks]


def test_an_interval_ticks_at_whole_multiples() -> None:
    """Not counted from the start, so a restart moves no tick."""
    every = TimerOptions(every=90)

    assert due(every, "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z") == ["01 00:01:30", "01 00:03:00", "01 00:04:30"]


def test_a_tick_is_due_at_its_time_and_once() -> None:
    """The time after which is excluded, the time until which is included."""
    every = Schedule(TimerOptions(every=5))

    assert every.due(10.0, 15.0, 10) == ([15.0], 1)
    assert every.due(15.0, 19.9, 10) == ([], 0)
    assert every.due(15.0, 20.0, 10) == ([20.0], 1)


def test_only_the_newest_are_given_and_all_are_counted() -> None:
    """A year of ticks costs no more than one."""
    assert Schedule(TimerOptions(every=1)).due(0.0, 31_536_000.0, 2) == ([31_535_999.0, 31_536_000.0], 31_536_000)
    assert due(TimerOptions(cron="0 * * * *"), "2026-01-01T00:30:00Z", "2026-01-01T05:30:00Z", 2) == [
        "01 04:00:00",
        "01 05:00:00",
    ]


def test_a_cron_expression_ticks_in_its_zone() -> None:
    """Nine o'clock in Berlin is eight in winter, by UTC."""
    berlin = TimerOptions(cron="0 9 * * MON-FRI", zone="Europe/Berlin")
    ticks, _ = Schedule(berlin).due(at("2026-01-02T00:00:00Z"), at("2026-01-05T12:00:00Z"), 10)

    found = [datetime.fromtimestamp(tick, UTC).isoformat() for tick in ticks]
    assert found == ["2026-01-02T08:00:00+00:00", "2026-01-05T08:00:00+00:00"]


def test_summer_time_loses_and_doubles_no_daily_tick() -> None:
    """Half past two is missing on 29 March and twice there on 25 October; the tick comes once on both days."""
    nightly = TimerOptions(cron="30 2 * * *", zone="Europe/Berlin")

    assert due(nightly, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z") == ["29 03:00:00", "30 02:30:00"]
    assert due(nightly, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z") == ["25 02:30:00", "26 02:30:00"]


def test_very_old_ticks_of_an_expression_are_not_looked_for() -> None:
    """They would take seconds, for every second of a year."""
    now = at("2026-06-01T00:00:00Z")

    assert Schedule(TimerOptions(cron="0 * * * *")).due(0.0, now, 1) == ([now], LONGEST_BACK / 3600)


@pytest.mark.parametrize(
    ("options", "key", "text"),
    [
        ({"cron": "61 * * * *"}, "cron", "Bad minute"),
        ({"cron": "* * * *"}, "cron", "Wrong number of fields"),
        ({"cron": "0 0 30 2 *"}, "cron", "Bad day-of-month"),
        ({"cron": "* * * * *", "zone": "Europe/Berln"}, "zone", "Europe/Berlin"),
        ({"every": 5, "zone": "../etc/passwd"}, "zone", "not a time zone"),
    ],
)
def test_a_wrong_schedule_is_refused_by_its_option(options: dict[str, object], key: str, text: str) -> None:
    """Before the first tick, with what is wrong."""
    [problem] = check("clock", TimerOptions.model_validate(options), "input")

    assert isinstance(problem, OptionProblem)
    assert problem.keys == (key,)
    assert text in problem


@pytest.mark.parametrize("options", [{}, {"every": 5, "cron": "* * * * *"}])
def test_there_is_one_schedule(options: dict[str, object]) -> None:
    """Either an interval or an expression."""
    with pytest.raises(ValueError, match="write `every` or `cron`, and not both"):
        TimerOptions.model_validate(options)
