"""The small parts of a link, each by itself: recycled memory, ring sizes, counters, heartbeat."""

from __future__ import annotations

import gc
import json
import math
import threading
from pathlib import Path

import pytest
import torch
from link_pairs import OPENERS, Setting

from edgenet.errors import PeerLost
from edgenet.links.boxes import Boxes, Outgoing
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.memory import link_pair
from edgenet.links.meter import Count, Meter
from edgenet.links.protocol import Kind
from edgenet.links.shared import Shared
from edgenet.links.sizes import MAX_FRAME_BYTES, ring
from edgenet.links.slabs import Slabs
from edgenet.meters.journal import Journal
from edgenet.topology.spec import Channel

MIB = 1024 * 1024


def test_memory_comes_back_when_the_last_view_dies() -> None:
    slabs = Slabs()
    buffer = slabs.take(MIB)
    place = buffer.data_ptr()
    assert place % 64 == 0
    view = buffer[100:108].view(torch.float32)
    del buffer
    gc.collect()
    assert slabs.kept_bytes == 0
    del view
    assert slabs.kept_bytes == MIB
    again = slabs.take(MIB - 1000)
    assert again.data_ptr() == place
    assert slabs.take(MIB).data_ptr() != place


def test_unused_memory_is_bounded_and_not_wasted_on_small_needs() -> None:
    slabs = Slabs(keep_bytes=4 * MIB)
    held = [slabs.take(MIB) for _ in range(10)]
    held.clear()
    assert slabs.kept_bytes == 4 * MIB
    slabs.take(300_000)
    assert slabs.kept_bytes in (4 * MIB, 3 * MIB + 300_000)
    small = slabs.take(100)
    assert small.numel() == 100


def test_memory_is_recycled_by_many_threads_at_once() -> None:
    slabs, wrong = Slabs(), []

    def work(number: int) -> None:
        for _ in range(200):
            buffer = slabs.take(300_000 + number)
            buffer.fill_(number)
            if int(buffer[0]) != number or int(buffer[-1]) != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("channel", "links", "frame", "depth"),
    [
        (Channel(), 1, MAX_FRAME_BYTES, 8),
        (Channel(), 4, MAX_FRAME_BYTES, 8),
        (Channel(), 100, 128 * 1024, 5),
        (Channel(), 500, 32 * 1024, 4),
        (Channel(rate_bps=20e6, delay_s=0.025), 1, 64 * 1024, 8),
        (Channel(rate_bps=1e6), 1, 16 * 1024, 8),
        (Channel(rate_bps=20e3), 1, 2048, 8),
        (Channel(rate_bps=1.0), 1, 1024, 8),
    ],
)
def test_rings_fit_the_channel_and_the_budget(
    channel: Channel, links: int, frame: int, depth: int
) -> None:
    got = ring(channel, links=links, budget_bytes=64 * MIB)
    assert (got.frame_bytes, got.depth) == (frame, depth)
    assert got.frame_bytes * got.depth * links <= 64 * MIB


def test_a_long_fat_channel_gets_more_buffers() -> None:
    channel = Channel(rate_bps=100e6, delay_s=0.3)
    got = ring(channel, links=1, budget_bytes=64 * MIB)
    assert got.frame_bytes * got.depth >= 100e6 / 8 * 0.6


def test_bytes_of_a_round_add_up_and_are_written_once(tmp_path: Path) -> None:
    meter, path = Meter(), tmp_path / "events.jsonl"
    journal = Journal(path)
    for round_, payload in ((1, 10), (2, 7), (1, 5)):
        count = Count(payload=payload, overhead=1, messages=1)
        meter.add("p", "out", Kind.WEIGHTS, round_, count)
    meter.write(journal)
    meter.write(journal)
    journal.close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["r"], e["payload"], e["overhead"], e["messages"]) for e in events] == [
        (1, 15, 2, 2),
        (2, 7, 1, 1),
    ]
    assert {(e["e"], e["peer"], e["dir"], e["k"]) for e in events} == {
        ("bytes", "p", "out", "weights")
    }
    assert meter.totals() == {("p", "out"): 25}


