"""What an engine counts, and what Prometheus's own parser reads on the page."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from penstock.observability.counting import EngineMetrics
from penstock.observability.exposition import LABEL_LENGTH, MetricsRegistry
from penstock.observability.metric_definitions import (
    DEAD_LETTERS,
    METRICS,
    MOST_NAMES,
    OUTCOMES,
    PRODUCED,
    RECEIVED,
    RETRIES,
    SETTLED,
    STAGES,
)

BASE = {"app": "shop", "queue": "orders", "connector": "kafka"}
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def engine(**others: object) -> EngineMetrics:
    return EngineMetrics("shop", "orders", "kafka", **others)  # type: ignore[arg-type]


def read(page: bytes) -> Series:
    """Parse a page; a series shown twice fails."""
    series: Series = {}
    for family in text_string_to_metric_families(page.decode("utf-8")):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in series, f"{key} is there twice"
            series[key] = sample.value
    return series


def scrape(*engines: EngineMetrics) -> Series:
    registry = MetricsRegistry()
    for one in engines:
        registry.add(one)
    return read(registry.exposition()[0])


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset((BASE | labels).items())))


def test_names_follow_the_rules_of_prometheus() -> None:
    """Prefix, `_total` on counters and only there, a base unit at the end of everything that has one."""
    for metric in METRICS:
        assert re.fullmatch(r"penstock_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert metric.type == "counter" or re.search(r"(_seconds|_messages|_in_flight|_connected|_bytes)$", metric.name)
        assert bool(metric.bounds) == (metric.type == "histogram")
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.help.endswith(".")
        assert "queue" in metric.labels
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_no_label_can_hold_a_key_an_id_or_a_text() -> None:
    """Only names from the configuration or the code are labels, so the number of series has a bound."""
    own = {metric.label for metric in METRICS}

    assert own == {"", "outcome", "stage", "exception_type", "to_queue", "event"}


def test_the_page_shows_every_metric_of_the_list_and_no_other() -> None:
    """The list, from which the manual is made, and the page say the same, with the same types and texts."""
    registry = MetricsRegistry()
    registry.add(engine())

    families = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(registry.exposition()[0].decode())
        if family.name.startswith("penstock_")
    }

    # The parser, as OpenMetrics, tells a counter without its suffix.
    listed = {metric.name.removesuffix("_total"): (metric.type, metric.help) for metric in METRICS}
    build_info = families.pop("penstock_build_info")
    assert families == listed
    assert build_info[0] == "gauge"


def test_counters_that_can_be_known_start_at_zero() -> None:
    """A first failure shows as a step from 0 to 1, which a rate sees, and not as a counter that was always 1."""
    series = scrape(engine(output_queues=["invoices"]))

    zeros = {
        (name, dict(labels).get("outcome") or dict(labels).get("stage"))
        for (name, labels), v in series.items()
        if v == 0
    }
    assert zeros >= {(SETTLED.name, outcome) for outcome in OUTCOMES}
    assert zeros >= {(DEAD_LETTERS.name, stage) for stage in STAGES}
    assert value(series, "penstock_messages_received_total") == 0
    assert value(series, "penstock_records_produced_total", to_queue="invoices") == 0
    assert value(series, "penstock_records_failed_total", to_queue="invoices") == 0
    assert value(series, "penstock_reconnects_total", to_queue="orders") == 0
    assert value(series, "penstock_reconnects_total", to_queue="invoices") == 0


@pytest.mark.parametrize(
    ("bump", "name", "labels", "expected"),
    [
        (lambda m: m.count(RECEIVED, 3), "penstock_messages_received_total", {}, 3),
        (lambda m: m.count(SETTLED, 3, "succeeded"), "penstock_messages_settled_total", {"outcome": "succeeded"}, 3),
        (lambda m: m.count(SETTLED, 3, "requeued"), "penstock_messages_settled_total", {"outcome": "requeued"}, 3),
        (lambda m: m.count(SETTLED, 3, "skipped"), "penstock_messages_settled_total", {"outcome": "skipped"}, 3),
        (lambda m: m.count(SETTLED, 3, "unsettled"), "penstock_messages_settled_total", {"outcome": "unsettled"}, 3),
        (lambda m: m.dead_lettered(3, "decode"), "penstock_messages_settled_total", {"outcome": "dead_lettered"}, 3),
        (lambda m: m.dead_lettered(3, "decode"), "penstock_dead_letters_total", {"stage": "decode"}, 3),
        (
            lambda m: m.function_failed(3, "KeyError"),
            "penstock_function_failures_total",
            {"exception_type": "KeyError"},
            3,
        ),
        (lambda m: m.count(RETRIES, 3), "penstock_function_retries_total", {}, 3),
        (lambda m: m.count(PRODUCED, 3, "out"), "penstock_records_produced_total", {"to_queue": "out"}, 3),
        (lambda m: m.produce_failed("out", 3), "penstock_records_failed_total", {"to_queue": "out"}, 3),
        (lambda m: m.late_settlements(3), "penstock_late_settlements_total", {}, 3),
        (lambda m: m.reconnects("out"), "penstock_reconnects_total", {"to_queue": "out"}, 1),
        (lambda m: m.batch_size(3), "penstock_batch_messages_sum", {}, 3),
        (lambda m: m.batch_size(3), "penstock_batch_messages_count", {}, 1),
        (lambda m: m.function_time(0.5, 3), "penstock_function_seconds_sum", {}, 0.5),
        (lambda m: m.function_time(0.5, 3), "penstock_function_seconds_count", {}, 3),
        (lambda m: m.produce_time("out", 0.5), "penstock_produce_seconds_sum", {"to_queue": "out"}, 0.5),
        (lambda m: m.end_to_end(0.5), "penstock_end_to_end_seconds_sum", {}, 0.5),
        (lambda m: m.watch_in_flight(lambda: 3), "penstock_messages_in_flight", {}, 3),
        (lambda m: m.watch_oldest_in_flight(lambda: 0.5), "penstock_oldest_in_flight_seconds", {}, 0.5),
        (lambda m: m.watch_lag(lambda: 3), "penstock_lag_messages", {}, 3),
        (lambda m: m.watch_retained(lambda: 3), "penstock_retained_bytes", {}, 3),
        (lambda m: m.watch_connected("out", lambda: True), "penstock_connected", {"to_queue": "out"}, 1),
        (lambda m: m.watch_connected("out", lambda: False), "penstock_connected", {"to_queue": "out"}, 0),
    ],
)
def test_each_method_moves_the_series_that_the_list_describes(
    bump: Callable[[EngineMetrics], None], name: str, labels: dict[str, str], expected: float
) -> None:
    """One call is one visible number, under the engine's labels."""
    metrics = engine()

    bump(metrics)

    assert value(scrape(metrics), name, **labels) == expected


