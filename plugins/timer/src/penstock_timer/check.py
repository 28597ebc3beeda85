"""Options judged before the first tick; `penstock check` and start-up ask the same function."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from penstock.options import OptionProblem, Role
from penstock_timer.options import TimerOptions


def check(name: str, options: TimerOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (an input, of any name)
    """One sentence a problem."""
    from cronsim import CronSim, CronSimError

    try:
        zone = ZoneInfo(options.zone)
    except (OSError, ValueError, KeyError):
        text = f"zone: {options.zone!r} is not a time zone that this machine knows; write one such as Europe/Berlin"
        return [OptionProblem(text, "zone")]
    try:
        if options.cron is not None:
            next(CronSim(options.cron, datetime.now(zone)))
    except CronSimError as error:
        return [OptionProblem(f"cron: {options.cron!r} is not a cron expression: {error}", "cron")]
    except StopIteration:
        return [OptionProblem(f"cron: {options.cron!r} has no tick in the next 50 years", "cron")]
    return []
