"""Names, addresses and routes of an emulated network: pure functions of the topology.

Every node has one address, which it keeps on its loopback interface, and one interface per link it
has an end of. A packet to a node that is not a neighbour is forwarded by the nodes between, as
`edgenet.topology.graph.route` says, so it crosses every lane of its way for real.

Control traffic (the rendezvous store) has a network of its own that is never shaped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from edgenet.topology.graph import Hop, hops
from edgenet.topology.spec import Topology

CONTROL = "control"
"""Name of a node's interface for control traffic."""

_DEVICE_LENGTH = 15  # IFNAMSIZ - 1, linux/if.h
_DATA, _CONTROL = (10, 77), (10, 78)  # the namespaces reach nothing else, so nothing can collide


@dataclass(frozen=True, kw_only=True)
class Route:
    """One entry of a node's routing table."""

    target: str
    """Address of the node it leads to."""
    gateway: str
    """Address of the next node on the way; the target's own, where it is a neighbour."""
    device: str
    """The interface it leaves by."""
    prefix: int = 32
    """How many bits of `target` count; fewer than 32: it leads to all of a network."""


class Layout:
    """The plan of one network.

    Args:
        topology: the nodes and links.
        tag: what tells this network from all others on this host.
    """

    def __init__(self, topology: Topology, tag: str) -> None:
        self.topology, self.tag = topology, tag
        self._number = {node.name: i for i, node in enumerate(topology.nodes)}
        self._devices = _device_names(topology)

    @property
    def core(self) -> str:
        """Name of the namespace between all nodes: bridges, shared media, the store."""
        return f"edgenet-{self.tag}"

    def namespace(self, node: str) -> str:
        """Name of a node's namespace."""
        return f"edgenet-{self.tag}-{node}"

    def number(self, node: str) -> int:
        """A node's position in the file, from 0."""
        return self._number[node]

    def address(self, node: str) -> str:
        """Under which a node's links reach each other."""
        return _address(_DATA, self._number[node] + 1)

    def control(self, node: str | None = None) -> str:
        """A node's address for control traffic, or (without a node) the core's."""
        return _address(_CONTROL, 1 if node is None else self._number[node] + 2)

    def mac(self, node: str) -> str:
        """Hardware address of all of a node's interfaces: its last four bytes are the node's
        address, by which filters tell lanes apart."""
        numbers = [2, 0, *(int(part) for part in self.address(node).split("."))]
        return ":".join(f"{number:02x}" for number in numbers)

    def device(self, link: str) -> str:
        """Name of the interface to a link, in every node at the link."""
        return self._devices[link]

    def ends(self, link: str) -> tuple[str, ...]:
        """All nodes at a link: its ends, then its base."""
        spec = next(each for each in self.topology.links if each.name == link)
        return (*spec.ends, *([spec.base] if spec.base else []))

    def routes(self, node: str) -> Iterator[Route]:
        """A node's routing table: one entry for every other node that it can reach."""
        for target, hop in first_hops(self.topology, node).items():
            yield Route(
                target=self.address(target),
                gateway=self.address(hop.target),
                device=self.device(hop.link),
            )

    def table(self, node: str) -> Iterator[Route]:
        """What the node's kernel is told: `routes`, where most of them lead the same way as one
        for all and the exceptions (in a cell of a hundred nodes that saves ten thousand)."""
        routes = list(self.routes(node))
        if len(routes) < len(self.topology.nodes) - 1 or len(routes) < 2:
            yield from routes  # what cannot be reached must not have a route
            return
        ways = Counter((each.gateway, each.device) for each in routes)
        ((gateway, device), _), *_ = ways.most_common(1)
        network = _address(_DATA, 0)
        yield Route(target=network, gateway=gateway, device=device, prefix=16)
        yield from (each for each in routes if (each.gateway, each.device) != (gateway, device))


def first_hops(topology: Topology, node: str) -> dict[str, Hop]:
    """For every node that `node` reaches, the first hop of `edgenet.topology.graph.route`.

    Following first hops from node to node walks that route: of the shortest ways it is the one
    whose hops come first, and what is left of such a way is such a way itself.
    """
    first: dict[str, Hop] = {}
    waiting = deque([node])
    while waiting:
        here = waiting.popleft()
        for hop in hops(topology, here):
            if hop.target != node and hop.target not in first:
                first[hop.target] = first.get(here, hop)
                waiting.append(hop.target)
    return first


def _address(network: tuple[int, int], number: int) -> str:
    return f"{network[0]}.{network[1]}.{number >> 8}.{number & 255}"


def _device_names(topology: Topology) -> dict[str, str]:
    """The link's own name where it can be an interface's."""
    names: dict[str, str] = {}
    for i, link in enumerate(topology.links):
        fits = len(link.name) <= _DEVICE_LENGTH and link.name not in (CONTROL, "lo")
        names[link.name] = link.name if fits else f"{link.name[:8]}.{i}"
    return names