def test_the_final_states_of_messages_add_up() -> None:
    """Every message has one outcome, so their sum is the number of messages."""
    metrics = engine()
    metrics.count(SETTLED, 5, "succeeded")
    metrics.dead_lettered(2, "validate")
    metrics.count(SETTLED, 1, "requeued")
    metrics.count(SETTLED, 1, "skipped")
    metrics.count(SETTLED, 1, "unsettled")

    settled = sum(v for (name, _), v in scrape(metrics).items() if name == "penstock_messages_settled_total")

    assert settled == 10


def test_a_batch_of_calls_is_counted_at_its_mean() -> None:
    """10 calls that took 0.04 s together are ten observations of 4 ms: none under 1 ms, all under 5 ms."""
    metrics = engine()

    metrics.function_time(0.04, 10)
    series = scrape(metrics)

    assert value(series, "penstock_function_seconds_bucket", le="0.001") == 0
    assert value(series, "penstock_function_seconds_bucket", le="0.005") == 10
    assert value(series, "penstock_function_seconds_bucket", le="+Inf") == 10


def test_a_value_on_a_bound_is_inside_its_bucket() -> None:
    """`le` means less than or equal."""
    metrics = engine()

    metrics.batch_size(100)
    series = scrape(metrics)

    assert value(series, "penstock_batch_messages_bucket", le="50.0") == 0
    assert value(series, "penstock_batch_messages_bucket", le="100.0") == 1


def test_a_value_past_all_bounds_is_still_counted() -> None:
    """The last bucket has no upper bound."""
    metrics = engine()

    metrics.batch_size(1_000_000)
    series = scrape(metrics)

    assert value(series, "penstock_batch_messages_bucket", le="5000.0") == 0
    assert value(series, "penstock_batch_messages_bucket", le="+Inf") == 1


