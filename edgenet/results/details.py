"""What report.html shows beyond the tally, from a second pass over the events: who did what in some
rounds, memory over time, and what links delivered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edgenet.results.events import Event
from edgenet.results.seen import Seen, Sight
from edgenet.results.tally import RoundTally, Tally

KINDS = ("compute", "send", "wait", "evaluate")
"""Of spans, in the order of the page's colours; recomputing and an emulated device's slowness are
computing."""

ROUNDS = 3
"""Most rounds around the median one that are drawn."""
_GRAIN = 600
"""Parts of a round: gaps that are shorter than one are not seen."""
_POINTS = 240
"""Most points of a curve of memory."""


@dataclass
class Span:
    """Some seconds of a node, within the round."""

    start_s: float
    """Since the start of the round."""
    end_s: float


@dataclass
class Window:
    """A round as it is drawn."""

    number: int
    start_s: float
    """Epoch seconds."""
    wall_s: float
    spans: dict[str, dict[str, list[Span]]] = field(default_factory=dict)
    """Node -> kind -> its spans; neighbours are joined."""

    def add(self, event: Event) -> None:
        """Take in a span, as far as it lies within the round."""
        kind = _kind(event)
        start_s = event.t - self.start_s
        end_s = min(start_s + (event.number("d") or 0.0), self.wall_s)
        start_s = max(start_s, 0.0)
        if kind is None or end_s <= start_s:
            return
        known = self.spans.setdefault(event.node, {}).setdefault(kind, [])
        if known and known[-1].start_s <= start_s <= known[-1].end_s + self.wall_s / _GRAIN:
            known[-1].end_s = max(known[-1].end_s, end_s)
        else:
            known.append(Span(start_s, end_s))


@dataclass
class Details:
    """What the second pass found."""

    windows: list[Window]
    """Rounds of about median length, in order."""
    memory: dict[str, list[tuple[float, float]]]
    """Node -> (seconds since the start of the run, resident bytes)."""
    seen: list[Seen] = field(default_factory=list)
    """What links delivered, as far as the run's own messages tell."""


def gather(tally: Tally, events: Iterable[Event]) -> Details:
    """Read the events once more.

    Args:
        tally: of the same events.
        events: of all nodes.
    """
    found = Details([_window(each) for each in around_median(tally.rounds)], {})
    sight = Sight()
    for event in events:
        sight.add(event)
        if event.name == "span":
            for window in found.windows:
                window.add(event)
        elif event.name == "resources" and event.count("rss_bytes"):
            point = (tally.since(event.t), float(event.count("rss_bytes")))
            found.memory.setdefault(event.node, []).append(point)
    found.memory = {name: _thin(points) for name, points in found.memory.items()}
    found.seen = sight.found(sum(each.wall_s for each in tally.rounds))
    return found


def around_median(rounds: Sequence[RoundTally]) -> list[RoundTally]:
    """The rounds whose lengths are in the middle, in order: of an even number two, of an odd one
    three, so that as many are shorter as are longer; of a few all."""
    lengths = sorted((each for each in rounds if each.wall_s > 0), key=lambda each: each.wall_s)
    count = ROUNDS if len(lengths) <= ROUNDS or len(lengths) % 2 else ROUNDS - 1
    first = max(0, (len(lengths) - count) // 2)
    return sorted(lengths[first : first + count], key=lambda each: each.number)


def _window(each: RoundTally) -> Window:
    return Window(each.number, each.t - each.wall_s, each.wall_s)


def _kind(event: Event) -> str | None:
    kind = event.text("k")
    if kind == "recompute" or (kind == "idle" and event.text("n") == "slowdown"):
        return "compute"
    return kind if kind in KINDS else None


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """In order, evenly chosen, the last among them."""
    points = sorted(points)
    step = -(-len(points) // _POINTS)
    return points[::-1][::step][::-1]
