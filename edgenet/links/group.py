"""The links of one node to all peers of one role."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from edgenet.errors import (
    LinkError,
    LinkTimeout,
    PeerLeft,
    PeerLost,
    PeerSilent,
    ProtocolError,
    QuorumLost,
)
from edgenet.links.codec import Packet
from edgenet.links.link import WireLink
from edgenet.links.meter import Count
from edgenet.links.protocol import Item, Kind
from edgenet.links.shared import Shared

_GONE = (PeerLost, PeerSilent, ProtocolError)
_WHAT = {PeerLeft: "left", PeerSilent: "silent"}

Newcomers = Callable[[Collection[str]], Sequence[WireLink]]


class Group:
    """`protocol.LinkGroup`. Used by one thread.

    Args:
        node: this end of all of them.
        order: every name that may ever be a member, in file order; the quorum's fraction is of
            these.
        links: the members at the start.
        shared: what the node's links have in common.
        quorum: least members that must be left: a fraction in (0, 1] of `order`, rounded up, or a
            count above 1.
        newcomers: gives the links that peers among the given names have opened since.
        media: peer -> the shared medium behind which it is, if it is. Whoever sends by radio
            reaches all of a medium's members at once, so that of a broadcast to them all copies
            but one are counted as such.
    """

    def __init__(
        self,
        node: str,
        order: Sequence[str],
        links: Mapping[str, WireLink],
        shared: Shared,
        *,
        quorum: float = 1.0,
        newcomers: Newcomers | None = None,
        media: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._node, self._order, self._shared = node, tuple(order), shared
        self._least = least_members(quorum, len(order))
        self._newcomers, self._media = newcomers, media
        self._links: dict[str, WireLink] = {}
        self._alive: set[str] = set()
        self._why: dict[str, str] = {}
        self._changed = threading.Event()
        for link in links.values():
            self._take_in(link)

    def __len__(self) -> int:
        return len(self._alive)

    def __iter__(self) -> Iterator[WireLink]:
        return iter([self._links[name] for name in self.names])

    def __getitem__(self, name: str) -> WireLink:
        return self._links[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the living members in file order."""
        return tuple(name for name in self._order if name in self._alive)

    def admit(self) -> tuple[str, ...]:
        """Take in peers that have connected since the last call; returns the newcomers' names."""
        if self._newcomers is None:
            return ()
        came = self._newcomers(self._order)
        for link in came:
            if link.peer in self._alive:  # it has come back before anybody missed it
                self._drop_if_gone(self._links[link.peer])
            self._take_in(link)
        return tuple(link.peer for link in came)

    def absent(self, name: str, error: LinkError) -> None:
        """Record why a member is not there from the start."""
        self._why[name] = str(error)
        what = "late" if isinstance(error, LinkTimeout) else "refused"
        self._shared.journal.event("fault", peer=name, what=what, why=str(error))

    def send(self, name: str, *items: Item, kind: Kind = Kind.CONTROL) -> bool:
        """Send to one member; False (and the member is dropped) if it is gone."""
        return bool(self.broadcast(*items, kind=kind, to=(name,)))

    def broadcast(
        self, *items: Item, kind: Kind = Kind.CONTROL, to: Iterable[str] | None = None
    ) -> tuple[str, ...]:
        """Encode once and send to all living members (or those named); returns who it went to."""
        packet = self._shared.encode(items, kind)
        size = packet.header.total_bytes
        reached = set()
        # Who would make this node wait comes last, so that nobody else waits for that one.
        for link in sorted(self._members(to), key=lambda link: link.crowded(size)):
            try:
                link.post(packet)
                reached.add(link.peer)
            except _GONE as error:
                self._drop(link, error)
        self._check_quorum()
        sent_to = tuple(name for name in self._order if name in reached)
        self._count_copies(packet, sent_to)
        return sent_to

    def gather(
        self, of: Iterable[str] | None = None, *, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """See `protocol.LinkGroup.gather`."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        answers: dict[str, Any] = {}
        for link in self._members(of):
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                answers[link.peer] = link.recv(timeout_s=left_s)
            except LinkTimeout:
                if deadline_s:  # a deadline of 0 only asks what is there already
                    why = str(self._timeout(deadline_s, link.peer))
                    self._shared.journal.event("fault", peer=link.peer, what="late", why=why)
            except _GONE as error:
                self._drop(link, error)
        self._check_quorum()
        return answers

    def recv_any(self, *, timeout_s: float | None = None) -> tuple[str, Any]:
        """See `protocol.LinkGroup.recv_any`.

        Raises:
            LinkTimeout: no member sent anything in time.
            QuorumLost: fewer living members than the quorum are left.
        """
        self._shared.settle()
        start = time.monotonic()
        try:
            while True:
                self._changed.clear()
                self._drop_gone()
                first = self._first()
                if first is not None:
                    return first.peer, first.recv(timeout_s=0.0)
                self._check_quorum()
                left_s = None if timeout_s is None else start + timeout_s - time.monotonic()
                if timeout_s is not None and left_s is not None and left_s <= 0.0:
                    raise self._timeout(timeout_s, "any peer")
                self._changed.wait(left_s)
        finally:
            self._shared.note_wait("wait", "recv_any", start)

    def close(self) -> None:
        """Say goodbye to all, side by side."""
        for link in self._links.values():
            link.start_close()
        for link in self._links.values():
            link.close()

    def _members(self, named: Iterable[str] | None) -> list[WireLink]:
        wanted = self._alive if named is None else self._alive & set(named)
        return [self._links[name] for name in self._order if name in wanted]

    def _count_copies(self, packet: Packet, sent_to: Sequence[str]) -> None:
        """Of a packet that went to several members of one medium, all but the first."""
        header, heard = packet.header, set()
        overhead = header.total_bytes - header.payload_bytes
        copy = Count(copied_payload=header.payload_bytes, copied_overhead=overhead)
        for name in sent_to:
            medium = self._media.get(name)
            if medium in heard:
                self._shared.meter.add(name, "out", header.kind, header.round, copy)
            elif medium is not None:
                heard.add(medium)

    def _take_in(self, link: WireLink) -> None:
        self._links[link.peer] = link
        self._alive.add(link.peer)
        link.on_change = self._changed.set
        self._changed.set()
        self._shared.journal.event("linked", peer=link.peer)

    def _first(self) -> WireLink | None:
        """The member whose oldest message has waited longest."""
        waiting = {link: link.waiting_since() for link in self}
        times = {link: since for link, since in waiting.items() if since is not None}
        return min(times, key=lambda link: times[link]) if times else None

    def _drop_gone(self) -> None:
        for link in self:
            if not link.usable and link.waiting_since() is None:
                self._drop_if_gone(link)

    def _drop_if_gone(self, link: WireLink) -> None:
        try:
            link.check()
        except _GONE as error:
            self._drop(link, error)

    def _drop(self, link: WireLink, error: LinkError) -> None:
        self._alive.discard(link.peer)
        self._why[link.peer] = str(error)
        self._shared.journal.event(
            "fault", peer=link.peer, what=_WHAT.get(type(error), "lost"), why=str(error)
        )
        link.close()

    def _check_quorum(self) -> None:
        if len(self) < self._least:
            reasons = "; ".join(self._why.get(n, n) for n in self._order if n not in self._alive)
            raise QuorumLost(
                f"{self._node}: {len(self)} of {len(self._order)} peers are left and the quorum is "
                f"{self._least} (lower faults.quorum to go on with fewer): {reasons}"
            )

    def _timeout(self, timeout_s: float, peer: str) -> LinkTimeout:
        what, step = f"sent nothing for {timeout_s:.3g} s", self._shared.journal.round
        return LinkTimeout(self._node, peer, what, step=step)


def least_members(quorum: float, expected: int) -> int:
    """How many members a quorum asks for: ceil of the fraction in (0, 1], or the count above 1.

    Raises:
        ValueError: it is neither.
    """
    if not 0.0 < quorum < math.inf or (quorum > 1.0 and quorum != int(quorum)):
        raise ValueError(f"a quorum is a fraction in (0, 1] or a count above 1, not {quorum}")
    # The small term keeps 0.07 * 100 = 7.000000000000001 from asking for 8.
    return math.ceil(quorum * expected - 1e-9) if quorum <= 1.0 else int(quorum)
