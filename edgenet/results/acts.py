"""What each node computed in a round, and which messages of it the events tell.

Forwards and backwards are numbered by their order within the round. A message has no event of its
own; what tells of it is a sender that counted as many activations for a peer as it did forwards,
and a peer whose forwards are as many (of one sender, or of several side by side, whose parts of a
batch are computed together) or as many as all senders' (one after the other). Then the k-th forward
here was taken up there by a known forward, and the gradient came back from its backward to the
k-th backward. Where the counts do not agree, nothing is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgenet.results.events import Event, node_events
from edgenet.results.rundir import RunDir

VERBS = {"forward": "F", "backward": "B", "step": "U"}
"""Name of a span -> its letter."""

Sent = Mapping[tuple[str, str, str], int]
"""(sender, receiver, kind) -> messages."""


@dataclass
class Box:
    """One verb of one stage."""

    verb: str
    """F, B or U."""
    number: int
    """Of the mini-batch or micro-batch, within the round."""
    start_s: float
    """Epoch seconds."""
    end_s: float
    """With what an emulated device slept on."""
    worked_s: float
    """Without it."""
    recomputed: list[tuple[float, float]]
    """(start, seconds) of weight versions computed anew within it."""
    slept_s: float = 0.0
    """What an emulated device waited behind it: for this box, and for those since it last did."""


@dataclass(frozen=True)
class Message:
    """From when it was ready until it was taken up."""

    sender: str
    receiver: str
    number: int
    """The highest of both ends' boxes."""
    ready_s: float
    """Epoch seconds: the end of the sender's box."""
    taken_s: float
    """The start of the receiver's."""


def boxes(run: RunDir, nodes: Sequence[str], number: int) -> dict[str, list[Box]]:
    """What each node did in round `number`, in order; nodes that computed nothing are left out."""
    found = {}
    for node in nodes:
        spans = [event for event in _of_round(run, node, number) if event.name == "span"]
        if mine := list(_boxes(sorted(spans, key=lambda span: span.t))):
            found[node] = mine
    return found


def _of_round(run: RunDir, node: str, number: int) -> list[Event]:
    """A node's events of the round, without those of an attempt that was given up."""
    found: list[Event] = []
    for event in node_events(run, node):
        if event.name == "resumed" and event.count("after") < number:
            found = []
        elif event.round == number:
            found.append(event)
    return found


def _boxes(spans: Sequence[Event]) -> Iterator[Box]:
    counts = dict.fromkeys("FBU", 0)
    inner = [(s.t, s.number("d") or 0.0) for s in spans if s.text("k") == "recompute"]
    last: Box | None = None
    for span in spans:
        took = span.number("d") or 0.0
        if span.text("k") == "idle" and span.text("n") == "slowdown" and last is not None:
            last.end_s = span.t + took
            last.slept_s += took
        if span.text("k") != "compute" or span.text("n") not in VERBS:
            continue
        if last is not None:
            yield last
        verb, end = VERBS[span.text("n")], span.t + took
        counts[verb] += 1
        within = [(t, d) for t, d in inner if span.t <= t <= end]
        last = Box(verb, counts[verb], span.t, end, took, within)
    if last is not None:
        yield last


def messages(run: RunDir, rows: Mapping[str, Sequence[Box]], number: int) -> list[Message]:
    """The messages between the boxes of round `number`, as far as the events tell them.

    Args:
        run: whose events.
        rows: what `boxes` found.
        number: of the round.
    """
    sent, found = _sent(run, list(rows), number), []
    for receiver, theirs in rows.items():
        takers = _verb(theirs, "F")
        senders = {name: _verb(mine, "F") for name, mine in rows.items() if name != receiver}
        senders = {
            name: mine
            for name, mine in senders.items()
            if mine and sent.get((name, receiver, "activation")) == len(mine)
        }
        for name, mine, taken in _pairs(senders, takers):
            found.append(_message(name, receiver, mine, taken))
            back = _verb(theirs, "B"), _verb(rows[name], "B")
            both = len(back[0]) == len(takers) and len(back[1]) == len(senders[name])
            if both and sent.get((receiver, name, "gradient")) == len(senders[name]):
                ends = back[0][taken.number - 1], back[1][mine.number - 1]
                found.append(_message(receiver, name, *ends))
    return [each for each in found if each.ready_s <= each.taken_s]  # clocks of hosts may differ


def _sent(run: RunDir, nodes: Sequence[str], number: int) -> Sent:
    """As the one end or the other counted them."""
    ends: tuple[Counter[tuple[str, str, str]], ...] = (Counter(), Counter())
    for node in nodes:
        for event in _of_round(run, node, number):
            if event.name == "bytes":
                out, peer = event.text("dir") == "out", event.text("peer")
                lane = (node, peer) if out else (peer, node)
                ends[out][lane[0], lane[1], event.text("k")] += event.count("messages")
    return ends[0] | ends[1]


def _verb(row: Sequence[Box], verb: str) -> list[Box]:
    return [box for box in row if box.verb == verb]


def _pairs(
    senders: Mapping[str, Sequence[Box]], takers: Sequence[Box]
) -> Iterator[tuple[str, Box, Box]]:
    """(sender, its forward, the forward that took it up)."""
    counts = [len(mine) for mine in senders.values()]
    every = [(name, box) for name, mine in senders.items() for box in mine]
    if len(takers) == max(counts, default=0):
        for name, box in every:
            yield name, box, takers[box.number - 1]
    elif len(takers) == sum(counts):
        every.sort(key=lambda pair: pair[1].end_s)
        for (name, box), taken in zip(every, takers, strict=True):
            yield name, box, taken


def _message(sender: str, receiver: str, mine: Box, theirs: Box) -> Message:
    highest = max(mine.number, theirs.number)
    return Message(sender, receiver, highest, mine.end_s, theirs.start_s)
