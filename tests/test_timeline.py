"""What links do over time: events, fading and traces as arithmetic."""

from __future__ import annotations

import math
import statistics

import pytest

from edgenet.channels import BEFORE, Timeline, channel
from edgenet.channels.lte import Cell, efficiency, mean_snr, rate_bps
from edgenet.channels.recorded import rates_bps
from edgenet.topology import Topology, loads
from edgenet.topology.spec import Channel, Trace

NODES = "nodes: {a: {at: [0, 0]}, b: {count: 3, at: [200, 0]}, c: {}}\ntrain: {scheme: fedavg}\n"


def net(links: str, *events: str, seed: int = 1) -> Topology:
    listed = "".join(f"  - {event}\n" for event in events)
    return loads(
        f"{NODES}links: {links}\nseed: {seed}\n" + (f"events:\n{listed}" if events else "")
    )


WIRE = "{w: {rate: 8 Mbit, delay: 10 ms, between: [a, c]}}"


def test_a_topology_without_events_stays_as_it_is() -> None:
    line = Timeline(net(WIRE))
    assert line.live == ()
    assert line.after(BEFORE) == math.inf
    assert line.course("a", "c").at(100.0) == (Channel(rate_bps=8e6, delay_s=0.01), math.inf)


def test_degradations_add_up_and_restore_ends_them() -> None:
    line = Timeline(
        net(
            WIRE,
            "{at: 3 s, degrade: w, rate: 1 Mbit}",  # later in time, whatever the order in the file
            "{at: 1 s, degrade: w, factor: 0.5}",
            "{at: 2 s, degrade: w, delay: 50 ms, loss: 1 %}",
            "{at: 4 s, restore: w}",
        )
    )
    plain = Channel(rate_bps=8e6, delay_s=0.01)
    expected = {
        0.0: plain,
        0.999: plain,
        1.0: Channel(rate_bps=4e6, delay_s=0.01),
        2.5: Channel(rate_bps=4e6, delay_s=0.05, loss=0.01),
        3.0: Channel(rate_bps=1e6, delay_s=0.05, loss=0.01),
        4.0: plain,
        1e6: plain,
    }
    assert {at: line.channel("w", "a", "c", at) for at in expected} == expected
    course = line.course("c", "a")
    assert [course.at(at)[1] for at in (BEFORE, 0.0, 1.0, 3.5, 4.0)] == [
        1.0,
        1.0,
        2.0,
        4.0,
        math.inf,
    ]


def test_a_cut_outlives_a_degradation_but_not_a_restore() -> None:
    line = Timeline(
        net(WIRE, "{at: 1 s, cut: w}", "{at: 2 s, degrade: w, loss: 1 %}", "{at: 3 s, restore: w}")
    )
    assert [line.channel("w", "a", "c", at).loss for at in (0, 1, 2, 3)] == [0.0, 1.0, 1.0, 0.0]


def test_events_at_the_same_time_happen_in_file_order() -> None:
    line = Timeline(net(WIRE, "{at: 1 s, cut: w}", "{at: 1 s, restore: w}"))
    assert line.channel("w", "a", "c", 1.0).loss == 0.0
    assert line.times == (1.0,)


def test_only_the_named_nodes_hops_change() -> None:
    cell = "{m: {rate: 4 Mbit, base: a, members: b}}"
    line = Timeline(
        net(cell, "{at: 1 s, cut: m, nodes: [b1, b2]}", "{at: 2 s, restore: m, nodes: b1}")
    )
    ways = [("b0", "a"), ("a", "b0"), ("b1", "a"), ("a", "b1"), ("b2", "a"), ("a", "b2")]
    assert [line.channel("m", *way, 1.0).loss for way in ways] == [0, 0, 1, 1, 1, 1]
    assert [line.channel("m", *way, 2.0).loss for way in ways] == [0, 0, 0, 0, 1, 1]


def test_a_way_is_cut_where_one_of_its_hops_is() -> None:
    links = "{m: {rate: 4 Mbit, base: a, members: b}, w: {rate: 1 Mbit, between: [a, c]}}"
    line = Timeline(net(links, "{at: 5 s, cut: w}"))
    course = line.course("b0", "c")
    assert course.at(0.0) == (Channel(rate_bps=1e6), 5.0)
    assert course.at(6.0)[0].loss == 1.0
    assert line.course("b0", "a").at(6.0) == (Channel(rate_bps=4e6), math.inf)


LTE = "{cell: {lte: {exponent: 3.5}, base: a, members: b}}"


