"""The network of a run as a drawing (inline SVG, see edgenet.results.svg)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from edgenet.results.network import Link, Measured, rate
from edgenet.results.placing import FEW, Line, degree, lines_of, places_of
from edgenet.results.svg import WIDTH, Point, shorten, svg

_MOST_NAMES = 24
"""With more nodes, only those in the middle have their names; a pointer shows the others'."""
_ALONG = 0.62
"""Part of a line, from its middle outwards, at which its rates stand."""


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
    lines = [line for link in links for line in lines_of(link)]
    places = places_of(list(statuses), lines)
    drawn = [_link(line, places, measured, len(lines) <= FEW) for line in lines]
    rates = [_rates(line, places, measured) for line in lines] if len(lines) <= FEW else []
    met = degree(lines)
    nodes = [_node(name, places, statuses, hub=met[name] > 1) for name in places]
    lowest = max(y for _, y in places.values())
    return svg(max(120, lowest + 30), "Network", "".join((*drawn, *rates, *nodes)))


def _found(line: Line, measured: Sequence[Measured]) -> list[Measured]:
    """The probe's rows that belong to a line and to it alone: both its ends are nodes."""
    ends = {line.a, line.b}
    return [row for row in measured if {row.source, row.target} == ends]


def _link(
    line: Line, places: Mapping[str, Point], measured: Sequence[Measured], named: bool
) -> str:
    (x1, y1), (x2, y2) = places[line.a], places[line.b]
    kind = "link off" if any(row.off for row in _found(line, measured)) else "link"
    kind += " many" if len(places) > _MOST_NAMES else ""
    words = [f"{line.link.name} ({line.link.profile})", *([] if named else _words(line, measured))]
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}">'
        f"<title>{escape(': '.join(words))}</title></line>"
    )


def _words(line: Line, measured: Sequence[Measured]) -> list[str]:
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


def _rates(line: Line, places: Mapping[str, Point], measured: Sequence[Measured]) -> str:
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
