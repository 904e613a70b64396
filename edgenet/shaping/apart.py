"""Shaping by nodes that are apart: each alone behind an interface of its own, as in a container.

Nothing between them is ours, so a node can only shape what it sends itself, by destination. That
does for wires and switches; a medium that several share it does not. The queues are those of `own`.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.choice import CHOICES, NET_ADMIN, Shaping, capabilities
from edgenet.shaping.lanes import lanes
from edgenet.topology.spec import Topology


def choose(asked: str, topology: Topology) -> Shaping:
    """The back end of nodes that are apart; never another one than was asked for by name.

    Raises:
        ShapingError: it cannot be had, and what would help.
    """
    reason = available() if wants_netem(asked, topology) else unsuited(topology)
    if asked == "auto" and reason is not None:
        return Shaping("paced", f"auto: no netem: {reason.partition(';')[0]}")
    if asked == "auto":
        return Shaping("netem", "auto: netem works on this node's interface")
    if asked == "netem" and reason is not None:
        raise ShapingError(f"shaping 'netem' is not possible in this container: {reason}")
    return Shaping(asked, "asked for by name")


def wants_netem(asked: str, topology: Topology) -> bool:
    """Whether nodes that are apart should try to shape their interfaces.

    Raises:
        ShapingError: what was asked for is impossible on any machine.
    """
    if asked not in CHOICES:
        raise ShapingError(f"there is no shaping '{asked}'; the choices are {', '.join(CHOICES)}")
    if asked == "relay":
        raise ShapingError(
            "shaping 'relay' needs a router between the nodes, and containers have none of ours; "
            "use --shaping paced, or `edgenet run --shaping relay`"
        )
    if asked == "netem" and (reason := unsuited(topology)) is not None:
        raise ShapingError(f"shaping 'netem' is not possible in containers: {reason}")
    return asked == "netem" or (asked == "auto" and unsuited(topology) is None)


def unsuited(topology: Topology) -> str | None:
    """Why nodes that are apart cannot have this network with netem; None if they can."""
    senders: dict[str, set[str]] = {}
    for lane in lanes(topology):
        if lane.pool is not None:
            senders.setdefault(lane.pool, set()).add(lane.source)
    for pool, found in senders.items():
        if len(found) > 1:
            return (
                f"'{pool.partition('/')[0]}' is shared, and nodes that each shape their own "
                "interface cannot share a medium; use --shaping paced, or `edgenet run --launcher "
                "namespaces`"
            )
    return None


def available() -> str | None:
    """Why this process cannot have netem on an interface of the namespace it is in, and after '; '
    what would help; None if it can. Found out by trying, on the loopback."""
    if not capabilities() >> NET_ADMIN & 1:
        return "this process lacks CAP_NET_ADMIN; run it as root with --cap-add NET_ADMIN"
    from edgenet.shaping.kernel import Kernel
    from edgenet.shaping.netem import use

    module = "sch_htb"
    try:
        with Kernel(calls.HERE) as kernel:
            try:
                for module in use(kernel):  # noqa: B007 (the one at which it stops is the answer)
                    pass
            finally:
                kernel.unqueue("lo")
    except ShapingError:
        return f"the kernel has no {module}; load it on the host with `modprobe {module}`"
    return None


def shape(topology: Topology, node: str, addresses: Mapping[str, str]) -> None:
    """Queue what this node sends to each peer, on its interface; the queues go with the container.

    Args:
        topology: nodes and links.
        node: this one.
        addresses: of its peers, by name.

    Raises:
        ShapingError: a peer is not reached, or the kernel refuses.
    """
    from edgenet.shaping import own
    from edgenet.shaping.remembered import FOLDER

    ways = own.ways(topology, node, addresses)
    device = own.device_towards(ways[0].address)
    own.apply(own.Wish(device=device, node=node, ways=ways), FOLDER)
