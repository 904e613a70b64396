"""The network of a run as a drawing (inline SVG, see edgenet.results.svg)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from edgenet.results.labels import ROW, Box
from edgenet.results.layout import LETTERS, MANY, Medium, Name, arrows, lay_out
from edgenet.results.network import Link
from edgenet.results.placing import Line, lines_of
from edgenet.results.rates import LEAST, PROBED, SEEN, Rates, words
from edgenet.results.svg import Point, shorten, svg


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

    def told(line: Line, signs: tuple[str, str]) -> tuple[str, ...]:
        return tuple(words(rates.of(line), signs))

    layout = lay_out(lines, {name: _rows(name, statuses) for name in statuses}, told, few=MANY)
    places = layout.places
    labels = {
        line: Label(box, told(line, arrows(places[line.a], places[line.b])), _off(rates, line))
        for line, box in layout.boxes.items()
    }
    drawn = [
        *map(_area, layout.media),
        *(_line(line, places, rates, labels) for line in lines),
        *map(_medium_words, layout.media),
        *map(_plate, labels.values()),
        *(_node(name, places, statuses, layout.names.get(name)) for name in places),
    ]
    whole = svg(layout.height, "Network", "".join(drawn))
    return whole + _told(lines, rates, labels)


def _rows(name: str, statuses: Mapping[str, str]) -> tuple[str, ...]:
    shown, status = shorten(name, LETTERS), statuses[name]
    return (shown, f"({status})") if _ill(status) else (shown,)


def _off(rates: Rates, line: Line) -> bool:
    return any(each.off for each in rates.of(line))


def _area(medium: Medium) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in medium.corners)
    title = escape(f"{medium.link.name}: {medium.link.kind}")
    return f'<polygon class="medium" points="{corners}"><title>{title}</title></polygon>'


def _medium_words(medium: Medium) -> str:
    if medium.box is None:
        return ""
    x, y = (medium.box.left + medium.box.right) / 2, medium.box.top + 11
    said = escape(medium.words)
    return f'<text class="axis over" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{said}</text>'


def _ill(status: str) -> bool:
    return status not in ("", "done")


def _line(
    line: Line, places: Mapping[str, Point], rates: Rates, labels: Mapping[Line, Label]
) -> str:
    (x1, y1), (x2, y2) = places[line.a], places[line.b]
    kind = "link off" if _off(rates, line) else "link"
    kind += " many" if len(places) > MANY else ""
    said = [f"{line.link.name} ({line.link.kind})"]
    if line not in labels:
        said += words(rates.of(line))
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
    name: str, places: Mapping[str, Point], statuses: Mapping[str, str], named: Name | None
) -> str:
    x, y = places[name]
    status = statuses.get(name, "")
    if name.startswith("#"):
        drawn = f'<rect class="hub" x="{x - 8:.1f}" y="{y - 8:.1f}" width="16" height="16" rx="3"/>'
    else:
        hint = escape(f"{name}: {status}" if status else name)
        drawn = (
            f'<circle class="node{" ill" if _ill(status) else ""}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{4 if len(places) > MANY else 7}"><title>{hint}</title></circle>'
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
