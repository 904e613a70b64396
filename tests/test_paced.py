"""The model of a slower channel, and links that keep to it."""

from __future__ import annotations

import math
import statistics
import threading
import time

import pytest
import torch
from link_pairs import OPENERS, Ends, Opener, Setting
from network_trials import LOSS, PROFILES

from edgenet.links.protocol import Kind
from edgenet.shaping.paced import PACKET_BYTES, Pacer
from edgenet.topology.spec import Channel


def test_a_frame_takes_serialisation_and_delay() -> None:
    pacer = Pacer(Channel(rate_bps=8e6, delay_s=0.025))
    assert pacer.deliver_at(100_000, 5.0) == pytest.approx(5.0 + 0.1 + 0.025)


def test_frames_queue_behind_each_other_but_travel_together() -> None:
    pacer = Pacer(Channel(rate_bps=8e6, delay_s=1.0))
    arrivals = [pacer.deliver_at(100_000, 0.0) for _ in range(10)]
    assert arrivals == pytest.approx([1.0 + 0.1 * n for n in range(1, 11)])
    assert pacer.deliver_at(100_000, 50.0) == pytest.approx(51.1)


def test_an_ideal_channel_holds_nothing_back() -> None:
    pacer = Pacer(Channel())
    assert [pacer.deliver_at(10**9, at) for at in (1.0, 2.0)] == [1.0, 2.0]


def test_jitter_is_uniform_and_keeps_the_order() -> None:
    pacer = Pacer(Channel(rate_bps=1e9, delay_s=0.1, jitter_s=0.02), seed=1)
    delays = [pacer.deliver_at(1, float(at)) - at for at in range(4000)]
    assert 0.08 <= min(delays) < 0.081
    assert 0.119 < max(delays) <= 0.1201
    assert statistics.mean(delays) == pytest.approx(0.1, abs=0.001)
    close_by = Pacer(Channel(rate_bps=1e9, delay_s=0.1, jitter_s=0.02), seed=1)
    arrivals = [close_by.deliver_at(1, at * 1e-4) for at in range(2000)]
    assert arrivals == sorted(arrivals)


def test_loss_costs_its_bytes_again_and_a_round_trip() -> None:
    channel = Channel(rate_bps=8e6, delay_s=0.01, loss=0.02)
    pacer, frames = Pacer(channel, seed=3), 4000
    packets = 10
    at, late = 0.0, 0
    ideal_s = packets * PACKET_BYTES / 1e6
    for _ in range(frames):
        arrival = pacer.deliver_at(packets * PACKET_BYTES, at)
        late += arrival - at > ideal_s + channel.delay_s + 1e-9
        assert arrival - at < ideal_s * 3 + channel.delay_s * 13
        at = max(arrival, at + 1.0)
    assert late / frames == pytest.approx(1 - (1 - channel.loss) ** packets, rel=0.1)
    busy = Pacer(channel, seed=3)
    for _ in range(frames):
        busy.deliver_at(packets * PACKET_BYTES, 0.0)
    assert busy._idle_at == pytest.approx(frames * ideal_s / (1 - channel.loss), rel=0.005)


def test_loss_is_what_was_asked_over_ten_thousand_packets() -> None:
    channel = Channel(rate_bps=20e6, delay_s=0.03, loss=LOSS)
    pacer = Pacer(channel, seed=5)
    on_time_s = PACKET_BYTES * 8 / channel.rate_bps + channel.delay_s + 1e-9
    late = sum(
        pacer.deliver_at(PACKET_BYTES, float(at)) - at > on_time_s for at in range(0, 30_000, 3)
    )
    assert late / 10_000 == pytest.approx(LOSS, abs=0.003)


def test_over_a_way_that_stays_cut_nothing_ever_arrives() -> None:
    pacer = Pacer(Channel(rate_bps=1e6, delay_s=0.1, loss=1.0))
    assert [pacer.deliver_at(10_000, at) for at in (0.0, 5.0)] == [math.inf, math.inf]
    assert pacer.cut(1.0)


def test_nearly_certain_loss_has_an_end() -> None:
    pacer = Pacer(Channel(rate_bps=1e6, delay_s=0.1, loss=0.999))
    assert math.isfinite(pacer.deliver_at(10_000, 0.0))


def test_the_same_seed_gives_the_same_times() -> None:
    channel = Channel(rate_bps=1e6, delay_s=0.1, jitter_s=0.05, loss=0.1)
    first, again, other = (Pacer(channel, seed) for seed in ((1, "a"), (1, "a"), (2, "a")))
    times = [[each.deliver_at(5000, 0.0) for _ in range(20)] for each in (first, again, other)]
    assert times[0] == times[1] != times[2]


