"""The network of a run as a drawing (inline SVG, see edgenet.results.svg)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from edgenet.results.labels import ROW, Box, around, place, text_width
from edgenet.results.network import Link
from edgenet.results.placing import FEW, Line, degree, lines_of, places_of
from edgenet.results.rates import LEAST, PROBED, SEEN, Rates, words
from edgenet.results.svg import WIDTH, Point, shorten, svg

_MOST_NAMES = 24
"""With more nodes, only those in the middle have their names; a pointer shows the others'."""
_LETTERS = 14


@dataclass(frozen=True)
class _Name:
    """What is written at a node."""

    rows: tuple[str, ...]
    """The name, and its status where that is not well."""
    at: Point
    """Of the first row."""
    anchor: str
    """'middle' or 'end'."""

    @property
    def box(self) -> Box:
        """That it takes."""
        (x, y), width = self.at, max(map(text_width, self.rows))
        middle = x - (width / 2 if self.anchor == "end" else 0), y - 11 + ROW * len(self.rows) / 2
        return around(middle, width, ROW * len(self.rows))


@dataclass(frozen=True)
class Label:
    """The rates of one line of the drawing."""

    box: Box
    words: tuple[str, ...]
    off: bool


def network_drawing(links: Sequence[Link], rates: Rates, statuses: Mapping[str, str]) -> str:
    """Nodes, links, and at each link its asked rate and what was measured, or seen in the run.

    Args:
        links: of the run.
        rates: of these links.
        statuses: node -> done, failed, ...; all that are drawn.

    Returns:
        HTML: the drawing, and what its words mean.
    """
    if not links:
        return svg(60, "Network", '<text class="axis" x="8" y="44">nothing was recorded</text>')
    lines = [line for link in links for line in lines_of(link)]
    places = places_of(list(statuses), lines, few=_MOST_NAMES)
    named = _names(places, statuses, lines)
    lowest = max((*(y + 12 for _, y in places.values()), *(e.box.bottom for e in named.values())))
    height = max(120, lowest + 6)
    labels = _labels(lines, places, named, rates, height)
    drawn = [_line(line, places, rates, labels) for line in lines]
    plates = [_plate(label) for label in labels.values()]
    nodes = [_node(name, places, statuses, named.get(name)) for name in places]
    whole = svg(height, "Network", "".join((*drawn, *plates, *nodes)))
    return whole + _told(lines, rates, labels)


def _names(
    places: Mapping[str, Point], statuses: Mapping[str, str], lines: Sequence[Line]
) -> dict[str, _Name]:
    """At every node below it, in a column at its left; of many nodes only at those that link
    others."""
    met, many = degree(lines), len(places) > _MOST_NAMES
    column = len(places) > 1 and len({x for x, _ in places.values()}) == 1
    found = {}
    for name, (x, y) in places.items():
        status = statuses.get(name, "")
        shown = shorten(name.removeprefix("#"), _LETTERS)
        rows = (shown, f"({status})") if _ill(status) else (shown,)
        if many and met[name] < 2 and not name.startswith("#"):
            continue
        if column:
            found[name] = _Name(rows, (x - 14, y + 4), "end")
        else:
            above = y < 40 and met[name] < 2 and len(rows) == 1
            below = 22 if name.startswith("#") else 20
            half = max(map(text_width, rows)) / 2 + 1
            at = min(max(x, half), WIDTH - half), y - 11 if above else y + below
            found[name] = _Name(rows, at, "middle")
    return found


def _ill(status: str) -> bool:
    return status not in ("", "done")


def _labels(
    lines: Sequence[Line],
    places: Mapping[str, Point],
    named: Mapping[str, _Name],
    rates: Rates,
    height: float,
) -> dict[Line, Label]:
    """Where there is room for them. Of more lines than a few, all have one or none has."""
    taken = [around(at, 18, 18) for at in places.values()] + [each.box for each in named.values()]
    found: dict[Line, Label] = {}
    met = degree(lines)
    if len(lines) > _MOST_NAMES:
        return found
    for line in lines:
        directions = rates.of(line)
        a, b = places[line.a], places[line.b]
        told = tuple(words(directions, _arrows(a, b)))
        outwards = (b, a) if met[line.a] < met[line.b] else (a, b)
        box = place(outwards, told, taken, height) if told else None
        if box is not None:
            taken.append(box)
            found[line] = Label(box, told, any(each.off for each in directions))
    return found if len(lines) <= FEW or len(found) == len(lines) else {}


