"""An emulated network: a namespace for every node, and the topology's links between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgenet.errors import ShapingError
from edgenet.shaping import calls, record
from edgenet.shaping.bridges import Bridges
from edgenet.shaping.choice import require
from edgenet.shaping.kernel import MTU, Kernel
from edgenet.shaping.lanes import Lane, lanes
from edgenet.shaping.layout import CONTROL, Layout
from edgenet.shaping.netem import Netem
from edgenet.shaping.record import Record
from edgenet.shaping.relay import Relay
from edgenet.topology.spec import Channel, Topology


class BackEnd(Protocol):
    """What joins the namespaces. Made with (layout, lanes, record)."""

    def attach(self, kernel: Kernel, node: str, link: str) -> None:
        """Make a node's interface to a link, up, named as the layout says."""

    def start(self) -> None:
        """All interfaces are there: let packets pass, shaped."""

    def change(self, changes: Mapping[tuple[str, str, str], Channel]) -> None:
        """Give running lanes, named by (link, source, target), other channels."""

    def counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """What each lane has carried and dropped so far: packets, dropped."""

    def check(self) -> None:
        """Raises NodeError when it has broken down."""

    def close(self) -> None:
        """End what does not end with the namespaces."""


_BACK_ENDS: Mapping[str, Callable[[Layout, Sequence[Lane], Record], BackEnd]] = {
    "netem": Netem,
    "relay": Relay,
    "paced": Bridges,
    "none": Bridges,
}


class Network:
    """Builds a topology's network when entered, and takes it down when left.

    Args:
        topology: nodes and links.
        back_end: 'netem', 'relay', or 'none' (namespaces joined by unshaped links; the same for
            'paced', where the links shape themselves).
        folder: where the record of what is made lies meanwhile.

    Raises:
        ShapingError: this machine cannot do it, and what would help.
        TopologyError: a channel cannot be computed.
    """

    def __init__(self, topology: Topology, back_end: str, folder: Path = record.FOLDER) -> None:
        self.topology, self.back_end = topology, back_end
        self._folder = folder
        self._lanes = {lane.key: lane for lane in lanes(topology)}

    def __enter__(self) -> Network:
        require(self.back_end, self.topology)
        self._record = Record(self._folder)
        self.layout = Layout(self.topology, self._record.tag)
        make = _BACK_ENDS[self.back_end]
        self._joined: BackEnd = make(self.layout, tuple(self._lanes.values()), self._record)
        try:
            self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tear_down()

    @property
    def core(self) -> Path:
        """Path of the namespace that reaches every node unshaped: the store's place."""
        return calls.path_of(self.layout.core)

    @property
    def core_address(self) -> str:
        """Under which every node reaches the core."""
        return self.layout.control()

    def namespace(self, node: str) -> Path:
        """Path of a node's namespace."""
        return calls.path_of(self.layout.namespace(node))

    def address(self, node: str) -> str:
        """Under which a node is reached by others, over the links of the topology."""
        return self.layout.address(node)

    def inside(self, node: str) -> AbstractContextManager[None]:
        """For the calling thread, and processes that it starts: be at a node."""
        return calls.inside(self.namespace(node))

    def change(self, link: str, channel: Channel, *ways: tuple[str, str]) -> None:
        """Change a link while it runs.

        Args:
            link: its name.
            channel: from now on.
            ways: which of its directions, as (source, target); all of them if none is named.
        """
        keys = [key for key in self._lanes if key[0] == link and (not ways or key[1:] in ways)]
        self.set(dict.fromkeys(keys, channel))

    def cut(self, link: str, *ways: tuple[str, str]) -> None:
        """Let nothing pass any more, until `restore`."""
        self.set(
            {
                key: dataclasses.replace(lane.channel, loss=1.0)
                for key, lane in self._lanes.items()
                if key[0] == link and (not ways or key[1:] in ways)
            }
        )

    def restore(self, link: str) -> None:
        """Give a link back what the topology says."""
        self.set({key: lane.channel for key, lane in self._lanes.items() if key[0] == link})

    def set(self, changes: Mapping[tuple[str, str, str], Channel]) -> None:
        """Give lanes, named by (link, source, target), other channels.

        Raises:
            ShapingError: there is no such lane, or the back end shapes nothing.
        """
        unknown = [key for key in changes if key not in self._lanes]
        if unknown or not changes:
            known = ", ".join(dict.fromkeys(key[0] for key in self._lanes))
            raise ShapingError(f"no such way through the network: {unknown}; its links are {known}")
        self._joined.change(changes)

    def counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """What each lane has carried and dropped so far: packets, dropped."""
        return self._joined.counts()

    def check(self) -> None:
        """Raises NodeError when the network has broken down."""
        self._joined.check()

    def counters(self, node: str) -> dict[str, dict[str, int]]:
        """The kernel's own counters of a node's interfaces, by link: rx_bytes, tx_bytes, ... Those
        of an interface that is gone, as its relay is, are gone too."""
        links = [each.name for each in self.topology.links if node in self.layout.ends(each.name)]
        with Kernel(self.namespace(node)) as kernel:
            devices = {link: self.layout.device(link) for link in links}
            present = kernel.devices()
            return {
                link: kernel.counters(device)
                for link, device in devices.items()
                if device in present
            }

    def _build(self) -> None:
        layout = self.layout
        names = [layout.namespace(node.name) for node in self.topology.nodes]
        self._record.namespaces([layout.core, *names])
        for name in (layout.core, *names):
            calls.create(name)
        with Kernel(self.core) as core, self.core.open("rb") as core_fd:
            core.sysctl(**_QUIET)
            core.set("lo", state="up")
            core.add(CONTROL, "bridge", state="up")
            core.address(CONTROL, layout.control(), 16)
            for node in self.topology.nodes:
                with Kernel(self.namespace(node.name)) as kernel:
                    self._node(kernel, node.name, core_fd.fileno())
                core.set(f"c{layout.number(node.name)}", master=core.index(CONTROL), state="up")
        self._joined.start()

    def _node(self, kernel: Kernel, node: str, core: int) -> None:
        layout = self.layout
        kernel.sysctl(**_QUIET, **_FORWARDING)
        kernel.set("lo", state="up")
        kernel.address("lo", layout.address(node), 32)
        peer = {"ifname": f"c{layout.number(node)}", "net_ns_fd": core}
        kernel.add(CONTROL, "veth", mtu=MTU, state="up", peer=peer)
        kernel.address(CONTROL, layout.control(node), 16)
        for link in self.topology.links:
            if node in layout.ends(link.name):
                self._joined.attach(kernel, node, link.name)
        for route in layout.table(node):
            kernel.route(route, source=layout.address(node))

    def _tear_down(self) -> None:
        self._joined.close()
        layout = self.layout
        for node in self.topology.nodes:
            calls.remove(layout.namespace(node.name))
        calls.remove(layout.core)
        self._record.forget()


_QUIET = {"ipv6__conf__all__disable_ipv6": 1, "ipv6__conf__default__disable_ipv6": 1}
_FORWARDING = {
    "ipv4__ip_forward": 1,
    "ipv4__conf__all__rp_filter": 0,  # the way back may be another one
    "ipv4__conf__default__rp_filter": 0,
    "ipv4__conf__all__send_redirects": 0,  # members of a cell talk through their base
    "ipv4__conf__default__send_redirects": 0,
}
