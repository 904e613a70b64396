"""The `events:` section: what changes while the run goes on, in seconds after all have joined.

    events:
      - {at: 20 s, degrade: cell, rate: 2 Mbit, delay: 80 ms}   # or factor: 0.25; nodes: cam1
      - {at: 30 s, cut: cell, nodes: [cam1, cam2]}
      - {at: 33 s, restore: cell}
      - {at: 40 s, move: cam0, to: [100, 200]}
      - {at: 50 s, slow: pi2, factor: 2}     # half its profile's speed, until 'free: pi2'
      - {at: 60 s, stop: cam2}               # start, stop, kill: edgenet.topology.comings

An event names its kind and, as that key's value, what it happens to. `KINDS` holds the reader of
each kind's other keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.topology.comings import COMINGS, check_order, moment
from edgenet.topology.document import Entry
from edgenet.topology.links import CHANNEL
from edgenet.topology.nodes import Names, shorten
from edgenet.topology.section import Section, choose, show
from edgenet.topology.spec import LinkSpec, Node, TimedEvent, Topology
from edgenet.units import (
    format_bytes,
    format_fraction,
    format_rate,
    format_time,
    parse_length,
    parse_time,
)

MAX_EVENTS = 10_000

ON_LINKS = ("degrade", "cut", "restore", "move")
"""Kinds that change links, so that a back end has to carry them out."""


ORDERS = ("degrade", "cut", "restore")
"""Kinds that may be ordered while a run goes on."""

ORDERED = "by hand"
"""What stands in the place of 'file:line' in a message about an order."""


@dataclass(frozen=True)
class _Around:
    """What the events may name."""

    nodes: Names
    links: Mapping[str, LinkSpec]


_Reader = Callable[[Section, str, _Around], TimedEvent]


def read_events(
    entry: Entry, nodes: Sequence[Node], links: Sequence[LinkSpec]
) -> tuple[TimedEvent, ...]:
    """The events of the section in file order."""
    if not isinstance(entry.value, list):
        raise Section(Entry({}, entry.where), "events").fail(
            f"is {show(entry.value)}; it must be a list, like [{{at: 30 s, cut: cell}}]"
        )
    around = _Around(Names(nodes), {link.name: link for link in links})
    found = []
    for number, item in enumerate(entry.value):
        section = Section(item, f"event {number + 1}")
        if number >= MAX_EVENTS:
            raise section.fail(f"is one too many; a run has at most {MAX_EVENTS}")
        found.append(_event(section, around))
    check_order(found, entry.value)
    return tuple(found)


def read_order(fields: Mapping[str, Any], topology: Topology, at_s: float) -> TimedEvent:
    """What a person wants to happen now to a link of a run that goes on.

    Args:
        fields: an event as above, without its time: {"degrade": "cell", "rate": "2 Mbit"}.
        topology: of the run.
        at_s: now, in the time of events.

    Raises:
        TopologyError: there is no such link or node, or it cannot be.
    """
    section = Section(_entry({"at": f"{at_s} s", **fields}), "the order")
    links = {link.name: link for link in topology.links}
    around = _Around(Names(topology.nodes), links)
    event = _event(section, around, {kind: KINDS[kind] for kind in ORDERS})
    return dataclasses.replace(event, at_s=at_s)


def _entry(value: Any) -> Entry:
    """JSON as the tree of a document."""
    if isinstance(value, dict):
        return Entry({str(key): _entry(item) for key, item in value.items()}, ORDERED)
    if isinstance(value, list):
        return Entry([_entry(item) for item in value], ORDERED)
    return Entry(value, ORDERED)


def _event(
    section: Section, around: _Around, readers: Mapping[str, _Reader] | None = None
) -> TimedEvent:
    readers = readers or KINDS
    kinds = [key for key in section if key in readers]
    if not kinds:
        unknown = next((key for key in section if key != "at"), "")
        hint = choose(unknown, "kinds", readers)
        raise section.fail(f"does not say what happens; {hint}")
    if len(kinds) > 1:
        raise section.fail(f"is both {kinds[0]} and {kinds[1]}; write two events", kinds[1])
    return readers[kinds[0]](section, kinds[0], around)


def _time(section: Section) -> float:
    at_s = section.quantity("at", parse_time)
    if at_s is None:
        raise section.fail("does not say when; add 'at: 30 s' (after all nodes have joined)")
    return at_s


def _degrade(section: Section, kind: str, around: _Around) -> TimedEvent:
    section.only("at", kind, "nodes", "factor", *CHANNEL)
    settings: dict[str, Any] = {}
    for key, (field, parse) in CHANNEL.items():
        value = section.quantity(key, parse)
        if value is not None:
            settings[field] = value
    if "factor" in section:
        if "rate" in section:
            raise section.fail("has both a rate and a factor of it; keep one", "factor")
        settings["factor"] = section.number("factor", 1.0, 1e-6, 1e6)
    if not settings:
        raise section.fail(
            f"degrades '{section.text(kind)}' by nothing; give {', '.join(CHANNEL)} or a factor of "
            "the rate"
        )
    return _on_link(section, kind, around, settings)


def _cut_or_restore(section: Section, kind: str, around: _Around) -> TimedEvent:
    section.only("at", kind, "nodes")
    return _on_link(section, kind, around, {})


def _on_link(
    section: Section, kind: str, around: _Around, settings: Mapping[str, Any]
) -> TimedEvent:
    name = section.text(kind)
    if name not in around.links:
        hint = choose(name, "links", around.links) if around.links else "there are none"
        raise section.fail(f"names unknown link '{name}'; {hint}", kind)
    link = around.links[name]
    nodes = around.nodes.expand(section, "nodes")
    there = (*link.ends, *([link.base] if link.base else []))
    for node in nodes:
        if node not in there:
            raise section.fail(
                f"names node '{node}', which is not on link '{name}'; its nodes are "
                f"{shorten(there)}",
                "nodes",
            )
    return TimedEvent(at_s=_time(section), kind=kind, target=name, nodes=nodes, settings=settings)


def _move(section: Section, kind: str, around: _Around) -> TimedEvent:
    section.only("at", kind, "to")
    name = around.nodes.one(section, kind)
    if around.nodes.nodes[name].at is None:
        raise section.fail(
            f"moves node '{name}', which has no position; give it 'at: [x, y]' or 'place: "
            "{disc: 500 m}'",
            kind,
        )
    felt = [
        link for link in around.links.values()
        if link.profile == "lte" and name in (*link.ends, link.base)
    ]  # fmt: skip
    if not felt:
        raise section.fail(
            f"moves node '{name}', which is on no lte link: no other depends on distance", kind
        )
    items = section.items("to")
    if len(items) != 2:
        raise section.fail("needs the new position, like 'to: [100, 200]' in metres", "to")
    x, y = (section.as_quantity(item, "to", parse_length) for item in items)
    return TimedEvent(at_s=_time(section), kind=kind, target=name, settings={"to": (x, y)})


def _slow_or_free(section: Section, kind: str, around: _Around) -> TimedEvent:
    section.only("at", kind, *(["factor"] if kind == "slow" else []))
    name = around.nodes.one(section, kind)
    if kind == "slow" and "factor" not in section:
        raise section.fail(
            f"slows '{name}' down by nothing; add how many times slower it becomes, like "
            "'factor: 2'",
            kind,
        )
    settings = {"factor": section.number("factor", 1.0, 1.0, 1e6)} if kind == "slow" else {}
    return TimedEvent(at_s=_time(section), kind=kind, target=name, settings=settings)


def _coming(section: Section, kind: str, around: _Around) -> TimedEvent:
    section.only("at", kind)
    name = around.nodes.one(section, kind)
    at_s, at_round = moment(section)
    return TimedEvent(at_s=at_s, at_round=at_round, kind=kind, target=name)


KINDS: Mapping[str, _Reader] = {
    "degrade": _degrade,
    "cut": _cut_or_restore,
    "restore": _cut_or_restore,
    "move": _move,
    "slow": _slow_or_free,
    "free": _slow_or_free,
    **dict.fromkeys(COMINGS, _coming),
}
"""What can happen, and the reader of its keys."""


def sentence(event: TimedEvent) -> str:
    """What happens, in words: 'cell is degraded to 2 Mbit/s, delay 80 ms (cam1)'."""
    settings = event.settings
    if event.kind == "move":
        x, y = settings["to"]
        return f"{event.target} moves to {x:g}, {y:g} m"
    if event.kind == "slow":
        return f"{event.target} becomes {settings['factor']:g} times slower than its profile"
    if event.kind == "free":
        return f"{event.target} is as fast as its profile again"
    verb = _VERBS.get(event.kind, event.kind)
    if event.kind == "degrade":
        parts = [f"{settings['factor']:g} of its rate"] if "factor" in settings else []
        parts += [
            f"{word}{write(settings[field])}"
            for field, (word, write) in _WORDS.items()
            if field in settings
        ]
        verb = "is degraded to " + ", ".join(parts)
    there = f" ({shorten(event.nodes)})" if event.nodes else ""
    return f"{event.target} {verb}{there}"


_VERBS: Mapping[str, str] = {
    "cut": "is cut",
    "restore": "is restored",
    "start": "starts",
    "stop": "leaves",
    "kill": "is killed",
}

_WORDS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "rate_bps": ("", format_rate),
    "delay_s": ("delay ", format_time),
    "jitter_s": ("jitter ", format_time),
    "loss": ("loss ", format_fraction),
    "queue_bytes": ("queue ", format_bytes),
}
