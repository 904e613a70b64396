"""The drawing of a network: what stands at its links, and that nothing covers anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import COVERING, browser
from facilities import needs
from synthetic_run import Writer, fedavg

from edgenet.channels import channel
from edgenet.launchers.record import recorded_links
from edgenet.results.details import gather
from edgenet.results.drawing import network_drawing
from edgenet.results.events import run_events
from edgenet.results.labels import Box, around, text_width
from edgenet.results.network import Link, Measured, Way, links_of
from edgenet.results.placing import lines_of
from edgenet.results.rates import Rates, seen_rows, words
from edgenet.results.seen import Seen
from edgenet.results.svg import WIDTH
from edgenet.results.tally import Tally
from edgenet.topology.draw import link_rows
from edgenet.topology.load import load

TOPOLOGIES = sorted((Path(__file__).parents[1] / "topologies").glob("*.yaml"))
STATES = ("asked", "probed", "seen")


def wire(up_bps: float, down_bps: float) -> Link:
    ways = (Way("wire", "a", "b", up_bps, 0.01), Way("wire", "b", "a", down_bps, 0.01))
    return Link("wire", "raw", ("a", "b"), None, shared=False, ways=ways)


def measured(source: str, target: str, found_bps: float, *, off: bool = False) -> Measured:
    why = ("goodput",) if off else ()
    return Measured(source, target, "wire", 2e7, found_bps, None, None, why, "")


def told(link: Link, rates: Rates) -> list[str]:
    (line,) = lines_of(link)
    return words(rates.of(line))


def test_a_link_tells_what_was_asked_and_what_was_found() -> None:
    even, uneven = wire(2e7, 2e7), wire(2e7, 1e9)
    both = [measured("a", "b", 1.96e7), measured("b", "a", 1.9e7)]
    seen = [Seen("a", "b", 1.1e7, True), Seen("b", "a", 1.05e7, True)]
    assert told(even, Rates([even])) == ["20 Mbit/s"]
    assert told(even, Rates([even], both)) == ["19..19.6 of 20 Mbit/s"]
    assert told(even, Rates([even], both, seen)) == ["19..19.6 of 20 Mbit/s"]
    assert told(even, Rates([even], (), seen)) == ["~10.5..11 of 20 Mbit/s"]
    assert told(even, Rates([even], both[:1])) == ["to a 20 Mbit/s", "to b 19.6 of 20 Mbit/s"]
    assert told(even, Rates([even], [both[0], measured("b", "a", 4e5)])) == [
        "to a 0.4 of 20 Mbit/s",
        "to b 19.6 of 20 Mbit/s",
    ]
    assert told(uneven, Rates([uneven], (), seen)) == [
        "to a ~0.0105 of 1 Gbit/s",
        "to b ~11 of 20 Mbit/s",
    ]
    free = wire(float("inf"), float("inf"))
    assert told(free, Rates([free], (), seen)) == ["~10.5..11 Mbit/s of unlimited"]


def medium(base: str | None) -> Link:
    ends = ("a", "b", "c")
    pairs = [(end, base or "b") for end in ends if end != base]
    ways = [Way("air", x, y, 2e7, 0.0) for a, b in pairs for x, y in ((a, b), (b, a)) if x != y]
    return Link("air", "wifi", ends, base, shared=True, ways=tuple(ways))


def test_over_two_hops_both_carried_at_least_as_much() -> None:
    cell = medium("hub")
    rates = Rates([cell], [measured("a", "b", 9e6)], [Seen("c", "hub", 3e6, True)])
    assert [words(rates.of(line)) for line in lines_of(cell)] == [
        ["to hub \u2265 9 of 20 Mbit/s", "to a 20 Mbit/s"],
        ["to hub 20 Mbit/s", "to b \u2265 9 of 20 Mbit/s"],
        ["to hub ~3 of 20 Mbit/s", "to c 20 Mbit/s"],
    ]


def test_at_a_switch_stands_what_a_node_sends_and_gets() -> None:
    switch = medium(None)
    found = [measured("a", "b", 1.9e7), measured("a", "c", 1.8e7), measured("c", "a", 5e6)]
    rates = Rates([switch], found)
    assert words(rates.of(next(iter(lines_of(switch))))) == [
        "to air 18..19 of 20 Mbit/s",
        "to a 5 of 20 Mbit/s",
    ]


class Shapes(HTMLParser):
    """Boxes of what a drawing shows, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[tuple[str, Box]] = []
        self.lines = self.height = 0.0
        self._plate: Box | None = None
        self._text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        kinds = given.get("class", "").split()
        if tag == "svg":
            self.height = float(given["viewbox"].split()[3])
        elif tag == "line":
            self.lines += 1
        elif tag == "circle":
            at = (float(given["cx"]), float(given["cy"]))
            self.boxes.append(("node", around(at, 14, 14)))
        elif tag == "rect":
            x, y, wide, high = (float(given[key]) for key in ("x", "y", "width", "height"))
            kind = "label" if "plate" in kinds else "node"
            self.boxes.append((kind, Box(x, y, x + wide, y + high)))
        elif tag == "text":
            self._text = given

    def handle_endtag(self, tag: str) -> None:
        if tag in ("text", "g"):
            self._text = {}

    def handle_data(self, data: str) -> None:
        if not self._text or "title" in self._text["class"]:
            return
        x, y, width = float(self._text["x"]), float(self._text["y"]), text_width(data)
        left = {"middle": x - width / 2, "end": x - width}[self._text["text-anchor"]]
        box = Box(left, y - 10, left + width, y + 2)
        kind, last = self.boxes[-1] if self.boxes else ("", box)
        inside = kind == "label" and last.left <= box.left and box.right <= last.right
        if not (inside and last.top <= box.top and box.bottom <= last.bottom):
            self.boxes.append(("name", box))


