"""What the page shows of a run, as one JSON object that is sent whole whenever it has changed.

| key | holds |
| --- | --- |
| `schema_version` | of this object |
| `run` | name, topology, scheme, shaping, seed, rounds (asked for) |
| `over`, `outcome`, `error` | whether it has ended, and how |
| `orders` | whether somebody is there to carry them out |
| `no_orders` | why not, in a sentence, while the run goes on; else empty |
| `elapsed_s`, `round`, `round_s`, `left_s` | the course of time |
| `network` | height, places {vertex: [x, y]}, names {vertex: {at, anchor, words}}, \
lines [{a, b, link, at}], media [{link, kind, corners, words, at}]: the drawing, 360 wide; \
`at` is where words stand, null where they do not |
| `nodes` | [{name, role, device, state, round, out_bps, in_bps, rss_bytes, cpu}] |
| `links` | [{name, kind, status, says, lanes: [{source, target, bps, asked_bps}]}] |
| `rounds` | {number, t_s, accuracy, loss, bytes}: lists of one length, thinned |
| `marks` | [{t_s, round, kind, says}]: faults and changes |
| `log` | [{n, t_s, node, kind, text}]: the latest |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgenet.results.events import Event, Tail
from edgenet.results.labels import Box
from edgenet.results.layout import LETTERS, MANY, lay_out
from edgenet.results.network import Link, links_of
from edgenet.results.nodewatch import NodeWatch
from edgenet.results.placing import FEW, lines_of
from edgenet.results.rundir import SCHEMA_VERSION, RunDir, finite
from edgenet.results.summary import outcome
from edgenet.results.svg import Point, shorten
from edgenet.results.watch import RoundWatch, Watch, changed
from edgenet.web.feed import Feed
from edgenet.web.usage import Lane, Usage

_LONGEST_RATE, _LONGEST_STATE = "\u2192 88.8 Mbit/s", "interrupted"
_POINTS = 300
_MARKS = 100
_STARTERS = {"compose": "containers", "deploy": "edgenet deploy"}


class Story:
    """One run, followed. To be used from one thread at a time.

    Args:
        run: its folder.
        clock: epoch seconds, for tests.
    """

    def __init__(self, run: RunDir, clock: Callable[[], float] = time.time) -> None:
        self.run, self._clock = run, clock
        self._about: dict[str, Any] = {}
        self._tail = Tail(run, launcher=True)
        self._watch, self._feed, self._usage = Watch(), Feed(run), Usage(())
        self._links: list[Link] = []
        self._bytes: dict[int, int] = {}
        self._settled = 0
        self._drawing: dict[str, Any] = _drawing([], [])
        self._latest = 0.0

    def update(self) -> None:
        """Read what is new."""
        self._read_about()
        for event in self._tail.new():
            self._latest = max(self._latest, event.t)
            self._watch.add(event)
            self._feed.add(event)
            self._usage.add(event)
        self._feed.printed(self._clock())
        open_rounds = self._watch.rounds[self._settled :]
        for each in open_rounds:
            self._bytes[each.number] = self._watch.round_bytes(each.number)
        if len(open_rounds) > 2:  # the latest may still grow
            self._settled += len(open_rounds) - 2
            self._watch.forget_bytes(open_rounds[-2].number)

    @property
    def over(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return "exit_code" in self._about

    def state(self) -> dict[str, Any]:
        """The object."""
        watch, about = self._watch, self._about
        now = self._latest if self.over else self._clock()
        asked = about.get("rounds")
        left = None
        if watch.round_s is not None and isinstance(asked, int) and not self.over:
            left = watch.round_s * max(0, asked - len(watch.rounds))
        orders = not self.over and self.run.control.is_socket()
        value: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run": {"name": self.run.path.resolve().name, **_named(about)},
            "over": self.over,
            "outcome": outcome(about["exit_code"]) if self.over else "going on",
            "error": about.get("error"),
            "orders": orders,
            "no_orders": "" if orders or self.over else _no_orders(about.get("launcher")),
            "elapsed_s": watch.since(now),
            "round": watch.current,
            "round_s": watch.round_s,
            "left_s": left,
            "network": self._drawing,
            "nodes": [_node(node, now) for node in watch.nodes.values()],
            "links": self._lanes_of({} if self.over else self._usage.lanes(now)),
            "rounds": self._rounds(),
            "marks": self._marks(),
            "log": [{**line, "t_s": watch.since(line["t"])} for line in self._feed.lines],
        }
        result: dict[str, Any] = finite(value)
        return result

    def _read_about(self) -> None:
        about = self.run.run()
        if not about or about == self._about:
            return
        first, self._about = not self._about, about
        self._watch.expect(about.get("nodes") or {})
        if first:
            self._links = links_of(about)
            self._usage = Usage(self._links)
            self._drawing = _drawing(self._links, list(self._watch.nodes))

    def _lanes_of(self, flowing: Mapping[Lane, float]) -> list[dict[str, Any]]:
        found = []
        for link in self._links:
            status, says = self._usage.status(link.name)
            lanes = []
            for line in lines_of(link):
                lanes += _both(line.a, line.b, link, flowing, self._usage)
            head = {"name": link.name, "kind": link.kind}
            ends = [name for name in (link.base, *link.ends) if name is not None]
            found.append({**head, "ends": ends, "status": status, "says": says, "lanes": lanes})
        return found

    def _rounds(self) -> dict[str, list[Any]]:
        step = -(-len(self._watch.rounds) // _POINTS) or 1
        shown = self._watch.rounds[::-1][::step][::-1]
        columns: dict[str, Callable[[RoundWatch], Any]] = {
            "number": lambda each: each.number,
            "t_s": lambda each: self._watch.since(each.t),
            "accuracy": lambda each: each.accuracy,
            "loss": lambda each: each.loss,
            "bytes": lambda each: self._bytes.get(each.number),
        }
        return {name: [of(each) for each in shown] for name, of in columns.items()}

    def _marks(self) -> list[dict[str, Any]]:
        told = sorted([*self._watch.faults, *self._watch.changes], key=lambda event: event.t)
        return [
            {
                "t_s": self._watch.since(event.t),
                "kind": "fault" if event.name == "fault" else "change",
                "round": self._round_at(event),
                "says": _says(event),
            }
            for event in told[-_MARKS:]
        ]

    def _round_at(self, event: Event) -> float:
        """Where it stands among the rounds: 3.5 is in the middle of the fourth."""
        before = self._watch.start_s or event.t
        for number, each in enumerate(self._watch.rounds):
            if event.t <= each.t:
                return number + max(0.0, event.t - before) / max(each.t - before, 1e-9)
            before = each.t
        return float(len(self._watch.rounds))


def _no_orders(launcher: Any) -> str:
    """Why a run that goes on takes no orders."""
    if launcher in (None, "local", "namespaces"):
        return "No orders are taken at present: the launcher is starting, ending, or gone."
    by = _STARTERS.get(launcher, launcher)
    return (
        f"This run takes no orders: it was started by {by}, and only edgenet run can change links "
        "and reach nodes while they train."
    )


def _named(about: Mapping[str, Any]) -> dict[str, Any]:
    shaping = about.get("shaping")
    used = shaping.get("used") if isinstance(shaping, dict) else shaping
    keys = ("topology", "scheme", "seed", "rounds", "started")
    return {**{key: about.get(key) for key in keys}, "shaping": used}


def _node(node: NodeWatch, now: float) -> dict[str, Any]:
    out, in_ = node.rates(now)
    return {
        "name": node.name,
        "role": node.role,
        "device": node.device,
        "state": node.state,
        "round": node.round,
        "out_bps": 8 * out,
        "in_bps": 8 * in_,
        "rss_bytes": None if node.gone else node.rss_bytes,
        "cpu": None if node.gone else node.cpu_share,
        "gone": node.gone,
    }


def _both(
    a: str, b: str, link: Link, flowing: Mapping[Lane, float], usage: Usage
) -> list[dict[str, Any]]:
    """Both directions of a line of the drawing; of a switch's line, all that its node sends and
    gets."""
    found = []
    for source, target in ((b, a), (a, b)):
        if link.base is None and len(link.ends) > 2:  # a is '#<link>'
            node = b
            bps = sum(
                value for (name, x, y), value in flowing.items()
                if name == link.name and node == (x if source == node else y)
            )  # fmt: skip
            others = [end for end in link.ends if end != node]
            lane = (link.name, node, others[0])
        else:
            lane = (link.name, source, target)
            bps = flowing.get(lane, 0.0)
        asked = usage.asked_bps(lane)
        found.append({"source": source, "target": target, "bps": bps,
                      "asked_bps": None if math.isinf(asked) else asked})  # fmt: skip
    return found


def _drawing(links: list[Link], names: list[str]) -> dict[str, Any]:
    """Where all stands. The words change while people look: there is room for the longest."""
    lines = [line for link in links for line in lines_of(link)]
    told = (_LONGEST_RATE,) * 2 if len(lines) <= FEW else ()
    state = () if len(names) > MANY else (_LONGEST_STATE,)
    rows = {name: (shorten(name, LETTERS), *state) for name in names}
    layout = lay_out(lines, rows, lambda line, signs: told, few=FEW)
    return {
        "height": layout.height,
        "places": {name: _point(at) for name, at in layout.places.items()},
        "names": {
            name: {"at": _point(each.at), "anchor": each.anchor, "words": each.rows[0]}
            for name, each in layout.names.items()
        },
        "media": [
            {
                "link": each.link.name,
                "kind": each.link.kind,
                "corners": [_point(corner) for corner in each.corners],
                "words": each.words,
                "at": _first_row(each.box),
            }
            for each in layout.media
        ],
        "lines": [
            {
                "a": line.a,
                "b": line.b,
                "link": line.link.name,
                "at": _first_row(layout.boxes.get(line)),
            }
            for line in lines
        ],
    }


def _point(at: Point) -> list[float]:
    return [round(at[0], 1), round(at[1], 1)]


def _first_row(box: Box | None) -> list[float] | None:
    """Where the first row of words in a box stands, in its middle."""
    return None if box is None else _point(((box.left + box.right) / 2, box.top + 11))


def _says(event: Event) -> str:
    if event.name == "fault":
        return f"{event.text('peer')} {event.text('what')}"
    return changed(event)
