"""Nodes that come later, leave, are killed and come back: the events `start`, `stop` and `kill`.

    events:
      - {at: 20 s, start: cam3}         # until then there is no such process
      - {at: 40 s, stop: cam2}          # SIGTERM: it says goodbye to its peers
      - {at: round 6, kill: cam1}       # SIGKILL, as this round begins
      - {at: round 9, start: cam1}      # and comes back

A node whose first event is `start` is not there when the run begins. Which nodes may be named (the
run must be able to do without them) depends on the scheme: `edgenet.node.presence`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from edgenet.topology.document import Entry
from edgenet.topology.section import Section
from edgenet.topology.spec import TimedEvent
from edgenet.units import format_time, parse_time

COMINGS = ("start", "stop", "kill")
"""Kinds of events that happen to a node's process."""

_ROUND = re.compile(r"(?:round|epoch) +([1-9][0-9]{0,6})")


def moment(section: Section) -> tuple[float, int | None]:
    """The value of `at`: (seconds, None), or (inf, round)."""
    entry = section.get("at")
    value = None if entry is None else entry.value
    if isinstance(value, str) and (match := _ROUND.fullmatch(value.strip())):
        return math.inf, int(match[1])
    at_s = section.quantity("at", parse_time)
    if at_s is None:
        raise section.fail("does not say when; add 'at: 30 s' or 'at: round 3'")
    return at_s, None


def when(event: TimedEvent) -> str:
    """'30 s' or 'round 3'."""
    return format_time(event.at_s) if event.at_round is None else f"round {event.at_round}"


def late_starters(events: Iterable[TimedEvent]) -> frozenset[str]:
    """The nodes that are not there when the run begins."""
    return frozenset(name for name, own in _by_node(events).items() if own[0].kind == "start")


def left(events: Iterable[TimedEvent]) -> frozenset[str]:
    """The nodes that are gone, as they were told, after all of these events."""
    return frozenset(name for name, own in _by_node(events).items() if own[-1].kind == "stop")


def check_order(events: Sequence[TimedEvent], entries: Sequence[Entry]) -> None:
    """Make sure that nobody starts who is there, or leaves who is not.

    Args:
        events: of the topology, in file order.
        entries: where each of them stands.

    Raises:
        TopologyError: with the line of the event that cannot be.
    """
    for name, own in _by_node(events).items():
        there = own[0].kind != "start"
        for event in own:
            number = next(i for i, each in enumerate(events) if each is event)
            section = Section(entries[number], f"event {number + 1}")
            if (event.at_round is None) != (own[0].at_round is None):
                raise section.fail(
                    f"has '{name}' {event.kind} at {when(event)}, another event of it is at "
                    f"{when(own[0])}; give all events of a node in times, or all in rounds",
                    "at",
                )
            if (event.kind == "start") == there:
                is_ = "is there already" if there else "is not there then"
                raise section.fail(
                    f"has '{name}' {event.kind} at {when(event)}, but it {is_}", event.kind
                )
            there = event.kind == "start"


def _by_node(events: Iterable[TimedEvent]) -> dict[str, list[TimedEvent]]:
    """Of each node that has any, in the order in which they happen."""
    found: dict[str, list[TimedEvent]] = {}
    for event in events:
        if event.kind in COMINGS:
            found.setdefault(event.target, []).append(event)
    for own in found.values():
        own.sort(key=lambda event: (event.at_s, event.at_round or 0))
    return found