def test_a_batch_without_calls_is_no_observation() -> None:
    """A batch in which nothing could be decoded took the function no time, and divides by nothing."""
    metrics = engine()

    metrics.function_time(0.0, 0)

    assert value(scrape(metrics), "penstock_function_seconds_count") is None


def test_a_message_from_the_future_counts_as_now() -> None:
    """A broker's clock that is ahead of ours must not make a sum go down."""
    metrics = engine()

    metrics.end_to_end(-3.0)

    assert value(scrape(metrics), "penstock_end_to_end_seconds_sum") == 0


def test_classes_of_exceptions_cannot_flood_the_series() -> None:
    """After 50 classes the rest is "other"; the known ones go on being counted by name, and no failure is lost."""
    metrics = engine()
    for number in range(MOST_NAMES + 25):
        metrics.function_failed(1, f"Error{number}")
    metrics.function_failed(1, "Error0")

    series = {
        dict(labels)["exception_type"]: v
        for (name, labels), v in scrape(metrics).items()
        if name == "penstock_function_failures_total"
    }

    assert len(series) == MOST_NAMES + 1
    assert (series["other"], series["Error0"], sum(series.values())) == (25, 2, MOST_NAMES + 26)


def test_a_gauge_that_cannot_tell_is_left_out() -> None:
    """Unknown lag is absent: a 0 would look like a queue that is empty."""
    metrics = engine()
    metrics.watch_lag(lambda: None)

    assert value(scrape(metrics), "penstock_lag_messages") is None


def test_a_broken_gauge_hides_no_other_metric(caplog: pytest.LogCaptureFixture) -> None:
    """The page shows the rest, and the log names metric and queue."""
    metrics = engine()
    metrics.watch_lag(lambda: 1 // 0)
    metrics.watch_in_flight(lambda: 7)

    with caplog.at_level(logging.WARNING, logger="penstock"):
        series = scrape(metrics)

    assert value(series, "penstock_messages_in_flight") == 7
    assert value(series, "penstock_lag_messages") is None
    assert "metric penstock_lag_messages of queue orders cannot be read" in caplog.text


def test_a_gauge_may_count_something_while_it_is_read() -> None:
    """Reading happens outside the lock, so a reader that bumps a counter does not wait for itself."""
    metrics = engine()
    metrics.watch_lag(lambda: metrics.reconnects("orders") or 1)

    assert value(scrape(metrics), "penstock_lag_messages") == 1


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "two\nlines", "Straße", "日本", ""])
def test_any_name_of_a_queue_arrives_as_it_is(name: str) -> None:
    """Quotes, line breaks and any alphabet survive the page."""
    series = scrape(EngineMetrics("shop", name, "kafka"))

    assert series["penstock_messages_received_total", frozenset((BASE | {"queue": name}).items())] == 0


def test_a_name_that_is_no_utf8_does_not_spoil_the_page() -> None:
    """A lone surrogate in one name becomes a question mark, and the page is still a page."""
    series = scrape(EngineMetrics("shop", "orders\udcff", "kafka"))

    assert series["penstock_messages_received_total", frozenset((BASE | {"queue": "orders?"}).items())] == 0


def test_names_that_look_the_same_once_cleaned_are_one_series() -> None:
    """Two classes whose long names begin alike are counted together, not shown twice."""
    metrics = engine()
    metrics.function_failed(1, "E" * LABEL_LENGTH + "1")
    metrics.function_failed(1, "E" * LABEL_LENGTH + "2")

    assert value(scrape(metrics), "penstock_function_failures_total", exception_type="E" * LABEL_LENGTH) == 2


def test_engines_with_different_queues_stand_side_by_side() -> None:
    """One worker, several engines: told apart by their labels."""
    orders, refunds = engine(), EngineMetrics("shop", "refunds", "rsmq")
    orders.count(RECEIVED, 1)
    refunds.count(RECEIVED, 2)

    series = scrape(orders, refunds)

    assert value(series, "penstock_messages_received_total") == 1
    assert value(series, "penstock_messages_received_total", queue="refunds", connector="rsmq") == 2


