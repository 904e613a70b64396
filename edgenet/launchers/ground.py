"""Where the nodes of a run stand when each has a network namespace of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.shaping import calls
from edgenet.shaping.asked import Asked
from edgenet.shaping.choice import KERNEL
from edgenet.topology.graph import route
from edgenet.topology.spec import Channel, Topology

if TYPE_CHECKING:
    from edgenet.shaping.packets import Packets


@dataclass(frozen=True, kw_only=True)
class Ground:
    """An emulated network, as the fork server is told of it (in JSON)."""

    core: str
    """Path of the namespace in which the rendezvous listens."""
    store_host: str
    """Its address there, which every node reaches by a way that is not shaped."""
    namespaces: Mapping[str, str]
    """Path of each node's namespace."""
    addresses: Mapping[str, str]
    """Under which each node's links are reached by others."""

    def listener(self, backlog: int) -> socket.socket:
        """The rendezvous' socket: it belongs to the core, whoever serves it."""
        with calls.inside(Path(self.core)):
            return socket.create_server((self.store_host, 0), backlog=backlog)

    def on(self, node: str, body: Callable[[], int]) -> Callable[[], int]:
        """`body`, to be run by a process that moves into the node's namespace before all else."""
        return partial(_moved, Path(self.namespaces[node]), body)

    def fields(self) -> dict[str, Any]:
        """For JSON; `Ground(**fields)` is the way back."""
        return asdict(self)


class Built:
    """A network that stands, from the launcher's side.

    Args:
        network: an `edgenet.shaping.network.Network` that was entered.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._before: dict[str, dict[str, dict[str, int]]] = {}
        nodes = [node.name for node in network.topology.nodes]
        self.ground = Ground(
            core=str(network.core),
            store_host=network.core_address,
            namespaces={node: str(network.namespace(node)) for node in nodes},
            addresses={node: network.address(node) for node in nodes},
        )

    @property
    def apply(self) -> Callable[[Mapping[tuple[str, str, str], Channel]], None] | None:
        """Gives running lanes other channels; None where the nodes' links pace themselves."""
        change: Callable[[Mapping[tuple[str, str, str], Channel]], None] = self._network.set
        return change if self._network.back_end in KERNEL else None

    def check(self) -> None:
        """Raises NodeError when the network has broken down."""
        self._network.check()

    def packets(self, ways: Sequence[Asked]) -> list[Packets]:
        """What the network does to packets, while nobody else uses it."""
        from edgenet.shaping.packets import packets

        found = packets(self._network, ways)
        self._before = self._counted()
        return found

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """What the kernel has counted since `packets`, or since the network stands: {node: {link:
        {rx_bytes, tx_bytes, ...}}}. To be asked while it stands: a relay's interfaces go with it.
        """
        found = self._counted()
        for node, links in found.items():
            for link, sums in links.items():
                before = self._before.get(node, {}).get(link, {})
                links[link] = {name: count - before.get(name, 0) for name, count in sums.items()}
        return found

    def ways(self, peers: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[str, str]]]:
        """By which interfaces, as (node, link), the packets of each flow 'source->target' leave.

        Args:
            peers: of each node.
        """
        topology = self._network.topology
        return {
            f"{source}->{target}": [(hop.source, hop.link) for hop in way]
            for source, targets in peers.items()
            for target in targets
            if (way := route(topology, source, target)) is not None
        }

    def _counted(self) -> dict[str, dict[str, dict[str, int]]]:
        return {node: self._network.counters(node) for node in self.ground.namespaces}


@contextmanager
def built(topology: Topology, back_end: str) -> Iterator[Built]:
    """An emulated network for the time of a run.

    Raises:
        ShapingError: this machine cannot make it.
    """
    from edgenet.shaping.network import Network  # its netlink is a dependency on Linux only

    with Network(topology, back_end) as network:
        yield Built(network)


def _moved(namespace: Path, body: Callable[[], int]) -> int:
    calls.enter(namespace)
    return body()
