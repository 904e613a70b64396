"""A node's side of all its links: it is reached at one address, dials, accepts, and closes."""

from __future__ import annotations

import atexit
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from edgenet.errors import JoinRefused, LinkError, LinkTimeout, PeerLost
from edgenet.links import adopt
from edgenet.links.cable import MAGIC as CABLE
from edgenet.links.cable import Cable, Cables, open_cable
from edgenet.links.gloo import device
from edgenet.links.gloo_wire import GlooWire
from edgenet.links.handshake import (
    GREETING_BYTES,
    HANDSHAKE_BYTES,
    Conversation,
    Identity,
    Session,
    Taken,
    Verdict,
)
from edgenet.links.link import WireLink
from edgenet.links.listener import Bounds, Listener, listen
from edgenet.links.meter import Count
from edgenet.links.protocol import Kind
from edgenet.links.rendezvous import Rendezvous
from edgenet.links.shared import Shared
from edgenet.links.sizes import Ring, ring
from edgenet.links.wire import WireClosed
from edgenet.links.wiring import Wiring
from edgenet.shaping.paced import Pacer
from edgenet.topology.spec import Channel

_HANDSHAKE_S = 10.0
"""How long a caller may take from connecting to a standing link."""
_RETRY_S = 0.1
_SIDE_BY_SIDE = 32
_STRANGERS, _BURST = 64, 1024
"""Callers of whom nothing is proven: at one time, and as fast as they come."""
_MOST_REFUSALS, _MOST_TOLD = 1000, 20
"""Strangers choose their names: what is remembered of them, and what of it stands in the journal,
must have an end."""