def drawn(path: Path, state: str, *changes: str) -> str:
    """The drawing of a topology of which nothing, a probe's figures or the run's own are known."""
    topology = load(path, changes)
    links = links_of({"links": recorded_links(topology)})
    pairs = [(line.a, line.b) for link in links for line in lines_of(link)]
    nodes = [node.name for node in topology.nodes]
    pairs = [(a, b) if not a.startswith("#") else (b, nodes[nodes[0] == b]) for a, b in pairs]
    ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    probed = [measured(a, b, 1.23e7 * (1 + n % 2), off=n == 0) for n, (a, b) in enumerate(ways)]
    seen = [Seen(a, b, 9.87e5 * (1 + n % 2), True) for n, (a, b) in enumerate(ways)]
    rates = Rates(links, probed if state == "probed" else (), seen if state == "seen" else ())
    return network_drawing(links, rates, dict.fromkeys(nodes, "done") | {nodes[0]: "interrupted"})


def test_kinds_are_those_of_check() -> None:
    for path in TOPOLOGIES:
        topology = load(path)
        told = {link.name: link.kind for link in links_of({"links": recorded_links(topology)})}
        assert told == {row[0]: row[1] for row in link_rows(topology, channel)}


def meeting(boxes: list[tuple[str, Box]]) -> Iterator[Any]:
    for (kind, one), (other_kind, other) in itertools.combinations(boxes, 2):
        if one.meets(other):
            yield kind, one, other_kind, other


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_each_link_has_its_words_and_nothing_covers_anything(path: Path, state: str) -> None:
    shapes = Shapes()
    shapes.feed(drawn(path, state))
    assert list(meeting(shapes.boxes)) == []
    labels = [box for kind, box in shapes.boxes if kind == "label"]
    assert len(labels) == shapes.lines > 0
    for _, box in shapes.boxes:
        assert 0 <= box.left < box.right <= WIDTH
        assert 0 <= box.top < box.bottom <= shapes.height


@pytest.mark.parametrize("count", [8, 12, 23])
@pytest.mark.parametrize("name", ["quickstart.learner", "three-workers-ethernet.worker"])
def test_so_have_the_links_of_larger_networks(name: str, count: int) -> None:
    stem, _, group = name.partition(".")
    (path,) = (each for each in TOPOLOGIES if each.stem == stem)
    for state in STATES:
        shapes = Shapes()
        shapes.feed(drawn(path, state, f"nodes.{group}.count={count}"))
        assert list(meeting(shapes.boxes)) == []
        assert [kind for kind, _ in shapes.boxes].count("label") == shapes.lines >= count


OVERLAPS = (
    f"const covering = {COVERING};"
    + """
[...document.querySelectorAll('svg')].flatMap((svg, number) => {
  const shown = [...svg.querySelectorAll('.plate, .node, .hub, text:not(.title)')]
    .filter(each => !each.matches('.label text'));
  const wide = [...svg.querySelectorAll('.label')].filter(label => {
    const plate = label.querySelector('.plate').getBoundingClientRect();
    return [...label.querySelectorAll('text')].some(text => {
      const box = text.getBoundingClientRect();
      return box.left < plate.left || box.right > plate.right;
    });
  });
  const found = wide.map(label => `${label.textContent} is wider than its plate`);
  return [...found, ...covering(shown)].map(each => `${number}: ${each}`);
})"""
)


@needs("chromium")
def test_a_browser_agrees(tmp_path: Path) -> None:
    from edgenet.results.page import cards, page

    drawings = [drawn(path, state) for path in TOPOLOGIES for state in STATES]
    file = tmp_path / "drawings.html"
    file.write_text(page("drawings", cards(*drawings)), encoding="utf-8")
    with browser() as tab:
        for width in (1280, 390):
            tab.open(file.as_uri(), width=width)
            assert tab.value("document.querySelectorAll('.label').length") > len(drawings)
            assert tab.value(OVERLAPS) == []
            assert tab.too_wide == 0


def test_of_many_links_the_rates_stand_below() -> None:
    ends = tuple(f"n{number}" for number in range(40))
    ways = tuple(Way("air", end, "hub", 2e7, 0.0) for end in ends)
    cell = Link("air", "wifi", ends, "hub", shared=True, ways=ways)
    drawing = network_drawing([cell], Rates([cell]), dict.fromkeys(("hub", *ends), "done"))
    assert 'class="label"' not in drawing
    assert "<p>air: to hub 20 Mbit/s</p>" in drawing


def test_what_crossed_in_the_run_is_seen(tmp_path: Path) -> None:
    writer: Writer = fedavg(tmp_path)
    later = {"dir": "in", "overhead": 0, "messages": 1}
    for kind, nbytes, took_s in (("weights", 200_000, 0.1), ("weights", 100_000, 0.2),
                                 ("evaluation", 10**9, 0.1)):  # fmt: skip
        writer.event("server", "bytes", 2.0, 1, peer="learner0", k=kind, payload=nbytes,
                     later_bytes=nbytes, later_s=took_s, **later)  # fmt: skip
    found = gather(Tally(run_events(writer.run)), run_events(writer.run)).seen
    rates = {(each.source, each.target): (each.bps, each.crossing) for each in found}
    assert rates["learner0", "server"] == (pytest.approx(8e6), True)
    assert rates["server", "learner1"] == (8 * 1020, False)  # a message of 1020 bytes a second
    assert ("learner0", "server", "~8 Mbit/s") in list(seen_rows(found))
