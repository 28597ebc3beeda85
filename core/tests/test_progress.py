"""The text beside a committed offset: what it says is settled, and when nothing is believed."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.progress import Progress, dump, load

LOG = "cluster/orders/0"
LIMIT = 4096

anyhow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine fails no test

gaps = st.one_of(st.integers(1, 3), st.integers(1, 200), st.integers(1, 2**40))
progresses = st.builds(
    lambda offset, lengths, generation: Progress(offset, _runs(offset, lengths), generation),
    st.one_of(st.integers(0, 100), st.integers(0, 2**62)),
    st.lists(st.tuples(gaps, gaps), min_size=1, max_size=60),
    st.integers(0, 2**31 - 1),
)


def _runs(offset: int, lengths: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    runs, end = [], offset
    for gap, length in lengths:
        runs.append((end + gap, end + gap + length))
        end += gap + length
    return tuple(runs)


@anyhow
@given(progresses)
def test_what_was_written_is_read(progress: Progress) -> None:
    """All of it, if it fits."""
    assert load(dump(progress, LOG, 10_000), LOG, progress.offset) == progress


@anyhow
@given(progresses, st.integers(0, 400))
def test_what_does_not_fit_is_left_out_from_the_far_end(progress: Progress, limit: int) -> None:
    """The text never exceeds its limit, and says of nothing that it is settled which is not."""
    text = dump(progress, LOG, limit)
    assert len(text) <= limit
    assert text.isascii()

    read = load(text, LOG, progress.offset)

    assert (read is None) == (not text)
    assert read is None or read.settled == progress.settled[: len(read.settled)]


def test_many_waiting_messages_fit() -> None:
    """Two of a hundred wait, as while a dependency is flaky: 90,000 offsets fit beside one of them."""
    chance = random.Random(20261126)
    still_open = [0, *(offset for offset in range(1, 90_000) if chance.random() < 0.02), 90_000]
    runs = [(first + 1, after) for first, after in pairwise(still_open) if after - first > 1]

    progress = Progress(0, tuple(runs), 3)

    assert load(dump(progress, LOG, LIMIT), LOG, 0) == progress


def test_nothing_is_written_where_nothing_could_be_believed() -> None:
    """Nothing is settled above the offset, or the log does not tell whether it was written anew."""
    assert dump(Progress(5, (), 0), LOG, LIMIT) == ""
    assert dump(Progress(5, ((7, 9),), None), LOG, LIMIT) == ""


@anyhow
@given(progresses, st.integers(1, 2**20))
def test_a_text_about_something_else_says_nothing(progress: Progress, other: int) -> None:
    """Another offset, another log, nothing at all."""
    text = dump(progress, LOG, 10_000)

    assert load(text, LOG, progress.offset + other) is None
    assert load(text, f"{LOG}{other}", progress.offset) is None
    assert load(None, LOG, progress.offset) is None
    assert load("", LOG, progress.offset) is None


@anyhow
@given(progresses, st.data())
def test_a_damaged_text_says_nothing(progress: Progress, data: st.DataObject) -> None:
    """One character changed, added, or gone."""
    text = dump(progress, LOG, 10_000)
    place = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from(["", "0", "A", ":", "~", text[place] * 2]))

    damaged = text[:place] + put + text[place + 1 :]

    assert damaged == text or load(damaged, LOG, progress.offset) is None


@pytest.mark.parametrize("text", [":::::", "penstock1::::", "penstock1:5:x:0:", "\N{SNOWMAN}", "\x00" * 50, "{}"])
def test_a_foreign_text_says_nothing(text: str) -> None:
    """Whatever another program has stored there."""
    assert load(text, LOG, 5) is None


@anyhow
@given(progresses, st.data())
def test_positions_of_the_unsettled(progress: Progress, data: st.DataObject) -> None:
    """Against the plain definition."""
    edges = [offset for run in progress.settled for edge in run for offset in (edge - 1, edge, edge + 1)]
    offsets = sorted(set(data.draw(st.lists(st.sampled_from(edges), min_size=1))))

    expected = [i for i, each in enumerate(offsets) if not any(a <= each < b for a, b in progress.settled)]

    assert progress.unsettled(offsets) == expected
