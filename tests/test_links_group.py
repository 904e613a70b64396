"""Groups of links: gather, broadcast, receive from any, quorum, deadline, late joiners."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from link_pairs import KEY, endpoint

from edgenet.errors import LinkTimeout, QuorumLost
from edgenet.links.group import Group, least_members
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.protocol import Kind
from edgenet.links.rendezvous import RendezvousServer
from edgenet.links.shared import Limits, Shared
from edgenet.meters.journal import Journal

NAMES = ("p0", "p1", "p2", "p3")


class Star:
    """A hub with a group of members, each member's end in `far`."""

    def __init__(self, journal: Journal, limits: Limits, **options: Any) -> None:
        self.shared = Shared(journal=journal, limits=limits)
        self.far: dict[str, WireLink] = {}
        near = {}
        for name in reversed(NAMES):
            near[name], self.far[name] = self.pair(name)
        self.group = Group("hub", NAMES, near, self.shared, **options)

    def pair(self, name: str) -> tuple[WireLink, WireLink]:
        """A new link between the hub and `name`."""
        other = Shared(limits=self.shared.limits)
        return link_pair(("hub", name), (self.shared, other))

    def close(self) -> None:
        """Close every end."""
        for link in self.far.values():
            link.start_close()
        self.group.close()
        for link in self.far.values():
            link.close()


Stars = Callable[..., Star]


