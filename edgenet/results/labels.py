"""Where words stand in a drawing so that they cover neither each other nor what is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgenet.results.svg import WIDTH, Point

LETTER = 6.2
"""Width that is kept for a letter of class `axis`: 0.54 em, where common sans-serifs have 0.5."""
ROW = 14
"""Height of a line of words."""
_ALONG = (0.62, 0.54, 0.7, 0.46, 0.78, 0.38, 0.3)
"""Parts of a line, from its first end on, at which its words may stand; the first is best."""
_GAP = 2.0


@dataclass(frozen=True)
class Box:
    """An upright rectangle, in pixels of the drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they touch."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def wider(self, by: float) -> Box:
        """With so much more on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def around(at: Point, width: float, height: float) -> Box:
    """The box of this size whose middle is here."""
    x, y = at
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def text_width(words: str) -> float:
    """Pixels that a line of class `axis` takes, or less."""
    return LETTER * len(words)


def place(
    ends: tuple[Point, Point], words: Sequence[str], taken: Sequence[Box], lowest: float
) -> Box | None:
    """A free box for the words of a line.

    Args:
        ends: of the line; where many lines meet, first.
        words: what the box is to hold, one below the other.
        taken: boxes that it may not touch.
        lowest: where the drawing ends.

    Returns:
        The box, inside of the drawing; None where there is no room at the line.
    """
    width = 8 + max(map(text_width, words), default=0.0)
    for at in _spots(ends, width):
        box = around(at, width, ROW * len(words))
        inside = box.left >= 1 and box.right <= WIDTH - 1 and box.top >= 20 and box.bottom < lowest
        if inside and not any(box.wider(_GAP).meets(other) for other in taken):
            return box
    return None


def beside(at: Point, words: str, taken: Sequence[Box], lowest: float) -> Box | None:
    """A free box for words at a node: above it, or below, or further off; None without room."""
    x, y = at
    width = min(text_width(words) + 2, WIDTH - 4)
    for dy in (-22, -36, 38, 52, -50, 66):
        for dx in (0.0, width / 2, -width / 2):
            middle = min(max(x + dx, width / 2 + 2), WIDTH - width / 2 - 2)
            box = around((middle, y + dy), width, ROW)
            inside = box.top >= 20 and box.bottom < lowest
            if inside and not any(box.meets(other) for other in taken):
                return box
    return None


def _spots(ends: tuple[Point, Point], width: float) -> Iterator[Point]:
    """Middles of boxes on a line; right and left of one that goes down."""
    (x1, y1), (x2, y2) = ends
    for part in _ALONG:
        x, y = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
        if abs(x2 - x1) < 1:
            yield x + width / 2 + 8, (y1 + y2) / 2
        yield min(max(x, width / 2 + 2), WIDTH - width / 2 - 2), y
        yield min(x + width / 2 + 4, WIDTH - width / 2 - 2), y
        yield max(x - width / 2 - 4, width / 2 + 2), y
