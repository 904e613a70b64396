"""One namespace's side of netlink: interfaces, addresses, routes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.layout import Route

MTU = 1500
"""Bytes of the largest IP packet on every emulated link: Ethernet's."""

_ON_LINK = 4  # RTNH_F_ONLINK, linux/rtnetlink.h: a gateway without an address of its own network
_ETHERNET = 1  # ARPHRD_ETHER, linux/if_arp.h
_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h


class Kernel:
    """A netlink socket in a namespace; a context manager.

    Args:
        namespace: path of the namespace.
    """

    def __init__(self, namespace: Path) -> None:
        self.path = namespace
        with calls.inside(namespace):
            self.ip: Any = IPRoute()  # stays in the namespace where it was opened
        self._indexes: dict[str, int] = {}

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ip.close()
        if isinstance(error, NetlinkError):
            raise ShapingError(f"the kernel refused to set up {self.path.name}: {error}") from error

    def index(self, device: str) -> int:
        """The number of an interface; IndexError if there is none of that name."""
        if device not in self._indexes:
            self._indexes[device] = self.ip.link_lookup(ifname=device)[0]
        return self._indexes[device]

    def devices(self) -> set[str]:
        """Names of all interfaces."""
        return {link.get_attr("IFLA_IFNAME") for link in self.ip.get_links()}

    def device_of(self, address: str) -> str:
        """The interface that has an IPv4 address. Raises ShapingError: there is none."""
        for found in self.ip.get_addr(address=address):
            return str(found.get_attr("IFA_LABEL"))
        raise ShapingError(f"no interface here has the address {address}")

    def unqueue(self, device: str) -> None:
        """Give an interface the queue back that it came with."""
        with suppress(NetlinkError):  # it has it still
            self.ip.tc("del", index=self.index(device), root=True)

    def discard(self, device: str) -> None:
        """Remove an interface, if it is there."""
        if device in self.devices():
            self.ip.link("del", index=self.index(device))

    def ethernet(self, device: str) -> bool:
        """Whether packets carry an Ethernet header where they are queued."""
        (link,) = self.ip.get_links(self.index(device))
        return bool(link["ifi_type"] == _ETHERNET)

    def segments(self, device: str) -> int:
        """How many segments the kernel leaves to the interface to cut (gso_max_segs)."""
        (link,) = self.ip.get_links(self.index(device))
        return int(link.get_attr("IFLA_GSO_MAX_SEGS"))

    def add(self, device: str, kind: str, **settings: Any) -> None:
        """Make an interface."""
        self.ip.link("add", ifname=device, kind=kind, **settings)

    def set(self, device: str, **settings: Any) -> None:
        """Change an interface."""
        self.ip.link("set", index=self.index(device), **settings)

    def address(self, device: str, address: str, prefix: int) -> None:
        """Give an interface an address."""
        self.ip.addr("add", index=self.index(device), address=address, prefixlen=prefix)

    def route(self, route: Route, source: str) -> None:
        """Add a route whose packets bear the address `source`."""
        self.ip.route(
            "add",
            dst=f"{route.target}/{route.prefix}",
            gateway=route.gateway,
            oif=self.index(route.device),
            flags=_ON_LINK,
            prefsrc=source,
        )

    def neighbour(self, device: str, address: str, mac: str) -> None:
        """Tell where an address is, so that nobody has to ask (ARP is not shaped)."""
        self.ip.neigh("add", dst=address, lladdr=mac, ifindex=self.index(device), state=_PERMANENT)

    def sysctl(self, **values: int) -> None:
        """Write net.* settings of the namespace; a double underscore stands for a dot. Those that
        the kernel does not have are left out."""
        with calls.inside(self.path):
            for name, value in values.items():
                file = Path("/proc/sys/net", *name.split("__"))
                if file.exists():
                    file.write_text(str(value))

    def counters(self, device: str) -> dict[str, int]:
        """The interface's statistics as the kernel counts them (rx_bytes, tx_packets, ...)."""
        (link,) = self.ip.get_links(self.index(device))
        found = link.get_attr("IFLA_STATS64")
        return {name: found[name] for name in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")}
