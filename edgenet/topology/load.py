"""From a topology file to a checked Topology (`load`, `loads`) and back (`dump`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgenet.devices import PROFILES
from edgenet.errors import TopologyError
from edgenet.meters.energy import CARBON_KG_PER_KWH
from edgenet.topology import overrides as setting
from edgenet.topology.devices import read_devices
from edgenet.topology.document import MAX_BYTES, Entry, parse
from edgenet.topology.dumping import dump
from edgenet.topology.events import read_events
from edgenet.topology.links import read_links
from edgenet.topology.nodes import NAME, Names, read_nodes
from edgenet.topology.section import Section
from edgenet.topology.spec import Faults, Probe, Topology
from edgenet.topology.training import read_faults, read_probe, read_train

__all__ = ["SHAPING", "dump", "load", "loads"]

SHAPING = ("auto", "netem", "relay", "paced", "none")
"""Shaping back ends that a file may ask for."""

LIMITS = ("auto", "cgroup", "rlimit", "accounting", "none")
"""What may hold nodes to their devices' memory and cores."""


def load(path: Path | str, overrides: Sequence[str] = ()) -> Topology:
    """Reads a topology file.

    Args:
        path: a YAML file (UTF-8, at most 1 MB).
        overrides: 'train.scheme=gfl', 'nodes.learner.count=5': applied before the checks.

    Raises:
        TopologyError: one sentence: file, line, what, and the valid choices.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise TopologyError(f"{path}: {reason}; give the path of a topology file") from None
    if len(raw) > MAX_BYTES:
        raise TopologyError(f"{path}: larger than 1 MB; a topology is a few kB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TopologyError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    return _read(text, str(path), path.stem, overrides)


def loads(text: str, file: str = "<topology>", overrides: Sequence[str] = ()) -> Topology:
    """Reads a topology from text; `file` is what messages call it. Raises TopologyError."""
    return _read(text, file, "unnamed", overrides)


def _read(text: str, file: str, name: str, overrides: Sequence[str]) -> Topology:
    root = parse(text, file)
    if not isinstance(root.value, dict):
        raise TopologyError(f"{root.where}: a topology is a mapping of nodes, links and train")
    setting.apply(root, overrides)
    section = Section(root, "the topology")
    section.only(*setting.SECTIONS)
    for key in ("nodes", "train"):
        if section.get(key) is None:
            raise TopologyError(f"{file}: the topology has no '{key}' section")
    return _topology(section, _name(section, name), file)


def _topology(section: Section, name: str, file: str) -> Topology:
    seed = section.whole("seed", 0, 0, 2**32 - 1)
    folder = Path(file).parent
    devices = read_devices(section.section("devices", "the devices section"), folder)
    nodes = read_nodes(section.entries["nodes"], seed, {**PROFILES, **devices})
    names = Names(nodes)
    entries = list(_entries(section.entry, ""))
    links, faults, events = section.get("links"), section.get("faults"), section.get("events")
    probe = section.get("probe")
    read = () if links is None else read_links(links, names, folder)
    return Topology(
        name=name,
        nodes=nodes,
        links=read,
        train=read_train(section.entries["train"]),
        faults=Faults() if faults is None else read_faults(faults, names),
        events=() if events is None else read_events(events, nodes, read),
        probe=Probe() if probe is None else read_probe(probe),
        place=_place(section, names),
        devices=devices,
        shaping=section.text("shaping", "auto", SHAPING),
        limits=section.text("limits", "auto", LIMITS),
        seed=seed,
        carbon_kg_per_kwh=section.number("carbon", CARBON_KG_PER_KWH, 0.0, 10.0),
        file=file,
        lines={path: entry.line for path, entry in entries if entry.line is not None},
        settings={path: entry.where for path, entry in entries if entry.line is None},
    )


def _name(section: Section, default: str) -> str:
    name = section.text("name", default)
    if "name" in section and not NAME.fullmatch(name):
        raise section.fail(
            f"has the bad name '{name}'; a name is a letter and then up to 39 letters, digits, "
            "'-' or '_'",
            "name",
        )
    return name if NAME.fullmatch(name) else "unnamed"


def _place(section: Section, names: Names) -> dict[str, tuple[str, ...]]:
    """Role -> nodes; no node plays two roles."""
    place = section.section("place", "place")
    if place is None:
        return {}
    if not place.entries:
        raise place.fail("is empty; write 'role: node' or leave the section out")
    placed = {role: names.expand(place, role) for role in place if place.get(role)}
    roles: dict[str, str] = {}
    for role, nodes in placed.items():
        for node in nodes:
            other = roles.setdefault(node, role)
            if other != role:
                raise place.fail(f"gives node '{node}' two roles, {other} and {role}", role)
    return placed


def _entries(entry: Entry, path: str) -> Iterator[tuple[str, Entry]]:
    """Every dotted path of the document and its entry."""
    if path:
        yield path, entry
    if isinstance(entry.value, dict):
        for key, child in entry.value.items():
            yield from _entries(child, f"{path}.{key}" if path else key)
    elif isinstance(entry.value, list):
        for number, child in enumerate(entry.value):
            yield from _entries(child, f"{path}.{number}")
