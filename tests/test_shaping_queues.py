"""The relay's queues, on a clock of the tests' own."""

from __future__ import annotations

import math

import pytest

from edgenet.shaping.queues import AHEAD_S, Agenda, Lane, Pool, PooledLane
from edgenet.topology.spec import Channel

FULL = bytes(1500)
FULL_S = 1500 * 8 / 1e6  # at 1 Mbit/s


class Net:
    """Lanes on one agenda; what arrives is noted with its time."""

    def __init__(self, *channels: Channel, pooled: bool = False) -> None:
        self.agenda, self.now = Agenda(), 0.0
        self.arrived: list[tuple[int, float, bytes]] = []
        self.lanes = [
            Lane(channel, lambda packet, i=i: self.arrived.append((i, self.now, packet)), f"s{i}")
            for i, channel in enumerate(channels)
        ]
        self.pool = Pool(self.agenda.note)
        self.pooled = [PooledLane(lane, self.pool) for lane in self.lanes] if pooled else None

    def send(self, packet: bytes = FULL, lane: int = 0) -> None:
        if self.pooled:
            if self.pooled[lane].offer(packet, self.now):
                self.agenda.note(self.pool)
        elif self.lanes[lane].offer(packet, self.now):
            self.agenda.note(self.lanes[lane])

    def run(self, until: float = math.inf) -> None:
        while (due := self.agenda.fire(self.now)) <= until and due < math.inf:
            self.now = due
        if until < math.inf:
            self.now = until

    def times(self, lane: int = 0) -> list[float]:
        return [time for i, time, _ in self.arrived if i == lane]


def test_packets_follow_each_other_at_the_rate_and_after_the_delay() -> None:
    net = Net(Channel(rate_bps=1e6, delay_s=0.1))
    for _ in range(3):
        net.send()
    net.run()
    assert net.times() == pytest.approx([0.1 + FULL_S, 0.1 + 2 * FULL_S, 0.1 + 3 * FULL_S])


def test_an_unlimited_rate_takes_no_time() -> None:
    net = Net(Channel(delay_s=0.1))
    net.send()
    net.send()
    net.run()
    assert net.times() == [0.1, 0.1]


def test_what_does_not_fit_in_the_queue_is_dropped() -> None:
    net = Net(Channel(rate_bps=1e6, queue_bytes=3000))
    for _ in range(10):
        net.send()
    net.run()
    # One on the air and those behind it, as long as not more than 3000 bytes wait.
    assert len(net.times()) == 3
    assert net.lanes[0].dropped == 7


def test_loss_is_as_asked_and_the_same_for_the_same_seed() -> None:
    counts = []
    for _ in range(2):
        net = Net(Channel(loss=0.1))
        for _ in range(10_000):
            net.send(b"x")
        net.run()
        counts.append(len(net.times()))
    assert counts[0] == counts[1] == pytest.approx(9000, abs=120)  # four standard deviations


def test_jitter_does_not_turn_the_order_round() -> None:
    net = Net(Channel(rate_bps=1e9, delay_s=0.01, jitter_s=0.005))
    for i in range(200):
        net.send(i.to_bytes(2, "big"))
        net.run(net.now + 1e-4)
    net.run()
    packets = [packet for _, _, packet in net.arrived]
    assert packets == sorted(packets)
    assert net.times() == sorted(net.times())
    assert len(set(net.times())) > 10


def test_a_new_rate_holds_for_what_waits_but_not_for_what_flies() -> None:
    net = Net(Channel(rate_bps=1e6, delay_s=1.0))
    for _ in range(4):
        net.send()
    net.run(2 * FULL_S)
    net.lanes[0].change(Channel(rate_bps=0.5e6, delay_s=1.0), net.now)
    net.agenda.note(net.lanes[0])
    net.run()
    steps = [1, 2, 4, 6]
    assert net.times() == pytest.approx([1.0 + step * FULL_S for step in steps])


