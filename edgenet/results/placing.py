"""Where the nodes of a network stand in its drawing, and which lines join them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgenet.results.network import Link
from edgenet.results.svg import WIDTH, Point

_HEIGHT = 330
_APART, _CLOSE = 62.0, 50.0
"""Between neighbours one below the other."""
FEW = 7
"""Around one in the middle: so many neighbours stand at its right, one below the other."""


class Line(NamedTuple):
    """From one vertex to another: nodes, or '#<link>' for a switch."""

    a: str
    b: str
    link: Link


def lines_of(link: Link) -> Iterator[Line]:
    """The lines of one link."""
    if link.base is None and len(link.ends) == 2:
        yield Line(link.ends[0], link.ends[1], link)
        return
    middle = f"#{link.name}" if link.base is None else link.base
    for end in link.ends:
        yield Line(middle, end, link)


def places_of(names: Sequence[str], lines: Sequence[Line], few: int = FEW) -> dict[str, Point]:
    """Pixels of every vertex: a chain of wires from top to bottom; one at the left with its few
    neighbours at the right; many around the one with most lines; or all in a ring.

    Args:
        names: nodes, in order.
        lines: between them.
        few: most neighbours that stand at the right; more than FEW stand closer.
    """
    met = degree(lines)
    vertices = list(dict.fromkeys([*names, *met]))
    hub, most = max(met.items(), key=lambda item: item[1], default=("", 0))
    middle, top = WIDTH / 2, 28.0
    broad = any(len(line.link.ends) > 1 for line in lines if line.link.base)
    chain = _chain(vertices, lines) if most <= 2 and not broad else []
    if chain:
        step = (_HEIGHT - 2 * top - 20) / max(1, len(chain) - 1)
        return {name: (middle, top + 10 + step * n) for n, name in enumerate(chain)}
    if most == len(vertices) - 1 == len(lines) and most <= few:
        right, step = [name for name in vertices if name != hub], _APART if most <= FEW else _CLOSE
        places = {hub: (46.0, 48 + step / 2 * (most - 1))}
        return places | {name: (WIDTH - 46.0, 48 + step * n) for n, name in enumerate(right)}
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


def degree(lines: Sequence[Line]) -> Counter[str]:
    """Vertex -> how many lines end there."""
    return Counter(name for line in lines for name in (line.a, line.b))


def _chain(vertices: Sequence[str], lines: Sequence[Line]) -> list[str]:
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


def outline(points: Sequence[Point]) -> list[Point]:
    """The corners of the smallest convex shape around the points (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    return ordered if len(ordered) < 3 else _side(ordered) + _side(ordered[::-1])


def _side(points: Sequence[Point]) -> list[Point]:
    """One half of the way around, without its last corner."""
    found: list[Point] = []
    for x, y in points:
        while len(found) > 1:
            (x1, y1), (x2, y2) = found[-2:]
            if (x2 - x1) * (y - y1) > (y2 - y1) * (x - x1):
                break
            found.pop()
        found.append((x, y))
    return found[:-1]