def _arrows(a: Point, b: Point) -> tuple[str, str]:
    """Towards the one, and towards the other."""
    (x1, y1), (x2, y2) = a, b
    if abs(x2 - x1) > abs(y2 - y1):
        return ("\u2190", "\u2192") if x1 < x2 else ("\u2192", "\u2190")
    return ("\u2191", "\u2193") if y1 < y2 else ("\u2193", "\u2191")


def _line(
    line: Line, places: Mapping[str, Point], rates: Rates, labels: Mapping[Line, Label]
) -> str:
    (x1, y1), (x2, y2) = places[line.a], places[line.b]
    directions = rates.of(line)
    kind = "link off" if any(each.off for each in directions) else "link"
    kind += " many" if len(places) > _MOST_NAMES else ""
    said = [f"{line.link.name} ({line.link.profile})"]
    if line not in labels:
        said += words(directions)
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}">'
        f"<title>{escape(': '.join(said))}</title></line>"
    )


def _plate(label: Label) -> str:
    """Words on a ground of their own."""
    box, kind = label.box, "axis off" if label.off else "axis strong"
    rows = (
        f'<text class="{kind}" x="{(box.left + box.right) / 2:.1f}" '
        f'y="{box.top + 11 + ROW * number:.1f}" text-anchor="middle">{escape(each)}</text>'
        for number, each in enumerate(label.words)
    )
    return (
        f'<g class="label"><rect class="plate" x="{box.left:.1f}" y="{box.top:.1f}" '
        f'width="{box.right - box.left:.1f}" height="{box.bottom - box.top:.0f}" rx="3"/>'
        f"{''.join(rows)}</g>"
    )


def _node(
    name: str, places: Mapping[str, Point], statuses: Mapping[str, str], named: _Name | None
) -> str:
    x, y = places[name]
    status = statuses.get(name, "")
    if name.startswith("#"):
        drawn = f'<rect class="hub" x="{x - 8:.1f}" y="{y - 8:.1f}" width="16" height="16" rx="3"/>'
    else:
        hint = escape(f"{name}: {status}" if status else name)
        drawn = (
            f'<circle class="node{" ill" if _ill(status) else ""}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{4 if len(places) > _MOST_NAMES else 7}"><title>{hint}</title></circle>'
        )
    if named is None:
        return drawn
    strong = "" if name.startswith("#") else " strong"
    return drawn + "".join(
        f'<text class="axis{strong}" x="{named.at[0]:.1f}" y="{named.at[1] + ROW * number:.1f}" '
        f'text-anchor="{named.anchor}">{escape(row)}</text>'
        for number, row in enumerate(named.rows)
    )


def _told(lines: Sequence[Line], rates: Rates, labels: Mapping[Line, Label]) -> str:
    """What stands at the links in words, and what there was no room for."""
    signs = {each.sign for line in lines for each in rates.of(line)}
    meanings = {
        PROBED: "measured by the probe, of what was asked",
        SEEN: f"{SEEN} is seen while the run's own messages crossed, not probed, of what was asked",
        LEAST: f"{LEAST}is what the run carried at least, of what was asked",
        None: "a single figure was asked, and not measured",
    }
    told = [meaning for sign, meaning in meanings.items() if sign in signs]
    notes = f"<p>{escape('; '.join(told))}</p>" if labels and told else ""
    if missing := [line for line in lines if line not in labels]:
        notes += _listed(missing, rates)
    return notes


def _listed(lines: Sequence[Line], rates: Rates) -> str:
    """The rates of these lines, link by link."""
    rows: dict[str, list[str]] = {}
    for line in lines:
        known = rows.setdefault(line.link.name, [])
        known += [each for each in words(rates.of(line)) if each not in known]
    return "".join(
        f"<p>{escape(name)}: {escape(_few(told))}</p>" for name, told in rows.items() if told
    )


def _few(told: Sequence[str]) -> str:
    """Of many, the first and the last."""
    shown = told if len(told) <= 4 else [*told[:3], f"and {len(told) - 3} more in the table"]
    return "; ".join(shown)
