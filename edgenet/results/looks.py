"""What tells series apart, in every picture: a colour, the shape of the marks, and the dashes.

Colours that many readers can tell apart are few, so they come again; the shapes are shifted by one
each time, so that no colour meets a shape twice among the first 64 series. What has no lines can
therefore be told apart, too, and what is printed in grey by shape and dashes.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

TONES = 8
"""Colours that there are, and shapes."""
DASHES = 4
"""Kinds of lines that there are."""


class Look(NamedTuple):
    """Of one series."""

    tone: int
    """Which colour."""
    shape: int
    """Which mark."""
    dash: int
    """Which kind of line; 0 = a full one, which the first TONES series have."""


def look(number: int) -> Look:
    """Of series `number` of a picture (0, 1, ...)."""
    again = number // TONES
    return Look(number % TONES, (number + again) % TONES, again % DASHES)


def mark(at: tuple[float, float], of: Look, hint: str = "") -> str:
    """A small sign as SVG, in the order of `figures.MARKERS`: disc, square, triangle, and the like;
    a pointer over it shows `hint`."""
    x, y = at
    title = f"<title>{escape(hint)}</title>" if hint else ""
    dx, dy, outline = _OUTLINES[of.shape]
    start = f"M{x + dx:.1f},{y + dy:.1f}"
    return f'<path class="dot tone{of.tone}" d="{start}{outline}">{title}</path>'


_OUTLINES = (
    (-3.5, 0.0, "a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0z"),
    (-4.0, -4.0, "h8v8h-8z"),
    (0.0, -4.5, "l4.5,8h-9z"),
    (0.0, -5.0, "l5,5l-5,5l-5,-5z"),
    (0.0, 4.5, "l4.5,-8h-9z"),
    (-1.5, -4.5, "h3v3h3v3h-3v3h-3v-3h-3v-3h3z"),
    (0.0, -2.0, "l2.5,-2.5l2,2l-2.5,2.5l2.5,2.5l-2,2l-2.5,-2.5l-2.5,2.5l-2,-2l2.5,-2.5l-2.5,-2.5"
                "l2,-2z"),
    (0.0, -5.5, "l1.5,3.7l4,.3l-3.1,2.6l1,3.9l-3.4,-2.1l-3.4,2.1l1,-3.9l-3.1,-2.6l4,-.3z"),
)  # fmt: skip
"""Of each shape: where it begins, and the way around it."""
