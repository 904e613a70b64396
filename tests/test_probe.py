"""What a probe holds links to, when it measures which, and how it judges: no processes here."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import Any

import pytest

from edgenet.links.memory import link_pair
from edgenet.links.protocol import Kind
from edgenet.links.shared import Shared
from edgenet.links.trial import Effort, follow, lead
from edgenet.shaping.asked import Asked, Stream, asked, stream, talks
from edgenet.shaping.turns import Turn, schedule
from edgenet.shaping.verdict import Row, blank, closest, judged, refusal, row
from edgenet.topology import Topology, dump, loads

WAIT_S = 10.0
HEAD = "train: {scheme: fedavg}\nnodes: {base: {}, member: {count: 4}, far: {}}\nlinks:\n  "
WIRE = "way: {rate: 20 Mbit, delay: 30 ms, between: [base, member0]}"
CELL = "cell: {rate: 20 Mbit, delay: 5 ms, base: base, members: member, shared: true}"
AIR = "air: {wifi: 802.11n-5GHz, rate: 20 Mbit, base: base, members: member}"
SWITCH = "lan: {rate: 20 Mbit, delay: 1 ms, members: member}"


def topology(links: str, more: str = "") -> Topology:
    return loads(f"{HEAD}{links}\n{more}")


def way(links: str, source: str, target: str, back_end: str = "relay") -> Asked:
    return asked(topology(links), source, target, back_end)


@pytest.mark.parametrize(
    ("links", "ends", "part"),
    [
        (WIRE, ("base", "member0"), 1448 / 1500),
        (CELL, ("member0", "base"), 1448 / 1500),
        (AIR, ("member0", "base"), 1448 / (1500 + 26)),  # acknowledgements take from the same air
        (CELL, ("member0", "member1"), 1448 / (1500 + 26)),  # ... as they do up and down a cell
        (AIR, ("member0", "member1"), 1448 / (1500 + 26) / 2),  # and all of it crosses twice
    ],
)
def test_goodput_is_what_headers_and_acknowledgements_leave(
    links: str, ends: tuple[str, str], part: float
) -> None:
    assert way(links, *ends).goodput_bps == pytest.approx(part * 20e6)


def test_a_slow_way_back_limits_the_way_there() -> None:
    slow = "way: {up: {rate: 100 Mbit}, down: {rate: 100 kbit}, between: [base, member0]}"
    assert way(slow, "base", "member0").goodput_bps == pytest.approx(1e5 * 2 * 1448 / 52)


def test_paced_links_are_held_to_their_own_bytes_and_unshaped_ones_to_nothing() -> None:
    lossy = WIRE.replace("delay", "loss: 1 %, delay")
    assert way(WIRE, "base", "member0", "paced").goodput_bps == 20e6
    assert way(lossy, "base", "member0", "paced").goodput_bps == pytest.approx(0.99 * 20e6)
    assert way(WIRE, "base", "member0", "none").goodput_bps == float("inf")


def pairs(links: str, *ends: tuple[str, str], back_end: str = "relay") -> list[tuple[Asked, Asked]]:
    return [(way(links, *each, back_end), way(links, *each[::-1], back_end)) for each in ends]


MEMBERS = [("base", f"member{i}") for i in range(4)]


@pytest.mark.parametrize(
    ("links", "ends", "back_end", "slots"),
    [
        (CELL, MEMBERS, "relay", 4),  # they share the cell
        (AIR, MEMBERS, "netem", 4),
        (CELL.replace("shared: true", "shared: false"), MEMBERS, "relay", 1),
        (CELL, MEMBERS, "paced", 1),  # nothing shares under pacing
        (SWITCH, list(itertools.combinations([f"member{i}" for i in range(4)], 2)), "relay", 2),
    ],
)
def test_only_links_that_share_nothing_are_measured_side_by_side(
    links: str, ends: list[tuple[str, str]], back_end: str, slots: int
) -> None:
    found = schedule(pairs(links, *ends, back_end=back_end), 60.0)
    assert len(found.slots) == slots
    for slot in found.slots:
        for one, other in itertools.combinations(slot, 2):
            assert not one.there.capacities & other.there.capacities
    assert sum(map(len, found.slots)) == len(ends)


def lasts_s(slots: tuple[tuple[Turn, ...], ...]) -> float:
    return sum(max(turn.seconds for turn in slot) for slot in slots)


def test_turns_become_shorter_before_links_are_left_out() -> None:
    all_of_them = pairs(CELL, *MEMBERS)
    long = schedule(all_of_them, 60.0)
    short = schedule(all_of_them, 0.7 * lasts_s(long.slots))
    assert short.left_out == ()
    assert lasts_s(short.slots) <= 0.7 * lasts_s(long.slots)
    few = schedule(all_of_them, 0.5 * lasts_s(short.slots))
    assert lasts_s(few.slots) <= 0.5 * lasts_s(short.slots)
    assert 0 < sum(map(len, few.slots)) == len(MEMBERS) - len(few.left_out)


def test_a_way_of_five_members_is_measured_in_ten_seconds() -> None:
    lte = "cell: {rate: 20 Mbit, delay: 30 ms, base: base, members: [member, far], shared: true}"
    found = schedule(pairs(lte, *MEMBERS, ("base", "far")), 10.0)
    assert found.left_out == ()
    assert lasts_s(found.slots) <= 10.0


def test_pairs_that_talk_are_named_once_the_first_in_front() -> None:
    seats = {"s": ("a", "b"), "a": ("s", "b"), "b": ("s", "a")}
    assert list(talks(seats)) == [("s", "a"), ("s", "b"), ("a", "b")]


def measured(links: str, back_end: str = "relay", **figures: float) -> Row:
    there, back = pairs(links, ("base", "member0"), back_end=back_end)[0]
    each = blank(there, back)
    right = {"goodput_bps": there.goodput_bps, "round_trip_s": there.trip_s + back.trip_s,
             "jitter_s": there.jitter_s, "loss": there.loss}  # fmt: skip
    found = replace(each, measured={**each.measured, **right, **figures})
    return replace(found, packets={"jitter_s": 30, "loss": 1000})


@pytest.mark.parametrize(
    ("figures", "off"),
    [
        ({}, ()),
        ({"goodput_bps": 0.91 * 19.3e6}, ()),
        ({"goodput_bps": 0.89 * 19.3e6}, ("goodput_bps",)),
        ({"goodput_bps": 1.11 * 19.4e6}, ("goodput_bps",)),
        ({"round_trip_s": 0.0675}, ()),
        ({"round_trip_s": 0.0700}, ("round_trip_s",)),
        ({"round_trip_s": 0.0500}, ("round_trip_s",)),
        ({"jitter_s": 0.9e-3}, ()),
        ({"jitter_s": 1.1e-3, "loss": 0.01}, ("jitter_s", "loss")),
    ],
)
def test_what_deviates_is_marked(figures: dict[str, float], off: tuple[str, ...]) -> None:
    assert judged(measured(WIRE, **figures), "relay", 0.1).off == off


def test_chance_is_no_deviation() -> None:
    lossy = WIRE.replace("delay: 30 ms", "delay: 30 ms, jitter: 5 ms, loss: 1 %")
    assert judged(measured(lossy, loss=0.02, jitter_s=6.5e-3), "relay", 0.1).off == ()
    wrong = judged(measured(lossy, loss=0.03, jitter_s=9e-3), "relay", 0.1)
    assert wrong.off == ("jitter_s", "loss")


def test_over_a_lossy_way_packets_are_held_to_the_rate_and_not_tcp() -> None:
    lossy = WIRE.replace("delay:", "loss: 1 %, delay:")
    assert judged(measured(lossy, goodput_bps=2e6), "relay", 0.1).off == ()
    slow = measured(lossy, goodput_bps=2e6, packets_bps=10e6)
    assert judged(slow, "relay", 0.1).off == ("goodput_bps",)
    assert "rate asked 20 Mbit/s, measured 10 Mbit/s" in refusal([judged(slow, "relay", 0.1)], 0.1)
    assert judged(measured(lossy, "paced", goodput_bps=2e6), "paced", 0.1).off == ("goodput_bps",)


def test_nothing_is_asked_where_nothing_shapes() -> None:
    assert judged(measured(WIRE, goodput_bps=1e9), "none", 0.1).off == ()


def test_a_refusal_names_the_worst_link_what_was_asked_and_what_helps() -> None:
    rows = [judged(measured(WIRE, goodput_bps=rate), "relay", 0.1) for rate in (15e6, 5e6, 19e6)]
    told = refusal(rows, 0.1)
    for word in (
        "link 'way' from base to member0", "rate asked 19.3 Mbit/s, measured 5 Mbit/s",
        "and 1 more way", "--probe-tolerance", "--no-probe",
    ):  # fmt: skip
        assert word in told
    assert refusal(rows[2:], 0.1) == ""


def test_rows_survive_json() -> None:
    each = judged(measured(WIRE, goodput_bps=5e6), "relay", 0.1)
    assert row({"e": "probe", **each.fields()}) == each


def test_the_closest_of_several_trials_counts() -> None:
    assert closest(20.0, [5.0, 19.0, 22.0]) == 19.0
    assert closest(float("inf"), [5.0, 22.0]) == 22.0


FAST = Stream(chunk_bytes=2000, window=8, ramp_s=0.0, seconds=0.01)
EFFORT = Effort(pings=3, there=FAST, back=FAST, patience_s=WAIT_S)


def test_both_ends_of_a_link_measure_it_and_leave_it_empty() -> None:
    ends = Shared(), Shared()
    first, second = link_pair(("a", "b"), ends)
    followed = threading.Thread(target=lambda: follow(second, EFFORT, second.recv()))
    followed.start()
    found = lead(first, EFFORT)
    followed.join(WAIT_S)
    assert not followed.is_alive()
    assert min(found.round_trip_s, found.there_bps, found.back_bps) > 0
    first.send("what comes next", kind=Kind.CONTROL)
    assert second.recv(timeout_s=WAIT_S) == "what comes next"
    for link in (first, second):
        link.start_close()
    for link in (first, second):
        link.close()


def test_a_stream_lasts_past_slow_start_and_fills_the_way() -> None:
    there, back = pairs(WIRE, ("base", "member0"))[0]
    found = stream(there, back, 0.3)
    assert found.window * found.chunk_bytes > there.goodput_bps / 8 * 0.06
    assert found.seconds == pytest.approx(found.ramp_s + 0.3)
    assert 0.1 < found.ramp_s < 0.5


@pytest.mark.parametrize(
    ("text", "run", "tolerance", "budget_s"),
    [
        ("", None, 0.1, 6.0),
        ("probe: {run: false}", False, 0.1, 6.0),
        ("probe: {tolerance: 25 %, budget: 20 s}", None, 0.25, 20.0),
    ],
)
def test_the_topology_says_whether_and_how(
    text: str, run: Any, tolerance: float, budget_s: float
) -> None:
    found = topology(WIRE, text)
    assert (found.probe.run, found.probe.tolerance, found.probe.budget_s) == (
        run, tolerance, budget_s,
    )  # fmt: skip
    assert loads(dump(found)) == found
