"""The network of a run as a drawing (inline SVG, see edgenet.results.svg)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from edgenet.results.network import Link, Measured, rate
from edgenet.results.svg import WIDTH, Point, shorten, svg

_HEIGHT = 330
_MOST_NAMES = 24
"""With more nodes, only those in the middle have their names; a pointer shows the others'."""
_MOST_RATES = 7
"""With more lines, rates stand in the table only."""
_ALONG = 0.62
"""Part of a line, from its middle outwards, at which its rates stand."""


class _Line(NamedTuple):
    """From one vertex to another: nodes, or '#<link>' for a switch."""

    a: str
    b: str
    link: Link


def network_drawing(
    links: Sequence[Link], measured: Sequence[Measured], statuses: Mapping[str, str]
) -> str:
    """Nodes, links, and on each link its asked rate and what the probe measured.

    Args:
        links: of the run.
        measured: the probe's rows; none where no probe ran.
        statuses: node -> done, failed, ...; all that are drawn.
    """
    if not links:
        return svg(60, "Network", '<text class="axis" x="8" y="44">nothing was recorded</text>')
    lines = [line for link in links for line in _lines(link)]
    places = _places(list(statuses), lines)
    drawn = [_link(line, places, measured, len(lines) <= _MOST_RATES) for line in lines]
    rates = [_rates(line, places, measured) for line in lines] if len(lines) <= _MOST_RATES else []
    degree = _degree(lines)
    nodes = [_node(name, places, statuses, hub=degree[name] > 1) for name in places]
    lowest = max(y for _, y in places.values())
    return svg(max(120, lowest + 30), "Network", "".join((*drawn, *rates, *nodes)))


def _lines(link: Link) -> Iterator[_Line]:
    if link.base is None and len(link.ends) == 2:
        yield _Line(link.ends[0], link.ends[1], link)
        return
    middle = f"#{link.name}" if link.base is None else link.base
    for end in link.ends:
        yield _Line(middle, end, link)


def _places(names: Sequence[str], lines: Sequence[_Line]) -> dict[str, Point]:
    """Pixels of every vertex: a chain from top to bottom; one at the left with its few neighbours
    at the right; many around the one with most lines; or all in a ring."""
    degree = _degree(lines)
    vertices = list(dict.fromkeys([*names, *degree]))
    hub, most = max(degree.items(), key=lambda item: item[1])
    middle, top = WIDTH / 2, 28.0
    chain = _chain(vertices, lines) if most <= 2 else []
    if chain:
        step = (_HEIGHT - 2 * top - 20) / max(1, len(chain) - 1)
        return {name: (middle, top + 10 + step * n) for n, name in enumerate(chain)}
    if most == len(vertices) - 1 == len(lines) and most <= _MOST_RATES:
        right = [name for name in vertices if name != hub]
        places = {hub: (46.0, 48 + 31.0 * (most - 1))}
        return places | {name: (WIDTH - 46.0, 48 + 62.0 * n) for n, name in enumerate(right)}
    around = [name for name in vertices if name != hub] if 2 * most >= len(vertices) else vertices
    centre = (middle, _HEIGHT / 2 + 8)
    places = {} if len(around) == len(vertices) else {hub: centre}
    for number, name in enumerate(around):
        angle = 2 * math.pi * number / len(around) - math.pi / 2
        if len(around) == 2:
            angle += math.pi / 2
        x = centre[0] + (WIDTH / 2 - 48) * math.cos(angle)
        places[name] = (x, centre[1] + (_HEIGHT / 2 - 44) * math.sin(angle))
    return places


def _degree(lines: Sequence[_Line]) -> Counter[str]:
    """Vertex -> how many lines end there."""
    return Counter(name for line in lines for name in (line.a, line.b))


