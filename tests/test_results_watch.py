from __future__ import annotations

from typing import Any

import pytest

from edgenet.results.events import Event
from edgenet.results.tally import Tally
from edgenet.results.watch import Watch


def event(node: str, name: str, t: float, round_: int = 0, **fields: Any) -> Event:
    return Event(node, name, t, round_, fields)


def span(kind: str, t: float, d: float) -> Event:
    return event("a", "span", t, 1, k=kind, d=d, n=kind)


@pytest.fixture
def watch() -> Watch:
    watch = Watch({"a": {"role": "learner", "device": "pi3"}})
    watch.add(event("a", "start", 0.0, role="learner", device="pi3"))
    return watch


def test_a_node_starts_connects_and_computes() -> None:
    watch = Watch({"a": {}})
    node = watch.nodes["a"]
    assert node.state == "starting"
    watch.add(event("a", "start", 0.0))
    assert node.state == "connecting"
    watch.add(span("compute", 1.0, 0.5))
    assert node.state == "computing"


@pytest.mark.parametrize(
    ("kind", "state"),
    [("evaluate", "evaluating"), ("idle", "slowed"), ("send", "sending"), ("wait", "waiting")],
)
def test_a_state_is_the_kind_of_the_latest_span(watch: Watch, kind: str, state: str) -> None:
    watch.add(span(kind, 1.0, 0.5))
    assert watch.nodes["a"].state == state


def test_of_many_short_spans_the_longest_in_sum_counts(watch: Watch) -> None:
    for number in range(20):
        watch.add(span("compute", number * 0.01, 0.007))
        watch.add(span("wait", number * 0.01 + 0.007, 0.003))
    assert watch.nodes["a"].state == "computing"


def test_a_slow_down_is_a_part_of_the_computing(watch: Watch) -> None:
    for kind, t, d in (("compute", 0.0, 0.2), ("idle", 0.2, 0.4), ("wait", 0.6, 0.35)):
        watch.add(span(kind, t, d))
    assert watch.nodes["a"].state == "slowed"
    watch.add(span("compute", 1.0, 0.5))
    assert watch.nodes["a"].state == "computing"


def test_what_was_long_ago_does_not_count(watch: Watch) -> None:
    watch.add(span("compute", 0.0, 1.0))
    watch.add(span("wait", 20.0, 0.1))
    assert watch.nodes["a"].state == "waiting"


def test_an_open_span_counts_more_than_those_that_ended(watch: Watch) -> None:
    watch.add(span("wait", 0.0, 1.0))
    watch.add(event("a", "doing", 2.0, 1, k=["send", "compute"]))
    assert watch.nodes["a"].state == "computing"
    watch.add(span("compute", 1.0, 2.0))
    watch.add(event("a", "doing", 4.0, 1, k=[]))
    assert watch.nodes["a"].state == "waiting"  # nothing that computes is open


def test_a_lost_node_is_lost_until_it_starts_again(watch: Watch) -> None:
    watch.add(event("b", "fault", 1.0, 1, peer="a", what="lost"))
    assert watch.nodes["a"].state == "lost"
    watch.add(event("a", "start", 2.0))
    assert watch.nodes["a"].state == "connecting"


def test_a_late_node_is_not_lost(watch: Watch) -> None:
    watch.add(event("b", "fault", 1.0, 1, peer="a", what="late"))
    assert watch.nodes["a"].state == "connecting"


def test_the_end_says_how_it_ended(watch: Watch) -> None:
    watch.add(event("b", "fault", 1.0, 1, peer="a", what="silent"))
    assert watch.nodes["a"].state == "frozen"
    watch.add(event("a", "end", 2.0, 1, status="failed"))
    assert watch.nodes["a"].state == "failed"


def test_throughput_is_the_mean_of_the_last_seconds_over_all_peers(watch: Watch) -> None:
    for second in range(10):
        for number, peer in enumerate(("b", "c")):
            at = second + 0.01 * number
            count = {"out": 1000 * second, "in": 500 * second}
            watch.add(event("a", "traffic", at, 1, peer=peer, **count))
    assert watch.nodes["a"].rates(9.1) == pytest.approx((2000.0, 1000.0))
    assert watch.nodes["a"].rates(60.0) == (0.0, 0.0)


