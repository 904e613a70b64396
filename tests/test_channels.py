"""Channels: profiles, FPL's Eq. (3), and paths over several hops."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from edgenet import channels
from edgenet.channels.lan import WIFI
from edgenet.channels.lte import (
    BLOCK_HZ,
    NOISE_W_PER_HZ,
    Cell,
    efficiency,
    mean_snr,
    rate_bps,
)
from edgenet.errors import TopologyError
from edgenet.topology import Topology, loads
from edgenet.topology.graph import route
from edgenet.topology.spec import Channel


def net(links: str, nodes: str = "{a: {}, b: {}, c: {}}") -> Topology:
    return loads(f"nodes: {nodes}\nlinks: {links}\ntrain: {{scheme: fedavg}}", "t.yaml")


def test_a_raw_wire_has_the_numbers_of_the_file() -> None:
    found = channels.between(
        net("{w: {rate: 20 Mbit, delay: 25 ms, jitter: 2 ms, loss: 1 %, queue: 64 KiB, "
            "between: [a, b]}}"), "a", "b",
    )  # fmt: skip
    assert found == Channel(
        rate_bps=20e6, delay_s=0.025, jitter_s=0.002, loss=0.01, queue_bytes=65_536
    )


def test_up_is_from_the_first_end_of_a_wire_or_towards_the_base() -> None:
    wire = net("{w: {delay: 5 ms, up: {rate: 1 Mbit}, down: {rate: 8 Mbit}, between: [a, b]}}")
    assert channels.between(wire, "a", "b") == Channel(rate_bps=1e6, delay_s=0.005)
    assert channels.between(wire, "b", "a") == Channel(rate_bps=8e6, delay_s=0.005)
    medium = net("{m: {rate: 4 Mbit, up: {rate: 1 Mbit}, base: a, members: [b, c]}}")
    assert channels.between(medium, "b", "a").rate_bps == 1e6
    assert channels.between(medium, "a", "b").rate_bps == 4e6


def test_a_path_adds_delays_and_takes_the_slowest_rate() -> None:
    topology = net(
        "{w: {rate: 2 Mbit, delay: 10 ms, loss: 10 %, queue: 9 kB, between: [a, b]}, "
        "x: {rate: 3 Mbit, delay: 5 ms, jitter: 1 ms, loss: 20 %, between: [b, c]}}"
    )
    found = channels.between(topology, "a", "c")
    assert found.rate_bps == 2e6
    assert found.delay_s == pytest.approx(0.015)
    assert found.jitter_s == pytest.approx(0.001)
    assert found.loss == pytest.approx(1 - 0.9 * 0.8)
    assert found.queue_bytes == 9000


def test_no_hop_at_all_is_unlimited() -> None:
    assert channels.compose([]) == Channel()
    assert channels.between(net("{w: {between: [a, b]}}"), "c", "c") == Channel()


def test_member_to_member_crosses_the_air_twice() -> None:
    topology = net("{air: {wifi: 802.11n-2.4GHz, base: a, members: [b, c]}}")
    way = route(topology, "b", "c")
    assert way is not None
    assert [(hop.source, hop.target) for hop in way] == [("b", "a"), ("a", "c")]
    once = channels.between(topology, "b", "a")
    assert channels.between(topology, "b", "c").delay_s == pytest.approx(2 * once.delay_s)
    assert topology.links[0].shared
    assert channels.half_duplex(topology.links[0])


def test_numbers_beside_a_profile_replace_its_own() -> None:
    topology = net("{air: {wifi: 802.11ac, rate: 5 Mbit, base: a, members: [b, c]}}")
    found = channels.between(topology, "b", "a")
    assert found.rate_bps == 5e6
    assert found.delay_s == WIFI["802.11ac"].delay_s


@pytest.mark.parametrize("profile", WIFI)
def test_wifi_profiles_stay_below_their_phy_rate(profile: str) -> None:
    assert 0.2 < WIFI[profile].rate_bps / WIFI[profile].phy_bps < 0.7
    assert WIFI[profile].jitter_s <= WIFI[profile].delay_s
    assert len(WIFI[profile].source) > 20


def test_ethernet_is_a_full_duplex_wire_at_its_line_rate() -> None:
    topology = net("{e: {ethernet: 100 Mbit, members: [a, b, c]}}")
    assert channels.between(topology, "c", "b") == Channel(rate_bps=100e6, delay_s=0.0005)
    assert not channels.half_duplex(topology.links[0])


def test_unreachable_nodes_are_named() -> None:
    with pytest.raises(TopologyError, match=r"^t.yaml:2: node 'a' does not reach node 'c'; add"):
        channels.between(net("{w: {between: [a, b]}}"), "a", "c")


def test_an_unknown_wifi_profile_is_answered_with_the_choices() -> None:
    with pytest.raises(TopologyError) as caught:
        channels.check(net("{air: {wifi: 802.11n, base: a, members: [b]}}"))
    assert str(caught.value) == (
        "t.yaml:2: link 'air' has unknown wifi profile '802.11n'; did you mean '802.11ac'? "
        "profiles are 802.11n-2.4GHz, 802.11n-5GHz, 802.11ac-board, 802.11ac"
    )


CELL = "{cell: {lte: {resource_blocks: 100}, base: a, members: b}}"


def test_lte_needs_positions() -> None:
    with pytest.raises(TopologyError, match=r"^t.yaml:1: node 'b' has no position, which the lte"):
        channels.check(net(CELL, "{a: {at: [0, 0]}, b: {}}"))


def test_lte_needs_a_base() -> None:
    with pytest.raises(TopologyError, match=r"^t.yaml:2: link 'cell' is lte without a base; name"):
        channels.check(net("{cell: {lte: {cap: 5}, between: [a, b]}}"))


def test_resource_blocks_must_fit_into_the_bandwidth() -> None:
    cell = "{cell: {lte: {bandwidth: 10 MHz, resource_blocks: 100}, base: a, members: b}}"
    with pytest.raises(TopologyError, match="100 resource blocks of 180 kHz take 18 MHz, more th"):
        channels.check(net(cell, "{a: {at: [0, 0]}, b: {at: [9, 9]}}"))


def test_lte_rate_is_equation_3_worked_by_hand() -> None:
    """P 10 mW, d 100 m, alpha 4: P h = 1e-10 W; B N0 = 180e3 * 3.98107e-21 = 7.16593e-16 W."""
    assert pytest.approx(3.98107e-21, rel=1e-5) == NOISE_W_PER_HZ
    assert mean_snr(Cell(), 100.0, 0.010) == pytest.approx(1e-10 / 7.16593e-16, rel=1e-5)
    expected = 100 * 180e3 * math.log2(1 + 1e-10 / 7.16593e-16)
    assert rate_bps(Cell(), 100.0, 0.010) == pytest.approx(expected, rel=1e-6)


def test_lte_uses_the_positions_and_the_powers_of_the_file() -> None:
    topology = net(CELL, "{a: {at: [0, 0]}, b: {at: [300, 400]}}")
    up = channels.between(topology, "b", "a")
    down = channels.between(topology, "a", "b")
    assert up.rate_bps == pytest.approx(rate_bps(Cell(), 500.0, 0.010))
    assert down.rate_bps == pytest.approx(rate_bps(Cell(), 500.0, 1.0))
    assert up.rate_bps < down.rate_bps


def test_rate_falls_with_distance_and_not_below_one_metre() -> None:
    rates = [rate_bps(Cell(), distance, 1.0) for distance in (0.0, 1.0, 10.0, 100.0, 500.0)]
    assert rates[0] == rates[1]
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_interference_and_cap_lower_the_rate() -> None:
    free = rate_bps(Cell(), 200.0, 1.0)
    assert rate_bps(Cell(interference_w=1e-13), 200.0, 1.0) < free
    assert rate_bps(Cell(cap=5.5), 200.0, 1.0) == 100 * BLOCK_HZ * 5.5


def test_the_ergodic_form_is_the_mean_over_rayleigh_fading_and_never_more() -> None:
    ergodic = Cell(ergodic=True)
    draw = random.Random(3)
    fading = [draw.expovariate(1.0) for _ in range(100_000)]
    for snr in (0.1, 0.9, 1.1, 5.0, 100.0, 1e4):
        sampled = math.fsum(math.log2(1 + snr * power) for power in fading) / len(fading)
        assert efficiency(ergodic, snr) == pytest.approx(sampled, rel=0.02)
        assert efficiency(ergodic, snr) < efficiency(Cell(), snr)


def test_the_two_expansions_of_the_integral_meet() -> None:
    below = efficiency(Cell(ergodic=True), 1 / 0.999999)
    above = efficiency(Cell(ergodic=True), 1 / 1.000001)
    assert below == pytest.approx(above, rel=1e-5)


def test_a_channel_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        channels.compose([]).rate_bps = 1.0  # type: ignore[misc]