class Steps:
    """A course of channels that each begin at a time of their own, in order."""

    def __init__(self, *steps: tuple[float, Channel]) -> None:
        self.steps = steps

    def at(self, time_s: float) -> tuple[Channel, float]:
        current = max(0, sum(begin <= time_s for begin, _ in self.steps) - 1)
        later = [begin for begin, _ in self.steps if begin > time_s]
        return self.steps[current][1], later[0] if later else math.inf


def test_a_frame_goes_on_at_the_rate_that_comes() -> None:
    course = Steps((0.0, Channel(rate_bps=8e6)), (1.5, Channel(rate_bps=16e6, delay_s=0.3)))
    pacer = Pacer(course, started=lambda: 100.0)
    assert pacer.deliver_at(1_000_000, 100.0) == pytest.approx(101.0)
    # Half a second at the old rate for one half, a quarter at the new one for the other.
    assert pacer.deliver_at(1_000_000, 100.0) == pytest.approx(101.75 + 0.3)


def test_a_frame_waits_until_a_cut_way_is_restored() -> None:
    up, cut = Channel(rate_bps=8e6), Channel(rate_bps=8e6, loss=1.0)
    pacer = Pacer(Steps((0.0, up), (1.0, cut), (3.0, up)), started=lambda: 0.0)
    assert pacer.deliver_at(1_000_000, 0.5) == pytest.approx(3.5)
    assert [pacer.cut(at) for at in (0.9, 1.1, 3.1)] == [False, True, False]


def test_before_it_is_started_a_course_stands_still() -> None:
    begun: list[float] = []
    course = Steps((0.0, Channel(rate_bps=8e6)), (1.0, Channel(rate_bps=1e6)))
    pacer = Pacer(course, started=lambda: begun[0] if begun else None)
    assert pacer.deliver_at(1_000_000, 50.0) == pytest.approx(51.0)
    begun.append(50.0)
    assert pacer.deliver_at(1_000_000, 52.0) == pytest.approx(60.0)


@pytest.fixture(params=OPENERS)
def opened(request: pytest.FixtureRequest) -> Opener:
    """A way to make both ends of a link."""
    return OPENERS[request.param]


def one_way_s(ends: Ends) -> float:
    """From a `send` to the end of its `recv`, a small message."""
    start = time.monotonic()
    ends.left.send(1)
    ends.right.recv(timeout_s=20)
    return time.monotonic() - start


def stream_s(ends: Ends, data: torch.Tensor, count: int) -> float:
    """From the first `send` to the end of the last `recv`."""
    sending = threading.Thread(target=lambda: [ends.left.send(data) for _ in range(count)])
    start = time.monotonic()
    sending.start()
    for _ in range(count):
        ends.right.recv(timeout_s=20)
    took_s = time.monotonic() - start
    sending.join(5)
    return took_s


@pytest.mark.parametrize("profile", PROFILES)
def test_a_paced_link_has_the_rate_and_delay_that_were_asked(opened: Opener, profile: str) -> None:
    """A busy host can only add time: the best of a few tries is the link's own."""
    rate_bps, delay_asked_s = PROFILES[profile]
    channel = Channel(rate_bps=rate_bps, delay_s=delay_asked_s)
    data, count = torch.zeros(125_000, dtype=torch.uint8), 20
    ideal_s = count * data.nbytes * 8 / channel.rate_bps
    with opened(Setting(channel=channel)) as ends:
        for _ in range(10):
            delay_s = min(one_way_s(ends) for _ in range(5))
            sent_s = stream_s(ends, data, count) - channel.delay_s
            assert delay_s >= delay_asked_s
            assert sent_s >= 0.97 * ideal_s
            if delay_s < delay_asked_s + 0.002 and sent_s <= 1.03 * ideal_s:
                return
    pytest.fail(f"delay {delay_s:.4f} s of {delay_asked_s}, stream {sent_s:.3f} s of {ideal_s}")


def test_the_queue_holds_the_sender_back(opened: Opener) -> None:
    channel = Channel(rate_bps=8e6, queue_bytes=100_000)
    data = torch.zeros(50_000, dtype=torch.uint8)
    with opened(Setting(channel=channel)) as ends:
        start = time.monotonic()
        for _ in range(6):
            ends.left.send(data)
        assert time.monotonic() - start > 0.15  # four of six have left, at 50 ms each
        assert ends.left.crowded(50_000) or ends.right.waiting_since() is not None
        for _ in range(6):
            ends.right.recv(timeout_s=5)
        assert time.monotonic() - start > 0.29


def test_what_only_measures_is_not_paced(opened: Opener) -> None:
    with opened(Setting(channel=Channel(rate_bps=8e3, delay_s=1.0))) as ends:
        start = time.monotonic()
        ends.left.send(torch.zeros(100_000), kind=Kind.EVALUATION)
        ends.right.recv(timeout_s=30)
        assert time.monotonic() - start < 30  # paced it would take 400 s