class Listener:
    """Stands for a link; counts what it is told."""

    def __init__(self) -> None:
        self.beats, self.awake_s = 0, 0.0
        self.enough = threading.Event()

    def pulse(self, awake_s: float, silence_s: float) -> None:
        self.beats += 1
        self.awake_s += awake_s
        assert silence_s == pytest.approx(0.4 - 0.04)
        if self.beats >= 5:
            self.enough.set()


def test_the_heartbeat_beats_on_all_links_until_they_are_forgotten() -> None:
    heartbeat = Heartbeat(0.1, 0.4)
    one, two = Listener(), Listener()
    heartbeat.watch(one)
    heartbeat.watch(two)
    assert one.enough.wait(5)
    assert two.enough.wait(5)
    assert one.awake_s <= one.beats * 1.5 * 0.04 + 1e-6
    heartbeat.forget(one)
    heartbeat.close()
    assert math.isfinite(two.awake_s)


def test_a_peer_whose_beats_end_is_lost_also_where_its_frames_never_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The transport is to report it first; now and then it does not."""
    one, other = link_pair(("one", "other"), (Shared(), Shared()))
    monkeypatch.setattr(one._wire, "heard", lambda: -1)
    one.pulse(1.0, 9.0)
    other.send(1)
    assert one.recv(timeout_s=5) == 1
    one.pulse(1.0, 9.0)  # a frame came in between: not yet
    one.pulse(1.0, 9.0)
    assert one.usable
    one.pulse(1.0, 9.0)
    with pytest.raises(PeerLost, match="other closed the connection without a goodbye"):
        one.recv(timeout_s=5)
    other.close()
    one.close()


def test_nobody_writes_past_a_message_that_waits() -> None:
    boxes = Boxes(MIB, MIB)
    packet = Shared().encode((1,), Kind.CONTROL)
    overtaken = 0
    for _ in range(200):
        taken: list[Outgoing | None] = []
        writer = threading.Thread(target=lambda: taken.append(boxes.next_out()))  # noqa: B023
        writer.start()
        while not boxes.borrow_wire():
            writer.join(0.001)
        boxes.return_wire(flush=False)
        assert boxes.post(packet)
        overtaken += boxes.borrow_wire()
        writer.join(5)
        assert [each and each.packet for each in taken] == [packet]
        boxes.wrote(packet.header.total_bytes)
        assert boxes.next_out() is not None  # the flush that follows a write
    assert overtaken == 0


def test_the_receiver_times_what_came_behind_the_first_frame(tmp_path: Path) -> None:
    """A busy host may hold up the first frame or those behind it: one of a few tries is calm."""
    asked_bps, seen = 8e6, [0.0]
    while seen[-1] != pytest.approx(asked_bps, rel=0.4):
        assert len(seen) <= 10, seen
        seen.append(rate_of_later(tmp_path / f"{len(seen)}.jsonl", asked_bps))


def rate_of_later(path: Path, asked_bps: float) -> float:
    """The rate that a receiver has timed on a link of its own, in bit/s."""
    setting = Setting(journals=(None, path), channel=Channel(rate_bps=asked_bps))
    with OPENERS["gloo"](setting) as ends:
        for size in (100_000, 1000, 300_000):
            ends.left.send(torch.zeros(size, dtype=torch.uint8), kind=Kind.WEIGHTS)
            assert len(ends.right.recv(timeout_s=30)) == size
        ends.shared[1].meter.write(ends.shared[1].journal)
    (came,) = [e for e in map(json.loads, path.read_text().splitlines()) if e["e"] == "bytes"
               and e["k"] == "weights"]  # fmt: skip
    assert 200_000 < came["later_bytes"] < 400_000
    return float(8 * came["later_bytes"] / came["later_s"])
