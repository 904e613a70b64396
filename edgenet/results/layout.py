"""Where everything stands in the drawing of a network: report.html's and the live page's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgenet.results.labels import ROW, Box, around, beside, place, text_width
from edgenet.results.network import Link
from edgenet.results.placing import FEW, Line, degree, outline, places_of
from edgenet.results.svg import WIDTH, Point, shorten

MANY = 24
"""With more nodes, only those in the middle have their names; a pointer shows the others'."""
LETTERS = 14
"""Of a name; longer ones are shortened."""
_DEPTH = 6
"""Below the lowest words."""


@dataclass(frozen=True)
class Name:
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
class Medium:
    """A link that all hear, drawn as the area around its nodes."""

    link: Link
    corners: list[Point]
    words: str
    box: Box | None
    """Of the words; None: there is no room for them."""


@dataclass(frozen=True)
class Layout:
    """Of one drawing, WIDTH wide."""

    places: Mapping[str, Point]
    """Vertex -> its middle; '#<link>' is a switch."""
    names: Mapping[str, Name]
    media: Sequence[Medium]
    boxes: Mapping[Line, Box]
    """For the words at each line; they meet nothing else."""
    height: float


def lay_out(
    lines: Sequence[Line],
    rows: Mapping[str, tuple[str, ...]],
    told: Callable[[Line, tuple[str, str]], Sequence[str]],
    few: int,
) -> Layout:
    """Find a place for each of them.

    Args:
        lines: of all links.
        rows: node -> what is written at it, in the order in which nodes are drawn.
        told: what is written at a line, given an arrow towards its first end and one towards its
            second; nothing may be.
        few: as `places_of` takes it.
    """
    places = places_of(list(rows), lines, few=few)
    rows = {name: rows.get(name, (shorten(name.removeprefix("#"), LETTERS),)) for name in places}
    names = _names(places, rows, lines)
    bottoms = (*(y + 12 for _, y in places.values()), *(e.box.bottom for e in names.values()))
    height = max(120.0, max(bottoms, default=0.0) + _DEPTH)
    taken = [around(at, 18, 18) for at in places.values()] + [each.box for each in names.values()]
    media = _media(lines, places, taken, height)
    return Layout(places, names, media, _boxes(lines, places, told, taken, height), height)


def _names(
    places: Mapping[str, Point], rows: Mapping[str, tuple[str, ...]], lines: Sequence[Line]
) -> dict[str, Name]:
    """At every node below it, in a column at its left; of many nodes only at those that link
    others."""
    met, many = degree(lines), len(places) > MANY
    column = len(places) > 1 and len({x for x, _ in places.values()}) == 1
    found = {}
    for name, (x, y) in places.items():
        if many and met[name] < 2 and not name.startswith("#"):
            continue
        if column:
            found[name] = Name(rows[name], (x - 14, y + 4), "end")
        else:
            above = y < 40 and met[name] < 2 and len(rows[name]) == 1
            below = 22 if name.startswith("#") else 20
            half = max(map(text_width, rows[name])) / 2 + 1
            at = min(max(x, half), WIDTH - half), y - 11 if above else y + below
            found[name] = Name(rows[name], at, "middle")
    return found


def _media(
    lines: Sequence[Line], places: Mapping[str, Point], taken: list[Box], height: float
) -> list[Medium]:
    """One for each link with a base. Their words are added to what is taken."""
    found = []
    for link in dict.fromkeys(line.link for line in lines if line.link.base is not None):
        words = f"{shorten(link.name, LETTERS)} (medium)"
        at = places[link.base or ""]
        box = beside(at, words, taken, height)
        taken += [] if box is None else [box]
        around_it = [at, *(places[end] for end in link.ends)]
        found.append(Medium(link, outline(around_it), words, box))
    return found


def _boxes(
    lines: Sequence[Line],
    places: Mapping[str, Point],
    told: Callable[[Line, tuple[str, str]], Sequence[str]],
    taken: list[Box],
    height: float,
) -> dict[Line, Box]:
    """Where there is room for them. Of more lines than a few, all have one or none has."""
    found: dict[Line, Box] = {}
    met = degree(lines)
    if len(lines) > MANY:
        return found
    for line in lines:
        a, b = places[line.a], places[line.b]
        words = told(line, arrows(a, b))
        outwards = (b, a) if met[line.a] < met[line.b] else (a, b)
        box = place(outwards, words, taken, height) if words else None
        if box is not None:
            taken.append(box)
            found[line] = box
    return found if len(lines) <= FEW or len(found) == len(lines) else {}


def arrows(a: Point, b: Point) -> tuple[str, str]:
    """Towards the one, and towards the other."""
    (x1, y1), (x2, y2) = a, b
    if abs(x2 - x1) > abs(y2 - y1):
        return ("\u2190", "\u2192") if x1 < x2 else ("\u2192", "\u2190")
    return ("\u2191", "\u2193") if y1 < y2 else ("\u2193", "\u2191")