def test_a_cut_drops_what_comes_after_it() -> None:
    net = Net(Channel(delay_s=0.1))
    net.send()
    net.lanes[0].change(Channel(delay_s=0.1, loss=1.0), net.now)
    for _ in range(100):
        net.send()
    net.run()
    assert len(net.times()) == 1


def test_one_alone_has_the_whole_medium() -> None:
    net = Net(Channel(rate_bps=1e6), Channel(rate_bps=1e6), pooled=True)
    for _ in range(100):
        net.send()
    net.run()
    assert net.times()[-1] == pytest.approx(100 * FULL_S)


def test_members_that_send_together_share_the_time() -> None:
    fast, slow = Channel(rate_bps=1e6), Channel(rate_bps=0.25e6)
    net = Net(fast, slow, pooled=True)
    for _ in range(100):
        net.send(lane=0)
        net.send(lane=1)
    net.run()
    while_both = 200 * FULL_S  # until the fast one, at half its rate, has sent 100 packets
    assert net.times(0)[-1] == pytest.approx(while_both, rel=0.05)
    assert sum(time <= while_both for time in net.times(1)) == pytest.approx(25, abs=2)


def test_who_was_silent_has_saved_nothing_up() -> None:
    net = Net(Channel(rate_bps=1e6), Channel(rate_bps=1e6), pooled=True)
    for _ in range(60):
        net.send(lane=0)
    net.run(30 * FULL_S)
    begin = net.now
    for _ in range(30):
        net.send(lane=1)
    net.run()
    first_ten = [time for _, time, _ in net.arrived if time > begin][:10]
    assert len([time for time in first_ten if time in net.times(1)]) in (4, 5, 6)


def test_a_pool_decides_only_a_little_ahead() -> None:
    net = Net(Channel(rate_bps=1e6), Channel(rate_bps=1e6), pooled=True)
    for _ in range(10):
        net.send(lane=0)
    net.run(FULL_S / 2)
    net.send(lane=1)
    net.run()
    # Its turn comes when the packet on the air is through, or the one decided ahead.
    assert net.times(1)[0] <= 3 * FULL_S + AHEAD_S


def test_a_packet_half_sent_goes_on_at_the_rate_that_comes() -> None:
    net = Net(Channel(rate_bps=1e6))
    net.send()
    net.send()
    net.run(until=FULL_S / 2)
    net.lanes[0].change(Channel(rate_bps=2e6), net.now)
    net.agenda.note(net.lanes[0])
    net.run()
    assert net.times() == pytest.approx([0.75 * FULL_S, 1.25 * FULL_S])


def test_changes_that_come_faster_than_packets_do_not_stop_them() -> None:
    net = Net(Channel(rate_bps=1e6))
    net.send()
    for number in range(1, 10):
        net.run(until=number * FULL_S / 10)
        net.lanes[0].change(Channel(rate_bps=1e6, delay_s=number * 1e-6), net.now)
        net.agenda.note(net.lanes[0])
    net.run()
    assert net.times() == pytest.approx([FULL_S], abs=1e-5)


def test_a_medium_s_packet_half_sent_goes_on_at_the_rate_that_comes() -> None:
    net = Net(Channel(rate_bps=1e3), Channel(rate_bps=1e6), pooled=True)
    assert net.pooled is not None
    net.send(lane=0)
    net.run(until=1.0)  # 1000 of 12 000 bits
    net.send(lane=1)
    net.pooled[0].change(Channel(rate_bps=1e6), net.now)
    net.agenda.note(net.pool)
    net.agenda.note(net.lanes[0])
    net.run()
    rest_s = 11_000 / 1e6
    assert net.times(0) == pytest.approx([1.0 + rest_s])
    assert net.times(1) == pytest.approx([1.0 + rest_s + FULL_S], abs=AHEAD_S)


def test_a_medium_s_turn_that_is_over_is_not_changed() -> None:
    net = Net(Channel(rate_bps=1e6, delay_s=1.0), pooled=True)
    assert net.pooled is not None
    net.send()
    net.run(until=0.5)
    net.pooled[0].change(Channel(rate_bps=1e3), net.now)
    net.run()
    assert net.times() == pytest.approx([FULL_S + 1.0])
