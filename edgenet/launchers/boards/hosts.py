"""hosts.yaml: the boards, how they are reached, and which nodes of the topology each carries.

hosts:
  hall:                          # `ssh hall` reaches it
    nodes: [server]
  cam-east:
    ssh: pi@10.0.0.21            # what to give to ssh, if not the name
    address: 10.0.0.21           # for the links; default: the address that ssh connects to
    nodes: cam0
  orin:
    device: jetson-orin-nano     # the next two nodes that are of this device
    count: 2
    python: /opt/torch/bin/python
    packages: present            # torch is there, from the board's vendor: nothing is fetched
    data: /data                  # datasets (EDGENET_DATA)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.devices import PROFILES
from edgenet.errors import TopologyError
from edgenet.topology.document import MAX_BYTES, parse
from edgenet.topology.nodes import NAME, Names, shorten
from edgenet.topology.section import Section
from edgenet.topology.spec import Topology

FRESH, PRESENT = "fresh", "present"
"""Where a board's environment takes torch and the rest from: its own, or what `python` has."""

_KEYS = ("ssh", "address", "nodes", "device", "count", "python", "packages", "data", "agent")


@dataclass(frozen=True, kw_only=True)
class Board:
    """One host."""

    name: str
    """What messages call it."""
    ssh: str
    """What ssh is given."""
    address: str = ""
    """By which the others reach it; empty: that by which ssh does."""
    nodes: tuple[str, ...]
    """The nodes that it carries."""
    python: str = "python3"
    """Its interpreter, 3.10 or newer."""
    packages: str = FRESH
    """FRESH or PRESENT."""
    data: str = ""
    """The folder of its datasets."""
    agent: str = ""
    """'address:port' of its agent; empty: it is reached by ssh."""
    where: str = ""
    """'hosts.yaml:3'."""

    def run(self, name: str) -> str:
        """What it knows a run of this name by: boards that share a home each need a folder."""
        words = f"{name}\0{','.join(self.nodes)}".encode()
        return hashlib.sha256(words).hexdigest()[:16] if name else ""


def load_hosts(path: Path, topology: Topology, seats: Sequence[str]) -> tuple[Board, ...]:
    """The boards, that of the first seat first.

    Args:
        path: the file.
        topology: what is to be run.
        seats: its nodes that have a role, in rank order.

    Raises:
        TopologyError: one sentence with file and line. Every seat must be on one board.
    """
    section = _open(path)
    hosts = section.section("hosts", "hosts")
    if hosts is None or not hosts.entries:
        raise section.fail("has no hosts; write `hosts:` and a mapping for each board under it")
    section.only("hosts")
    entries = {name: Section(hosts.entries[name], f"host '{name}'") for name in hosts}
    carried = _carried(hosts, entries, topology, list(seats))
    boards = [_board(name, entry, carried[name]) for name, entry in entries.items()]
    return tuple(sorted(boards, key=lambda board: seats[0] not in board.nodes))


def _open(path: Path) -> Section:
    try:
        raw = path.read_bytes()[: MAX_BYTES + 1]
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (
            "not UTF-8 text" if isinstance(error, ValueError) else os.strerror(error.errno or 0)
        )
        raise TopologyError(f"{path}: {reason.lower()}; give the path of a hosts file") from None
    if not text.strip():
        raise TopologyError(f"{path}: the file is empty; it needs `hosts:` and a mapping for each")
    return Section(parse(text, str(path)), "the hosts file")


def _carried(
    hosts: Section, entries: dict[str, Section], topology: Topology, seats: list[str]
) -> dict[str, tuple[str, ...]]:
    """Board -> nodes: first those that are named, then the counted ones in rank order."""
    names, left = Names(topology.nodes), list(seats)
    carried: dict[str, tuple[str, ...]] = {}
    for host, entry in entries.items():
        entry.only(*_KEYS)
        if entry.get("nodes") is None:
            continue
        for key in ("device", "count"):
            if key in entry:
                raise entry.fail(f"has both 'nodes' and '{key}'; write one of them", key)
        carried[host] = _named(entry, names, seats, left, carried)
    for host, entry in entries.items():
        if host not in carried:
            carried[host] = _counted(entry, topology, left)
    if left:
        raise hosts.fail(f"leave out {shorten(left)}; every node with a role needs a host")
    return carried


def _named(
    entry: Section,
    names: Names,
    seats: list[str],
    left: list[str],
    carried: dict[str, tuple[str, ...]],
) -> tuple[str, ...]:
    found = tuple(node for node in names.expand(entry, "nodes") if node in seats)
    if not found:
        raise entry.fail(f"carries no node that has a role; those are {shorten(seats)}", "nodes")
    for node in found:
        if node not in left:
            other = next(host for host, nodes in carried.items() if node in nodes)
            raise entry.fail(f"carries '{node}', and so does host '{other}'", "nodes")
        left.remove(node)
    return found


def _counted(entry: Section, topology: Topology, left: list[str]) -> tuple[str, ...]:
    if "count" not in entry and "device" not in entry:
        raise entry.fail("carries nothing; write `nodes: [names]`, or `count:` and `device:`")
    device = entry.text("device", "", tuple(PROFILES))
    count = entry.whole("count", 1, 1, 1000)
    fit = [node for node in left if device in ("", topology.node(node).device)][:count]
    if len(fit) < count:
        kind = f" of device '{device}'" if device else ""
        raise entry.fail(
            f"asks for {count} more nodes{kind}, but only {len(fit)} are left", "count"
        )
    for node in fit:
        left.remove(node)
    return tuple(fit)


def _board(name: str, entry: Section, nodes: tuple[str, ...]) -> Board:
    if not NAME.fullmatch(name):
        raise entry.fail(
            "has a bad name; a name is a letter and then up to 39 letters, digits, '-' or '_' "
            "(`ssh: user@host.domain` says how it is reached)"
        )
    ssh, agent = entry.text("ssh", name), entry.text("agent")
    if ssh.startswith("-"):
        raise entry.fail(f"has ssh '{ssh}'; it must be a host's name, like pi@10.0.0.21", "ssh")
    if agent and not (agent.rpartition(":")[0] and agent.rpartition(":")[2].isdecimal()):
        raise entry.fail(f"has agent '{agent}'; write address:port, like 10.0.0.21:29400", "agent")
    return Board(
        name=name,
        ssh=ssh,
        address=entry.text("address"),
        nodes=nodes,
        python=entry.text("python", Board.python),
        packages=entry.text("packages", FRESH, (FRESH, PRESENT)),
        data=entry.text("data"),
        agent=agent,
        where=entry.entry.where,
    )
