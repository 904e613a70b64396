"""A node's links: one group for each role that it talks to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from edgenet.channels import Orders, Timeline
from edgenet.errors import Interrupted, LinkError, PeerSilent
from edgenet.links.endpoint import Endpoint
from edgenet.links.group import Group
from edgenet.links.handshake import Identity
from edgenet.links.heartbeat import Heartbeat
from edgenet.links.link import WireLink
from edgenet.links.rendezvous import Rendezvous
from edgenet.links.shared import Shared
from edgenet.links.wiring import Wiring
from edgenet.meters import Journal
from edgenet.meters.start import Start
from edgenet.node.assignment import Assignment
from edgenet.node.plan import Plan, Seat

_CROWD = 64
"""With more nodes than this, heartbeat and silence stretch in proportion: on a host that holds
hundreds of nodes each waits for seconds until it gets a core, and would be taken for frozen."""

_FAREWELL_S = 0.5
"""What a node that was told to end takes for its goodbyes: it gets no more than 2 s in all."""

_RUN_RING_BYTES = 256 * 1024 * 1024
_NODE_RING_BYTES = 64 * 1024 * 1024
"""Receive buffers of all nodes (they may share one host), and of any one of them."""

Groups = dict[str, Group]
"""A node's links by the role of the peers."""


@contextmanager
def connect(assignment: Assignment, journal: Journal) -> Iterator[tuple[Groups, Shared]]:
    """Link to every peer of the node; on leaving, say goodbye to all of them.

    Of two nodes the one of higher rank dials, and one that comes later, or again, dials all of its
    peers; those that are to come later are not waited for. A peer that the run can do without may
    be missing at the start (a fault; the quorum decides).

    Raises:
        LinkError: an essential peer did not join in time, or was refused.
        NodeError: the rendezvous does not answer.
    """
    plan, seat = assignment.plan, assignment.plan.seat(assignment.name)
    faults, crowd = plan.topology.faults, max(1.0, len(plan.seats) / _CROWD)
    heartbeat = Heartbeat(crowd * faults.heartbeat_s, crowd * faults.silence_s)
    shared = Shared(journal=journal, heartbeat=heartbeat)
    endpoint = Endpoint(
        Identity(node=seat.name, key=assignment.key, digest=plan.digest),
        Rendezvous(assignment.store_host, assignment.store_port, assignment.key),
        shared,
        _wiring(assignment, plan, seat),
        address=assignment.address,
    )
    found: Mapping[str, WireLink | LinkError] = {}
    try:
        ranks = {other.name: other.rank for other in plan.seats}
        there = [name for name, _ in seat.peers if name not in assignment.later]
        dial = [name for name in there if assignment.again or ranks[name] < seat.rank]
        found = endpoint.connect(
            dial=dial,
            accept=[name for name in there if name not in dial],
            timeout_s=crowd * faults.join_s,
        )
        yield make_groups(plan, seat, found, shared, endpoint), shared
    except Interrupted:
        endpoint.close(_FAREWELL_S)
        raise
    except PeerSilent:
        if faults.spares:
            _tell_silent(found, crowd * faults.heartbeat_s, journal)
        endpoint.abandon()
        raise
    except BaseException:
        endpoint.abandon()
        raise
    else:
        endpoint.close()


def _wiring(assignment: Assignment, plan: Plan, seat: Seat) -> Wiring:
    return Wiring(
        peers=frozenset(name for name, _ in seat.peers),
        channel=plan.channel,
        paced=assignment.shaping == "paced",
        ring_bytes=ring_bytes(plan, seat),
        seed=plan.topology.seed,
        course=Timeline(plan.topology, Orders(assignment.run_dir, plan.renamed)).course,
        started=Start.of(assignment.run_dir).at,
    )


def _tell_silent(
    found: Mapping[str, WireLink | LinkError], heartbeat_s: float, journal: Journal
) -> None:
    """Say who else is silent: a node that hears nobody is itself cut off, and it is its own place
    that a spare should take. All links have been looked at again after a heartbeat."""
    time.sleep(heartbeat_s)
    for peer, link in found.items():
        if isinstance(link, WireLink) and not link.usable and not link.ended:
            journal.event("fault", peer=peer, what="silent", why="it was not heard")


def ring_bytes(plan: Plan, seat: Seat) -> int:
    """A node's part of the receive buffers of the whole run: every page of them comes into use."""
    ends = sum(len(other.peers) for other in plan.seats)
    return min(_NODE_RING_BYTES, _RUN_RING_BYTES * len(seat.peers) // max(1, ends))


def _media(plan: Plan, node: str, peers: Sequence[str]) -> dict[str, str]:
    """Which shared medium each of the peers hears `node` over, where there is one."""
    media = {peer: plan.medium(node, peer) for peer in peers}
    return {peer: medium for peer, medium in media.items() if medium is not None}


def make_groups(
    plan: Plan,
    seat: Seat,
    found: Mapping[str, WireLink | LinkError],
    shared: Shared,
    endpoint: Endpoint | None = None,
) -> Groups:
    """Sort a node's links by role. Raises LinkError for an essential peer that is missing."""
    groups = {}
    for role in dict.fromkeys(role for _, role in seat.peers):
        names = [name for name, its in seat.peers if its == role]
        links = {name: link for name in names if isinstance(link := found.get(name), WireLink)}
        group = Group(
            seat.name,
            names,
            links,
            shared,
            quorum=plan.topology.faults.quorum if plan.role(role).many else 1.0,
            newcomers=endpoint.newcomers if endpoint else None,
            media=_media(plan, seat.name, names),
        )
        for name in names:
            error = found.get(name)
            if isinstance(error, LinkError):
                if plan.seat(name).essential:
                    raise error
                group.absent(name, error)
        groups[role] = group
    return groups
