"""The `nodes:` section: groups are expanded, devices dealt out, positions drawn."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection, Sequence

from edgenet.devices import PROFILES
from edgenet.topology.document import Entry
from edgenet.topology.section import Section, choose, show
from edgenet.topology.spec import Node
from edgenet.units import parse_length

MAX_NODES = 2000
"""More processes than that is a mistake, not a testbed."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
"""Names become directories, host names and parts of dotted paths."""

Position = tuple[float, float]


class Names:
    """All nodes of a topology, by name and by group."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.groups: dict[str, list[str]] = {}
        for node in nodes:
            self.groups.setdefault(node.group, []).append(node.name)
        self.nodes = {node.name: node for node in nodes}

    def expand(self, section: Section, key: str) -> tuple[str, ...]:
        """The nodes behind the names of `key` (nodes, groups, or a list of them).

        Raises:
            TopologyError: an unknown name, or a node that is named twice.
        """
        found: list[str] = []
        for name in section.names(key):
            if name not in self.nodes and name not in self.groups:
                choices = [*self.groups, *self.nodes]
                hint = choose(name, "nodes", choices, self.listed())
                raise section.fail(f"names unknown node '{name}'; {hint}", key)
            for member in self.groups.get(name, [name]):
                if member in found:
                    raise section.fail(f"names node '{member}' twice under '{key}'", key)
                found.append(member)
        return tuple(found)

    def one(self, section: Section, key: str) -> str:
        """The one node behind `key`."""
        found = self.expand(section, key)
        if len(found) != 1:
            raise section.fail(
                f"needs one node as its {key}, but names {len(found)}: {shorten(found)}", key
            )
        return found[0]

    def listed(self) -> str:
        """'edge, cam0..cam4'."""
        return shorten(list(self.nodes))


def shorten(names: Sequence[str]) -> str:
    """'edge, cam0..cam4': runs of more than two numbered names are shortened."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    texts = [", ".join(run) if len(run) <= 2 else f"{run[0]}..{run[-1]}" for run in runs]
    return ", ".join(texts)


def _follows(first: str, second: str) -> bool:
    """Whether `second` is `first` with the next number at its end."""
    digits = len(first) - len(first.rstrip("0123456789"))
    stem, number = first[: len(first) - digits], first[len(first) - digits :]
    return digits > 0 and second == f"{stem}{int(number) + 1}"


def read_nodes(entry: Entry, seed: int, devices: Collection[str] = PROFILES) -> tuple[Node, ...]:
    """The nodes of the section in file order; `devices` are the names that they may be."""
    section = Section(entry, "the nodes section")
    if not section.entries:
        raise section.fail("is empty; name at least one node")
    nodes: list[Node] = []
    owners = {group: group for group in section}
    for group in section:
        for node in _group(
            Section(section.entries[group], f"node '{group}'"), group, seed, devices
        ):
            owner = owners.setdefault(node.name, group)
            if owner != group:
                raise section.fail(
                    f"gives two nodes the name '{node.name}': '{owner}' and a member of '{group}'; "
                    "rename one of them",
                    group,
                )
            nodes.append(node)
        if len(nodes) > MAX_NODES:
            raise section.fail(f"has more than {MAX_NODES} nodes in all", group)
    return tuple(nodes)


def _group(section: Section, group: str, seed: int, known: Collection[str]) -> list[Node]:
    if not NAME.fullmatch(group):
        raise section.fail(
            "has a bad name; a name is a letter and then up to 39 letters, digits, '-' or '_'"
        )
    section.only("device", "count", "at", "place")
    many = section.get("count") is not None
    count = section.whole("count", 1, 1, MAX_NODES)
    devices = _devices(section, many, known)
    places = _positions(section, group, count, seed)
    return [
        Node(
            name=f"{group}{index}" if many else group,
            group=group,
            device=devices[index % len(devices)],
            at=places[index],
        )
        for index in range(count)
    ]


def _devices(section: Section, many: bool, known: Collection[str]) -> list[str]:
    names = section.names("device") or ["host"]
    if len(names) > 1 and not many:
        raise section.fail("lists several devices but has no count", "device")
    for name in names:
        if name not in known:
            hint = choose(name, "devices", known)
            raise section.fail(f"has unknown device '{name}'; {hint}", "device")
    return names


def _positions(section: Section, group: str, count: int, seed: int) -> list[Position | None]:
    """`at` is one position for all, or one for each; `place` then scatters around it."""
    items = section.items("at")
    if items and all(isinstance(item.value, list) for item in items):
        if len(items) != count:
            raise section.fail(f"has {len(items)} positions for {count} nodes", "at")
        fixed: list[Position | None] = [_position(section, item) for item in items]
    else:
        entry = section.get("at")
        fixed = [None if entry is None else _position(section, entry)] * count
    place = section.section("place", f"{section.label}: place")
    if place is None:
        return fixed
    place.only("disc")
    radius = place.quantity("disc", parse_length)
    if radius is None or radius <= 0:
        raise place.fail("needs the radius of a disc above 0, like 'disc: 500 m'", "disc")
    return [_scatter(at or (0.0, 0.0), radius, f"{seed}/{group}/{i}") for i, at in enumerate(fixed)]


def _position(section: Section, entry: Entry) -> Position:
    if not isinstance(entry.value, list) or len(entry.value) != 2:
        raise section.fail(
            f"has at {show(entry.value)}; it must be a position [x, y] in metres", "at"
        )
    x, y = (section.as_quantity(item, "at", parse_length) for item in entry.value)
    return x, y


def _scatter(centre: Position, radius: float, key: str) -> Position:
    """A point drawn uniformly from a disc; the same for the same key, on every machine."""
    draw = random.Random(key)
    distance, angle = radius * math.sqrt(draw.random()), 2 * math.pi * draw.random()
    x = centre[0] + distance * math.cos(angle)
    y = centre[1] + distance * math.sin(angle)
    return round(x, 3), round(y, 3)
