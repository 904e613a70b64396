"""Veth pairs into one bridge per link: the network of `--shaping none`, and the ground of netem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.kernel import MTU, Kernel
from edgenet.shaping.lanes import Lane
from edgenet.shaping.layout import Layout
from edgenet.shaping.record import Record
from edgenet.topology.spec import Channel


class Bridges:
    """Joins namespaces without shaping (see `edgenet.shaping.network.BackEnd`)."""

    def __init__(self, layout: Layout, lanes: Sequence[Lane], record: Record) -> None:
        self._layout, self._lanes = layout, lanes
        self._core = calls.path_of(layout.core)
        self._ports: dict[str, list[str]] = {}

    def port(self, node: str, link: str) -> str:
        """Name of the core's end of a node's cable to a link."""
        return f"p{self._layout.number(node)}.{self._link_number(link)}"

    def bridge(self, link: str) -> str:
        """Name of a link's bridge in the core."""
        return f"b{self._link_number(link)}"

    def attach(self, kernel: Kernel, node: str, link: str) -> None:
        """Make a node's interface to a link."""
        layout, device = self._layout, self._layout.device(link)
        with self._core.open("rb") as core:
            kernel.add(
                device,
                "veth",
                address=layout.mac(node),
                mtu=MTU,
                # No segmentation offload: what is lost, delayed and counted are real packets.
                gso_max_segs=1,
                state="up",
                peer={"ifname": self.port(node, link), "net_ns_fd": core.fileno()},
            )
        for lane in self._lanes:
            if lane.link == link and lane.source == node:
                kernel.neighbour(device, layout.address(lane.target), layout.mac(lane.target))
        self._ports.setdefault(link, []).append(self.port(node, link))

    def start(self) -> None:
        """Put the cables into their bridges."""
        with Kernel(self._core) as core:
            for link, ports in self._ports.items():
                core.add(self.bridge(link), "bridge", mtu=MTU, state="up")
                for port in ports:
                    core.set(port, master=core.index(self.bridge(link)), state="up")

    def change(self, changes: Mapping[tuple[str, str, str], Channel]) -> None:
        """Raises ShapingError: there is nothing here that shapes."""
        raise ShapingError(
            "this network is not shaped by the kernel, so its links cannot be changed; use "
            "--shaping netem or relay"
        )

    def counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """Nothing: there are no lanes here."""
        return {}

    def check(self) -> None:
        """Nothing here breaks down by itself."""

    def close(self) -> None:
        """All of it goes with the namespaces."""

    def _link_number(self, link: str) -> int:
        links = self._layout.topology.links
        return next(i for i, each in enumerate(links) if each.name == link)