def test_rare_readings_count_until_the_next_is_overdue(watch: Watch) -> None:
    for second in (25.0, 50.0):
        watch.add(event("a", "traffic", second, 1, peer="b", out=1000 * second))
    assert watch.nodes["a"].rates(70.0) == pytest.approx((1000.0, 0.0))
    assert watch.nodes["a"].rates(150.0) == (0.0, 0.0)


def test_a_node_that_ended_moves_nothing(watch: Watch) -> None:
    for second in range(3):
        watch.add(event("a", "traffic", second, 1, peer="b", out=1000 * second))
    watch.add(event("a", "end", 2.0, 1, status="done"))
    assert watch.nodes["a"].rates(2.0) == (0.0, 0.0)


def test_processor_share_is_between_two_readings(watch: Watch) -> None:
    watch.add(event("a", "resources", 1.0, 1, cpu_s=1.0, rss_bytes=10))
    assert watch.nodes["a"].cpu_share == pytest.approx(1.0)  # since its start
    watch.add(event("a", "resources", 3.0, 1, cpu_s=2.0, rss_bytes=20))
    assert watch.nodes["a"].cpu_share == pytest.approx(0.5)
    assert watch.nodes["a"].rss_bytes == 20


def test_bytes_of_a_round_count_once_whichever_end_wrote_them(watch: Watch) -> None:
    figures = {"k": "weights", "payload": 90, "overhead": 10}
    watch.add(event("a", "bytes", 1.0, 1, peer="b", dir="out", **figures))
    watch.add(event("b", "bytes", 1.0, 1, peer="a", dir="in", **figures))
    watch.add(event("b", "bytes", 1.0, 1, peer="c", dir="in", **figures))
    watch.add(event("b", "bytes", 1.0, 1, peer="c", dir="in", k="evaluation", payload=7))
    assert watch.round_bytes(1) == 200
    watch.forget_bytes(2)
    assert watch.round_bytes(1) == 0


def test_rounds_are_those_of_the_first_that_reports(watch: Watch) -> None:
    watch.add(span("wait", 1.0, 0.5))
    watch.add(event("a", "round", 2.0, 1, loss=0.5, active=["b"]))
    watch.add(event("b", "round", 2.5, 1, loss=9.0))
    watch.add(event("a", "round", 3.0, 1, accuracy=0.9))
    (each,) = watch.rounds
    assert (each.loss, each.accuracy, each.active, each.wall_s) == (0.5, 0.9, ("b",), 2.0)
    assert watch.round_s == 2.0
    assert watch.current == 1


def test_a_first_round_is_as_long_as_in_the_tables() -> None:
    told = [
        event("a", "start", 0.0),
        event("b", "bytes", 0.5, 1, peer="a", dir="in", k="weights"),
        event("a", "bytes", 1.4, 1, peer="b", dir="in", k="weights"),
        event("a", "span", 1.0, 1, k="wait", n="recv", d=0.9),  # written when it ended
        event("a", "round", 2.0, 1, loss=0.5),
        event("a", "round", 2.5, 2, loss=0.4),
        event("a", "start", 7.0),
        event("a", "resumed", 7.1, after=1),
        event("a", "bytes", 8.2, 2, peer="b", dir="in", k="weights"),
        event("a", "span", 8.0, 2, k="wait", n="recv", d=0.4),
        event("a", "round", 8.5, 2, loss=0.4),
        event("a", "round", 8.6, 2, accuracy=0.9),
    ]
    watch = Watch({"a": {}, "b": {}})
    for each in told:
        watch.add(each)
    lengths = [each.wall_s for each in watch.rounds]
    assert lengths == pytest.approx([1.0, 0.6])
    assert lengths == pytest.approx([each.wall_s for each in Tally(told).rounds])