def test_a_move_is_a_new_distance() -> None:
    line = Timeline(
        net(LTE, "{at: 1 s, move: b0, to: [0, 400]}", "{at: 2 s, move: a, to: [0, 399]}")
    )
    cell = Cell(exponent=3.5)

    def rate(member: str, at_s: float) -> float:
        return line.channel("cell", member, "a", at_s).rate_bps

    assert rate("b0", 0.0) == rate_bps(cell, 200.0, cell.up_power_w)
    assert rate("b0", 1.0) == rate_bps(cell, 400.0, cell.up_power_w) < rate("b0", 0.0)
    assert rate("b1", 1.0) == rate("b1", 0.0)
    assert rate("b0", 2.0) == rate_bps(cell, 1.0, cell.up_power_w)
    assert rate("b1", 2.0) == rate_bps(cell, math.hypot(200, 399), cell.up_power_w)
    assert line.live == ("cell",)


def faded(seed: int = 1, options: str = "") -> Timeline:
    cell = f"{{cell: {{lte: {{fading: 100 ms{options}}}, base: a, members: b}}}}"
    return Timeline(net(cell, seed=seed))


def draws(line: Timeline, source: str, target: str, count: int) -> list[float]:
    ats = [(number + 0.5) * 0.1 for number in range(count)]
    return [line.channel("cell", source, target, at).rate_bps for at in ats]


def test_fading_averages_to_the_ergodic_rate() -> None:
    cell, count = Cell(ergodic=True), 4000
    snr = mean_snr(cell, 200.0, cell.up_power_w)
    ergodic = efficiency(cell, snr)
    found = [rate / 18e6 for rate in draws(faded(), "b0", "a", count)]
    error = statistics.stdev(found) / math.sqrt(count)
    assert abs(statistics.mean(found) - ergodic) < 4 * error
    assert error < 0.01 * ergodic
    # Not what is printed without fading, which is more (Jensen).
    assert statistics.mean(found) + 4 * error < efficiency(Cell(), snr)


def test_fading_follows_the_seed_the_member_and_the_direction() -> None:
    first = draws(faded(), "b0", "a", 50)
    assert first == draws(faded(), "b0", "a", 50)
    assert len(set(first)) == 50
    assert first != draws(faded(seed=2), "b0", "a", 50)
    assert first != draws(faded(), "b1", "a", 50)
    up = [2 ** (rate / 18e6) - 1 for rate in first]
    down = [2 ** (rate / 18e6) - 1 for rate in draws(faded(), "a", "b0", 50)]
    assert abs(statistics.correlation(up, down)) < 0.5


def test_fading_keeps_to_the_cap_and_lasts_an_interval() -> None:
    rates = draws(faded(options=", cap: 5"), "b0", "a", 200)
    assert max(rates) == 18e6 * 5
    line = faded()
    course = line.course("b0", "a")
    channel_now, until = course.at(0.25)
    assert until == pytest.approx(0.3)
    assert course.at(0.2999)[0] == channel_now != course.at(until)[0]
    assert course.at(until)[1] == pytest.approx(0.4)


def test_before_training_starts_nothing_fades() -> None:
    line = faded()
    topology = line.topology
    static = channel(topology.links[0], "b0", "a", topology)
    assert line.channel("cell", "b0", "a", BEFORE) == static
    assert line.after(BEFORE) == 0.0


def recorded(packets: str) -> Timeline:
    trace = f"trace: {{up: {{period: 400 ms, packets: {packets}}}}}"
    return Timeline(net(f"{{w: {{{trace}, delay: 5 ms, between: [a, c]}}}}"))


def test_a_trace_is_followed_and_starts_again() -> None:
    line = recorded("10 20 0 30")
    packet = 12_000 / 0.1
    rates = [line.channel("w", "a", "c", (n + 0.5) / 10).rate_bps for n in range(8)]
    assert rates[:2] == pytest.approx([10 * packet, 20 * packet])
    assert rates[4:] == rates[:4]
    assert line.channel("w", "a", "c", BEFORE) == Channel(rate_bps=15 * packet, delay_s=0.005)
    assert line.channel("w", "c", "a", 0.05) == Channel(delay_s=0.005)
    assert [line.after(at) for at in (BEFORE, 0.0, 0.35)] == pytest.approx([0.0, 0.1, 0.4])


def test_what_an_empty_interval_delivers_too_much_the_next_ones_lack() -> None:
    trace = Trace(period_s=1.0, packets=(0, 0, 0, 0, 0, 0, 0, 0, 30, 30))
    rates = rates_bps(trace)
    assert min(rates) == 64e3
    assert sum(rate * 0.1 for rate in rates) == pytest.approx(60 * 12_000)