class Endpoint:
    """Opens the links of one node. Everything in it is made after the fork.

    Args:
        identity: who the node is.
        rendezvous: where it finds the others.
        shared: what its links have in common; its heartbeat is closed with the endpoint.
        wiring: what the links run over.
        address: of this host, as the peers reach it.

    Raises:
        NodeError: the rendezvous does not answer.
        OSError: the address is not this host's.
    """

    def __init__(
        self,
        identity: Identity,
        rendezvous: Rendezvous,
        shared: Shared,
        wiring: Wiring,
        *,
        address: str = "127.0.0.1",
    ) -> None:
        self._identity, self._rendezvous = identity, rendezvous
        self._shared, self._wiring = shared, wiring
        self._device = device(address)
        self._changed = threading.Condition()
        self._links: dict[str, WireLink] = {}
        self._arrived: dict[str, WireLink] = {}
        self._refused: dict[str, JoinRefused] = {}
        self._closed = False
        self._cables = Cables()
        peers = len(wiring.peers)
        bounds = Bounds(
            first_bytes=GREETING_BYTES,
            silent=_STRANGERS + peers,
            talking=_STRANGERS + 2 * peers,
            burst=_BURST + 8 * peers,
        )
        self._listener = Listener(listen(address), self._welcome, bounds)
        # A thread inside gloo must not come back into an interpreter that is going down.
        atexit.register(self.abandon)
        rendezvous.publish(identity.node, self._listener.address)

    def connect(
        self, *, dial: Iterable[str] = (), accept: Iterable[str] = (), timeout_s: float = 30.0
    ) -> dict[str, WireLink | LinkError]:
        """Link to many peers side by side; each name has its link, or why there is none.

        Of two nodes one dials and the other accepts; the one that may be restarted should dial.
        """
        deadline = time.monotonic() + timeout_s
        with ThreadPoolExecutor(_SIDE_BY_SIDE, "dial") as pool:
            dialed = {peer: pool.submit(self._try_dial, peer, deadline) for peer in dial}
            found: dict[str, WireLink | LinkError] = {}
            for peer in accept:
                try:
                    found[peer] = self.accept(peer, timeout_s=deadline - time.monotonic())
                except LinkError as error:
                    found[peer] = error
        return found | {peer: future.result() for peer, future in dialed.items()}

    def dial(self, peer: str, *, timeout_s: float = 30.0) -> WireLink:
        """Link to a peer that accepts; waits for it to appear.

        Raises:
            JoinRefused: either end refuses the other.
            LinkTimeout: it did not appear, or did not answer, in time.
        """
        deadline = time.monotonic() + timeout_s
        why = ""
        while True:
            try:
                return self._dial_once(peer, deadline)
            except LinkTimeout:
                if not why:
                    raise
            except (OSError, PeerLost, Taken, WireClosed) as error:
                # Not up yet, or still up where it was before it was restarted. An attempt that the
                # deadline cut short says less than the one before it.
                if not why or time.monotonic() < deadline:
                    why = str(error)
            if time.monotonic() + _RETRY_S >= deadline:
                raise self._absent(peer, timeout_s, why) from None
            time.sleep(_RETRY_S)

    def accept(self, peer: str, *, timeout_s: float = 30.0) -> WireLink:
        """The link to a peer that dials; waits for it to call.

        Raises:
            JoinRefused: somebody called under this name, and was refused.
            LinkTimeout: nobody called in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: peer in self._arrived, max(0.0, timeout_s))
            if peer in self._arrived:
                return self._arrived.pop(peer)
            raise self._refused.get(repr(peer)) or self._absent(peer, timeout_s, "it never called")

    def newcomers(self, among: Collection[str]) -> list[WireLink]:
        """Links that peers of these names have dialed and nobody has accepted yet."""
        with self._changed:
            return [self._arrived.pop(name) for name in among if name in self._arrived]

    def close(self, linger_s: float | None = None) -> None:
        """Say goodbye on all links, wait until it has got through, release everything.

        Args:
            linger_s: how long to wait at most for all of them; None: as long as each link does.
        """
        self._listener.close()
        with self._changed:
            self._closed = True
            links = list(self._links.values())
        for link in links:
            link.start_close()
        end = None if linger_s is None else time.monotonic() + linger_s
        for link in links:
            link.close(None if end is None else max(0.0, end - time.monotonic()))
        self.abandon()

    def abandon(self) -> None:
        """Release everything without waiting for anybody."""
        self._listener.close()
        for link in list(self._links.values()):
            link.abandon()
        if self._shared.heartbeat:
            self._shared.heartbeat.close()
        atexit.unregister(self.abandon)

    def _try_dial(self, peer: str, deadline: float) -> WireLink | LinkError:
        try:
            return self.dial(peer, timeout_s=deadline - time.monotonic())
        except LinkError as error:
            return error

    def _dial_once(self, peer: str, deadline: float) -> WireLink:
        left_s = max(0.0, deadline - time.monotonic())
        address = self._rendezvous.look_up(peer, timeout_s=left_s)
        if address is None:
            raise ConnectionError("it has not told its address")
        sock = socket.create_connection(address, timeout=max(0.001, min(left_s, _HANDSHAKE_S)))
        try:
            until = min(deadline, time.monotonic() + _HANDSHAKE_S)
            session = Conversation(sock, self._identity, peer, until).run()
            buffers = self._ring(peer)
            cable = None
            if adopt.POSSIBLE:
                cable = open_cable(address, session, buffers.frame_bytes, until)
            return self._join(sock, session, 1, buffers, until, cable)
        except BaseException:
            sock.close()
            raise

    def _welcome(self, caller: socket.socket, proven: Callable[[], None]) -> None:
        """Serve one caller, on its own thread."""
        deadline = time.monotonic() + _HANDSHAKE_S
        if caller.recv(len(CABLE), socket.MSG_PEEK) == CABLE:
            self._cables.arrive(caller, deadline, proven)
            return
        try:
            session, link = self._answer(caller, deadline, proven)
        except (PeerLost, LinkTimeout, Taken, WireClosed):
            caller.close()  # hung up or dawdled before it was anybody: it may call again
        except JoinRefused as error:
            caller.close()
            self._note_refusal(error)
        else:
            with self._changed:
                self._arrived[session.peer] = link
                self._changed.notify_all()

    def _answer(
        self, caller: socket.socket, deadline: float, proven: Callable[[], None]
    ) -> tuple[Session, WireLink]:
        with ExitStack() as stack:
            awaited: list[Callable[[float], Cable]] = []

            def expect(session: Session) -> None:
                proven()
                frame_bytes = self._ring(session.peer).frame_bytes
                awaited.append(stack.enter_context(self._cables.expected(session, frame_bytes)))

            talk = Conversation(caller, self._identity, None, deadline)
            session = talk.run(self._admits, expect)
            cable = awaited[0](deadline) if adopt.POSSIBLE else None
            ring_ = self._ring(session.peer)
            return session, self._join(caller, session, 0, ring_, deadline, cable)

    def _note_refusal(self, error: JoinRefused) -> None:
        with self._changed:
            if error.peer in self._refused or len(self._refused) >= _MOST_REFUSALS:
                return
            self._refused[error.peer] = error
            if len(self._refused) > _MOST_TOLD:
                return
        self._shared.journal.event("fault", peer=error.peer, what="refused", why=str(error))

    def _admits(self, name: str) -> Verdict:
        if name not in self._wiring.peers:
            return Verdict.NAME
        with self._changed:
            before = self._links.get(name)
        return Verdict.TAKEN if before and before.usable else Verdict.WELCOME

    def _ring(self, peer: str) -> Ring:
        wiring = self._wiring
        arriving = wiring.channel(peer, self._identity.node)
        return ring(arriving, links=len(wiring.peers), budget_bytes=wiring.ring_bytes)

    def _join(
        self,
        sock: socket.socket,
        session: Session,
        rank: int,
        buffers: Ring,
        deadline: float,
        cable: Cable | None,
    ) -> WireLink:
        node, peer, wiring = self._identity.node, session.peer, self._wiring
        leaving = wiring.channel(node, peer)
        wire = GlooWire(sock, session, rank, buffers, self._device, deadline, cable)
        self._count(peer, HANDSHAKE_BYTES + wire.setup_bytes)
        pace = self._pacer(peer, leaving) if wiring.paced else None
        link = WireLink(node, peer, wire, self._shared, pace=pace)
        with self._changed:
            if self._closed:
                wire.close()
                raise WireClosed("came too late: this node is closing")
            before = self._links.get(peer)
            self._links[peer] = link
        if before:
            before.abandon()  # lost already, or its name would have been taken
        return link.start()

    def _pacer(self, peer: str, leaving: Channel) -> Pacer:
        node, wiring = self._identity.node, self._wiring
        course = leaving if wiring.course is None else wiring.course(node, peer)
        return Pacer(course, (wiring.seed, node, peer), wiring.started)

    def _count(self, peer: str, overhead: int) -> None:
        shared, count = self._shared, Count(overhead=overhead)
        for direction in ("out", "in"):
            shared.meter.add(peer, direction, Kind.CONTROL, shared.journal.round, count)

    def _absent(self, peer: str, timeout_s: float, why: str) -> LinkTimeout:
        what = f"did not join within {timeout_s:.0f} s ({why})"
        remedy = "see its log.txt, or raise faults.join"
        return LinkTimeout(self._identity.node, peer, what, remedy=remedy)