def test_engines_with_equal_labels_are_shown_as_one() -> None:
    """Prometheus refuses a page with a series twice, so equal ones are merged: sums, the worse age, the worse state."""
    one, two = engine(), engine()
    one.count(RECEIVED, 1)
    two.count(RECEIVED, 2)
    one.batch_size(10)
    two.batch_size(20)
    for metrics, in_flight, oldest, lag, connected in ((one, 3, 1.0, 50, True), (two, 4, 9.0, 40, False)):
        metrics.watch_in_flight(lambda n=in_flight: n)
        metrics.watch_oldest_in_flight(lambda n=oldest: n)
        metrics.watch_lag(lambda n=lag: n)
        metrics.watch_connected("orders", lambda n=connected: n)

    series = scrape(one, two)

    assert value(series, "penstock_messages_received_total") == 3
    assert value(series, "penstock_batch_messages_count") == 2
    assert value(series, "penstock_batch_messages_sum") == 30
    assert value(series, "penstock_messages_in_flight") == 7
    assert value(series, "penstock_oldest_in_flight_seconds") == 9
    assert value(series, "penstock_lag_messages") == 50
    assert value(series, "penstock_connected", to_queue="orders") == 0


def test_an_engine_that_is_added_again_is_not_counted_twice() -> None:
    """A supervisor that starts an engine again may register its metrics again."""
    metrics = engine()
    metrics.count(RECEIVED, 1)

    assert value(scrape(metrics, metrics), "penstock_messages_received_total") == 1


def test_showing_the_page_changes_nothing() -> None:
    """A second scrape shows the same numbers as the first."""
    metrics = engine()
    metrics.batch_size(10)
    registry = MetricsRegistry()
    registry.add(metrics)

    first, second = (
        {key: v for key, v in read(registry.exposition()[0]).items() if key[0].startswith("penstock_")}
        for _ in range(2)
    )

    assert first == second


def test_a_worker_without_engines_has_a_page() -> None:
    """Who asks early gets the version and the process, not an error."""
    body, content_type = MetricsRegistry().exposition()

    series = read(body)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert any(name == "penstock_build_info" for name, _ in series)


def test_workers_in_one_process_share_nothing() -> None:
    """Nothing is registered globally: neither the default registry nor another worker's shows this engine."""
    metrics = engine()
    scrape(metrics)

    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("penstock_")]
    assert not [name for name, _ in scrape() if name == "penstock_messages_received_total"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can, so that a race shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_no_count_is_lost_between_threads_while_the_page_is_read() -> None:
    """Four threads count, a fifth reads: the sums are exact in the end, and no counter ever went down."""
    metrics = engine(output_queues=["out"])
    registry = MetricsRegistry()
    registry.add(metrics)
    rounds, threads = 3000, 4

    def count() -> None:
        for number in range(rounds):
            metrics.count(SETTLED, 2, "succeeded")
            metrics.count(PRODUCED, 1, "out")
            metrics.function_failed(1, f"Error{number % 60}")
            metrics.function_time(0.001, 1)

    workers = [threading.Thread(target=count) for _ in range(threads)]
    for worker in workers:
        worker.start()
    pages = [read(registry.exposition()[0])]
    while any(worker.is_alive() for worker in workers):
        pages.append(read(registry.exposition()[0]))
    for worker in workers:
        worker.join()
    pages.append(read(registry.exposition()[0]))

    last = pages[-1]
    assert value(last, "penstock_messages_settled_total", outcome="succeeded") == 2 * rounds * threads
    assert value(last, "penstock_records_produced_total", to_queue="out") == rounds * threads
    assert value(last, "penstock_function_seconds_count") == rounds * threads
    failures = sum(v for (name, _), v in last.items() if name == "penstock_function_failures_total")
    assert failures == rounds * threads
    for earlier, later in pairwise(pages):
        for key, before in earlier.items():
            if key[0].startswith("penstock_"):
                assert later[key] >= before


def test_importing_and_counting_needs_no_prometheus() -> None:
    """The client costs 80 ms and is imported by the first scrape only."""
    code = (
        "import sys\n"
        "from penstock.observability.counting import EngineMetrics\n"
        "from penstock.observability.exposition import MetricsRegistry\n"
        "m = EngineMetrics('a', 'q', 'c'); m.reconnects('q'); m.function_time(1.0, 1)\n"
        "r = MetricsRegistry(); r.add(m)\n"
        "print([n for n in ('http', 'prometheus_client', 'pydantic') if n in sys.modules])\n"
        "r.exposition()\n"
        "print('prometheus_client' in sys.modules)\n"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.split("\n")[:2] == ["[]", "True"]
