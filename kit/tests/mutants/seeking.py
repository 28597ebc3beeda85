"""Mutants whose `seek` moves the group to another place than was asked for."""

from __future__ import annotations

from datetime import datetime

from mutants.reference import ReferenceConsumer


class SeeksNowhere(ReferenceConsumer):
    """Says that it is done, and leaves the group where it is."""

    async def seek(self, to: str | datetime) -> None:
        pass


class SeeksBehindTheMessage(ReferenceConsumer):
    """Goes on behind the message of the position."""

    async def seek(self, to: str | datetime) -> None:
        await super().seek(str(int(to) + 1) if isinstance(to, str) and to.isdecimal() else to)


class SeeksTheBeginningForATime(ReferenceConsumer):
    """Does not know times."""

    async def seek(self, to: str | datetime) -> None:
        await super().seek("beginning" if isinstance(to, datetime) else to)