@pytest.fixture
def star(tmp_path: Path) -> Iterator[Stars]:
    """Makes stars and closes them."""
    made: list[Star] = []
    journal = Journal(tmp_path / "hub.jsonl")

    def make(limits: Limits | None = None, **options: Any) -> Star:
        made.append(Star(journal, limits or Limits(linger_s=2.0), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    journal.close()


def faults(tmp_path: Path) -> list[tuple[str, str]]:
    lines = (tmp_path / "hub.jsonl").read_text().splitlines()
    return [(e["peer"], e["what"]) for e in map(json.loads, lines) if e["e"] == "fault"]


def test_members_stand_in_file_order(star: Stars) -> None:
    group = star().group
    assert group.names == NAMES
    assert [link.peer for link in group] == list(NAMES)
    assert len(group) == 4
    assert group["p2"].peer == "p2"
    with pytest.raises(KeyError):
        group["p9"]


def test_a_broadcast_reaches_all_and_is_encoded_once(star: Stars) -> None:
    hub = star()
    weights = torch.arange(1000.0)
    assert hub.group.broadcast([weights], 3, kind=Kind.WEIGHTS) == NAMES
    weights.zero_()
    for far in hub.far.values():
        (got,), number = far.recv(timeout_s=5)
        assert number == 3
        assert torch.equal(got, torch.arange(1000.0))
    assert next(hub.shared.sequence) == 2
    assert hub.group.broadcast("x", to=["p3", "p1", "nobody"]) == ("p1", "p3")


def test_copies_of_a_broadcast_on_one_medium_are_counted(star: Stars, tmp_path: Path) -> None:
    hub = star(media={"p0": "cell", "p1": "cell", "p2": "cell"})
    hub.group.broadcast(torch.zeros(100), kind=Kind.GRADIENT)
    hub.group.broadcast(torch.zeros(10), kind=Kind.GRADIENT, to=["p2", "p3"])
    hub.group.send("p0", torch.zeros(7))
    hub.shared.meter.write(hub.shared.journal)
    hub.shared.journal.flush()
    lines = (tmp_path / "hub.jsonl").read_text().splitlines()
    counted = [event for event in map(json.loads, lines) if event["e"] == "bytes"]
    copied = {e["peer"]: e["copied_payload"] for e in counted if "copied_payload" in e}
    assert copied == {"p1": 400, "p2": 400}


def test_gather_answers_in_file_order_whoever_was_first(star: Stars) -> None:
    hub = star()
    for name in ("p3", "p0", "p2", "p1"):
        hub.far[name].send(name, 1)
    assert list(hub.group.gather().items()) == [(name, (name, 1)) for name in NAMES]
    hub.far["p2"].send("only")
    assert hub.group.gather(["p2"]) == {"p2": "only"}


def test_who_is_late_stays_and_is_heard_later(star: Stars, tmp_path: Path) -> None:
    hub = star()
    for name in ("p0", "p2", "p3"):
        hub.far[name].send(name)
    start = time.monotonic()
    assert list(hub.group.gather(deadline_s=0.2)) == ["p0", "p2", "p3"]
    assert 0.2 <= time.monotonic() - start < 10
    assert faults(tmp_path) == [("p1", "late")]
    assert "p1 sent nothing for 0.2 s;" in (tmp_path / "hub.jsonl").read_text()
    assert hub.group.names == NAMES
    hub.far["p1"].send("at last")
    assert hub.group.gather(["p1"], deadline_s=5) == {"p1": "at last"}


def test_who_is_lost_is_dropped_while_the_quorum_holds(star: Stars, tmp_path: Path) -> None:
    hub = star(quorum=0.5)
    hub.far["p1"].abandon()
    for name in ("p0", "p2", "p3"):
        hub.far[name].send(name)
    assert list(hub.group.gather()) == ["p0", "p2", "p3"]
    assert hub.group.names == ("p0", "p2", "p3")
    assert faults(tmp_path) == [("p1", "lost")]
    hub.far["p3"].abandon()
    for name in ("p0", "p2"):
        hub.far[name].send(name)
    assert list(hub.group.gather()) == ["p0", "p2"]
    hub.far["p0"].abandon()
    hub.far["p2"].send(1)
    with pytest.raises(QuorumLost, match=r"hub: 1 of 4 peers are left and the quorum is 2") as lost:
        hub.group.gather()
    for name in ("p0", "p1", "p3"):
        assert f"{name} closed the connection" in str(lost.value)


def test_a_send_to_who_is_gone_is_false(star: Stars) -> None:
    hub = star(quorum=0.25)
    hub.far["p1"].abandon()
    deadline = time.monotonic() + 5
    while hub.group["p1"].usable and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert hub.group.send("p1", 1) is False
    assert hub.group.send("p0", 1) is True
    assert hub.group.broadcast(2) == ("p0", "p2", "p3")


def test_receive_from_any_is_first_come_first_served(star: Stars) -> None:
    hub = star()
    for name in ("p2", "p0", "p3", "p2"):
        hub.far[name].send(name)
        arrived = time.monotonic() + 5
        while hub.group[name].waiting_since() is None and time.monotonic() < arrived:
            threading.Event().wait(0.001)
    assert [hub.group.recv_any(timeout_s=5)[0] for _ in range(3)] == ["p2", "p0", "p3"]
    assert hub.group.recv_any(timeout_s=5) == ("p2", "p2")
    threading.Timer(0.05, hub.far["p1"].send, ("woke it",)).start()
    assert hub.group.recv_any() == ("p1", "woke it")
    with pytest.raises(LinkTimeout, match="any peer sent nothing"):
        hub.group.recv_any(timeout_s=0.05)


def test_receive_from_any_notices_who_is_lost(star: Stars) -> None:
    hub = star(quorum=1.0)
    threading.Timer(0.05, hub.far["p1"].abandon).start()
    with pytest.raises(QuorumLost, match="3 of 4 peers are left and the quorum is 4"):
        hub.group.recv_any(timeout_s=5)


def test_a_full_member_does_not_hold_up_the_others(star: Stars) -> None:
    hub = star(Limits(outbox_bytes=1000, inbox_bytes=1000, linger_s=0.5))
    data = torch.zeros(100_000)
    while not hub.group["p0"].crowded(data.nbytes):
        hub.group.send("p0", data)
        threading.Event().wait(0.02)
    sending = threading.Thread(target=hub.group.broadcast, args=("news",))
    sending.start()
    for name in ("p1", "p2", "p3"):
        assert hub.far[name].recv(timeout_s=5) == "news"
    while not isinstance(hub.far["p0"].recv(timeout_s=5), str):
        pass
    sending.join(5)
    assert not sending.is_alive()


@pytest.mark.parametrize("missed", [True, False], ids=["missed", "before anybody missed it"])
def test_newcomers_are_taken_in_at_their_place(star: Stars, missed: bool, tmp_path: Path) -> None:
    waiting: list[WireLink] = []

    def newcomers(among: Any) -> list[WireLink]:
        came, waiting[:] = [link for link in waiting if link.peer in among], []
        return came

    hub = star(quorum=0.5, newcomers=newcomers)
    assert hub.group.admit() == ()
    hub.far["p1"].abandon()
    if missed:
        hub.group.gather(["p1"])
        assert hub.group.names == ("p0", "p2", "p3")
    else:
        hub.group["p1"].abandon()  # as an endpoint does with the link that another replaces
    near, hub.far["p1"] = hub.pair("p1")
    waiting.append(near)
    assert hub.group.admit() == ("p1",)
    assert hub.group.names == NAMES
    assert faults(tmp_path) == [("p1", "lost")]
    hub.group.broadcast("hello again")
    assert hub.far["p1"].recv(timeout_s=5) == "hello again"


def test_late_joiners_come_in_over_gloo() -> None:
    with RendezvousServer(KEY) as server:
        hub, p0, p1 = (endpoint(server, name) for name in ("hub", "p0", "p1"))
        far = {"p0": p0.dial("hub", timeout_s=5)}
        found = hub.connect(accept=["p0"], timeout_s=5) | hub.connect(accept=["p1"], timeout_s=0.3)
        links = {name: link for name, link in found.items() if isinstance(link, WireLink)}
        assert list(links) == ["p0"]
        group = Group("hub", NAMES, links, hub._shared, quorum=0.25, newcomers=hub.newcomers)
        assert group.admit() == ()
        far["p1"] = p1.dial("hub", timeout_s=5)
        deadline = time.monotonic() + 5
        while group.admit() != ("p1",) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert group.broadcast(torch.ones(3)) == ("p0", "p1")
        assert all(bool((link.recv(timeout_s=5) == 1).all()) for link in far.values())
        for link in far.values():
            link.start_close()
        for each in (hub, p0, p1):
            each.close()


@pytest.mark.parametrize(
    ("quorum", "expected", "least"),
    [(1.0, 4, 4), (0.5, 4, 2), (0.5, 5, 3), (0.01, 4, 1), (0.07, 100, 7), (3, 10, 3), (2.0, 5, 2)],
)
def test_quorum_is_a_fraction_rounded_up_or_a_count(
    quorum: float, expected: int, least: int
) -> None:
    assert least_members(quorum, expected) == least


@pytest.mark.parametrize("quorum", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_other_quorums_are_refused(quorum: float) -> None:
    with pytest.raises(ValueError, match="a quorum is a fraction"):
        least_members(quorum, 4)