def _chain(vertices: Sequence[str], lines: Sequence[_Line]) -> list[str]:
    """The vertices in a row where they are one, else nothing."""
    beside: dict[str, list[str]] = {name: [] for name in vertices}
    for line in lines:
        beside[line.a].append(line.b)
        beside[line.b].append(line.a)
    ends = [name for name in vertices if len(beside[name]) == 1]
    if len(ends) != 2 or len(vertices) > 8:
        return []
    row = [ends[0]]
    while ahead := [name for name in beside[row[-1]] if name not in row]:
        row.append(ahead[0])
    return row if len(row) == len(vertices) else []


def _found(line: _Line, measured: Sequence[Measured]) -> list[Measured]:
    """The probe's rows that belong to a line and to it alone: both its ends are nodes."""
    ends = {line.a, line.b}
    return [row for row in measured if {row.source, row.target} == ends]


def _link(
    line: _Line, places: Mapping[str, Point], measured: Sequence[Measured], named: bool
) -> str:
    (x1, y1), (x2, y2) = places[line.a], places[line.b]
    kind = "link off" if any(row.off for row in _found(line, measured)) else "link"
    kind += " many" if len(places) > _MOST_NAMES else ""
    words = [f"{line.link.name} ({line.link.profile})", *([] if named else _words(line, measured))]
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}">'
        f"<title>{escape(': '.join(words))}</title></line>"
    )


def _words(line: _Line, measured: Sequence[Measured]) -> list[str]:
    """What was asked for, and what was measured."""
    ends = {line.a, line.b}
    ways = [way for way in line.link.ways if {way.source, way.target} <= ends] or line.link.ways
    asked = list(dict.fromkeys(rate(way.asked_bps) for way in ways))
    found = [row.found_bps for row in _found(line, measured) if row.found_bps is not None]
    words = ["asked " + " / ".join(asked)] if asked else []
    if found:
        low, high = rate(min(found)), rate(max(found))
        if low.split()[-1] == high.split()[-1]:
            low = low.split()[0] if low != high else low
        words.append(f"measured {low}" if low == high else f"measured {low}..{high}")
    return words


def _rates(line: _Line, places: Mapping[str, Point], measured: Sequence[Measured]) -> str:
    """The words, on a plate at the line's middle, as short lines."""
    (x1, y1), (x2, y2) = places[line.a], places[line.b]
    x, y = x1 + _ALONG * (x2 - x1), y1 + _ALONG * (y2 - y1)
    words = _words(line, measured)
    width = 8 + 6.1 * max((len(each) for each in words), default=0)
    x = min(max(x, width / 2 + 2), WIDTH - width / 2 - 2)
    top = y - 7 * len(words)
    drawn = [
        f'<rect class="plate" x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{14 * len(words)}" rx="3"/>'
    ]
    off = any(row.off for row in _found(line, measured))
    for number, each in enumerate(words):
        kind = "axis off" if off and number else "axis"
        drawn.append(
            f'<text class="{kind}" x="{x:.1f}" y="{top + 11 + 14 * number:.1f}" '
            f'text-anchor="middle">{escape(each)}</text>'
        )
    return "".join(drawn)


def _node(name: str, places: Mapping[str, Point], statuses: Mapping[str, str], *, hub: bool) -> str:
    x, y = places[name]
    if name.startswith("#"):
        return (
            f'<rect class="hub" x="{x - 8:.1f}" y="{y - 8:.1f}" width="16" height="16" rx="3"/>'
            f'<text class="axis" x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">'
            f"{escape(shorten(name[1:], 16))}</text>"
        )
    many = len(places) > _MOST_NAMES
    status = statuses.get(name, "")
    ill = "" if status in ("", "done") else " ill"
    hint = escape(f"{name}: {status}" if status else name)
    dot = (
        f'<circle class="node{ill}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if many else 7}">'
        f"<title>{hint}</title></circle>"
    )
    if many and not hub:
        return dot
    below = y - 11 if y < 40 and not hub else y + 20
    shown = escape(shorten(name, 14) + (f" ({status})" if ill else ""))
    return (
        f'{dot}<text class="axis strong" x="{x:.1f}" y="{below:.1f}" text-anchor="middle">'
        f"{shown}</text>"
    )
