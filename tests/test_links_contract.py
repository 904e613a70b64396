"""What every link does, whatever carries it."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from link_pairs import OPENERS, Opener, Setting

from edgenet.errors import LinkTimeout, PeerLost, PeerSilent
from edgenet.links.codec import DTYPES
from edgenet.links.protocol import Kind
from edgenet.links.shared import Limits

MIB = 1024 * 1024


@pytest.fixture(params=OPENERS)
def opened(request: pytest.FixtureRequest) -> Opener:
    """A way to make both ends of a link."""
    return OPENERS[request.param]


def values(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """A tensor of that type with varied contents."""
    return (torch.arange(torch.Size(shape).numel()).reshape(shape) % 100 - 3).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_and_shape_are_restored(opened: Opener, dtype: torch.dtype) -> None:
    with opened(Setting()) as ends:
        for shape in ((), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5)):
            sent = values(dtype, *shape)
            ends.left.send(sent)
            got = ends.right.recv(timeout_s=5)
            assert got.dtype is dtype
            assert got.shape == sent.shape
            assert torch.equal(got, sent)


def test_all_sorts_of_items_travel_together(opened: Opener) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = [base.t(), base[1:3, ::2], base[0].expand(3, 6), torch.tensor(7, dtype=torch.uint8)]
    leaf = torch.ones(3, requires_grad=True)
    with opened(Setting()) as ends:
        ends.left.send(state, -5, 2.5, True, False, "stage \u00e9", (), leaf, kind=Kind.WEIGHTS)
        got, number, real, yes, no, text, empty, plain = ends.right.recv(timeout_s=5)
    assert all(torch.equal(a, b) for a, b in zip(got, state, strict=True))
    assert (number, real, text, empty) == (-5, 2.5, "stage \u00e9", [])
    assert (yes, no) == (True, False)
    assert isinstance(yes, bool)
    assert torch.equal(plain, leaf)
    assert not plain.requires_grad


def test_no_item_one_item_many_items(opened: Opener) -> None:
    with opened(Setting()) as ends:
        ends.left.send()
        ends.left.send(1)
        ends.left.send(1, 2)
        assert [ends.right.recv(timeout_s=5) for _ in range(3)] == [(), 1, (1, 2)]


@pytest.mark.parametrize("nbytes", [1, 1000, MIB - 128, MIB - 127, MIB, 5 * MIB + 3])
def test_every_length_arrives_whole(opened: Opener, nbytes: int) -> None:
    sent = torch.randint(0, 256, (nbytes,), dtype=torch.uint8)
    with opened(Setting()) as ends:
        ends.left.send(sent, 1)
        got, _ = ends.right.recv(timeout_s=5)
        assert torch.equal(got, sent)


def test_order_is_kept_with_all_sizes_mixed(opened: Opener) -> None:
    sizes = [0, 3, 2 * MIB, 10, 100_000, 1, 70_000, 3 * MIB, 0, 5]
    with opened(Setting()) as ends:
        for number, size in enumerate(sizes * 3):
            ends.left.send(number, torch.full((size,), number, dtype=torch.uint8))
        for number, size in enumerate(sizes * 3):
            got, data = ends.right.recv(timeout_s=10)
            assert got == number
            assert data.numel() == size
            assert bool((data == number).all())


def test_send_takes_a_snapshot(opened: Opener) -> None:
    with opened(Setting()) as ends:
        for size in (10, 3_000_000):
            data = torch.ones(size)
            ends.left.send(data, [data])
            data.fill_(9.0)
            got, (again,) = ends.right.recv(timeout_s=5)
            assert bool((got == 1).all())
            assert bool((again == 1).all())


def test_what_was_received_stays_as_it_is_while_more_comes(opened: Opener) -> None:
    with opened(Setting()) as ends:
        held = []
        for number in range(12):
            ends.left.send(torch.full((100_000,), number))
            held.append(ends.right.recv(timeout_s=5))
        assert [int(each[0]) for each in held] == list(range(12))
        assert all(bool((each == each[0]).all()) for each in held)


def test_both_directions_at_once(opened: Opener) -> None:
    data = torch.arange(500_000)

    def exchange(link: Any) -> int:
        for _ in range(8):
            link.send(data)
        return sum(torch.equal(link.recv(timeout_s=10), data) for _ in range(8))

    with opened(Setting(limits=Limits(outbox_bytes=5 * MIB, inbox_bytes=5 * MIB))) as ends:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(exchange, (ends.left, ends.right))) == [8, 8]


@pytest.mark.parametrize(
    ("item", "error", "said"),
    [
        (object(), TypeError, "a object cannot travel"),
        (None, TypeError, "a NoneType cannot travel"),
        ([1, 2], TypeError, "a list with a int"),
        ([[torch.ones(1)]], TypeError, "a list with a list"),
        (2**63, ValueError, "does not fit into 64 bits"),
        ("x" * 4097, ValueError, "at most 4096"),
        (torch.ones(2, 2).to_sparse(), TypeError, "sparse"),
    ],
)
def test_what_cannot_travel_says_so_at_the_sender(
    opened: Opener, item: Any, error: type[Exception], said: str
) -> None:
    with opened(Setting()) as ends:
        with pytest.raises(error, match=said):
            ends.left.send(1, item)
        ends.left.send("still fine")
        assert ends.right.recv(timeout_s=5) == "still fine"


def test_recv_ends_after_its_timeout_and_the_link_lives_on(opened: Opener) -> None:
    with opened(Setting()) as ends:
        start = time.monotonic()
        with pytest.raises(LinkTimeout, match=r"left <-> right, round 0: right sent nothing"):
            ends.left.recv(timeout_s=0.1)
        assert 0.1 <= time.monotonic() - start < 10
        ends.right.send(3)
        assert ends.left.recv(timeout_s=5) == 3


def test_after_a_goodbye_what_was_sent_still_arrives(opened: Opener) -> None:
    with opened(Setting()) as ends:
        for number in range(5):
            ends.left.send(number, torch.zeros(300_000))
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(ends.left.close)
            assert [ends.right.recv(timeout_s=5)[0] for _ in range(5)] == list(range(5))
            with pytest.raises(PeerLost, match=r"right <-> left, round 0: left left the run"):
                ends.right.recv(timeout_s=5)
            closing.result(timeout=5)
        with pytest.raises(PeerLost, match="left the run"):
            ends.right.send(1)
        with pytest.raises(PeerLost, match="was left by this node"):
            ends.left.send(1)
        ends.left.close()


def test_a_peer_that_vanishes_is_lost_at_once(opened: Opener) -> None:
    with opened(Setting()) as ends:
        ends.left.send(1)
        assert ends.right.recv(timeout_s=5) == 1
        threading.Timer(0.1, ends.left.abandon).start()
        start = time.monotonic()
        with pytest.raises(PeerLost, match="closed the connection"):
            ends.right.recv()
        assert time.monotonic() - start < 10


def test_back_pressure_bounds_what_is_held(opened: Opener) -> None:
    limits = Limits(outbox_bytes=4 * MIB, inbox_bytes=4 * MIB)
    sent = 0
    with opened(Setting(limits=limits)) as ends:
        data = torch.zeros(MIB, dtype=torch.uint8)

        def pour() -> None:
            nonlocal sent
            for _ in range(60):
                ends.left.send(data)
                sent += 1

        pouring = threading.Thread(target=pour)
        pouring.start()
        before, deadline = -1, time.monotonic() + 20
        while before != sent or sent < 8:  # until nothing moves any more
            assert time.monotonic() < deadline, f"{sent} of 8 messages found room"
            before = sent
            pouring.join(0.3)
        # Both boxes, the ring or queue between them, and what is in a hand or a socket.
        assert sent <= 40
        for _ in range(60):
            ends.right.recv(timeout_s=5)
        pouring.join(5)
        assert sent == 60


def test_a_frozen_peer_is_silent_and_then_heard_again(opened: Opener) -> None:
    with opened(Setting(beats=(0.05, 0.3))) as ends:
        assert ends.heartbeats
        ends.heartbeats[1].close()
        start = time.monotonic()
        with pytest.raises(PeerSilent, match=r"right was not heard for 0\.[3-9]"):
            ends.left.recv()
        assert time.monotonic() - start < 10
        with pytest.raises(PeerSilent):
            ends.left.send(1)
        ends.right.send("here again")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                assert ends.left.recv() == "here again"
                break
            except PeerSilent:
                continue
        else:
            pytest.fail("the link did not come back")


def test_an_idle_link_with_beats_is_not_silent(opened: Opener) -> None:
    with opened(Setting(beats=(0.05, 0.3))) as ends:
        with pytest.raises(LinkTimeout):
            ends.left.recv(timeout_s=1.0)


def test_waits_and_bytes_are_recorded(opened: Opener, tmp_path: Path) -> None:
    paths = tmp_path / "left.jsonl", tmp_path / "right.jsonl"
    data = torch.zeros(1000)
    with opened(Setting(journals=paths)) as ends:
        ends.shared[0].journal.round = ends.shared[1].journal.round = 4
        threading.Timer(0.5, lambda: ends.left.send(data, kind=Kind.GRADIENT)).start()
        ends.right.recv(timeout_s=5)
        for _ in range(2):
            ends.right.send(1, kind=Kind.CONTROL)
            ends.left.recv(timeout_s=5)
        for shared in ends.shared:
            shared.meter.write(shared.journal)
    left, right = ([json.loads(line) for line in path.read_text().splitlines()] for path in paths)
    waits = [event for event in right if event["e"] == "span" and event["k"] == "wait"]
    assert any(wait["n"] == "recv" and wait["d"] > 0.03 and wait["r"] == 4 for wait in waits)
    for events, way, back in ((left, "out", "in"), (right, "in", "out")):
        moved = {
            (event["dir"], event["k"]): event
            for event in events
            if event["e"] == "bytes" and event["r"] == 4
        }
        gradient, control = moved[way, "gradient"], moved[back, "control"]
        assert (gradient["payload"], gradient["messages"]) == (4000, 1)
        assert 64 < gradient["overhead"] < 200
        assert (control["payload"], control["messages"]) == (16, 2)
