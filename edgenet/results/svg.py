"""Axes, curves and bars as inline SVG, coloured by the page's style sheet so that they follow light
and dark.

A plot is text without scripts and without fonts of its own; a pointer over a mark shows its value.
Every plot is WIDTH wide, about what a phone shows, so that its letters have the same size on all
screens: on wide ones more plots stand side by side. Classes used: title, axis, grid, series, dot,
tone0 .. tone7 for the colours, and dash1 .. dash3 for broken lines (edgenet.results.looks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from edgenet.results.looks import look, mark

Point = tuple[float, float]

WIDTH = 360
"""Of every plot, in its own units: about a pixel on a phone."""
_LETTER = 6.8
"""Mean width of a letter of class `axis`."""
UPRIGHT = ("fault", "change")
"""Kinds of curves that mark when something happened."""
_DOTS = 60
"""A curve with more points has a mark at some of them only."""
_FEW = 12
"""About so many."""
_SAMPLE = 24
"""Length of the piece of a line beside its name."""


@dataclass(frozen=True)
class Frame:
    """The plotting area inside the picture, in pixels, and the data range that it shows."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, point: Point) -> Point:
        """Data to pixels."""
        x = (point[0] - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        y = (point[1] - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        width, height = self.right - self.left, self.bottom - self.top
        return self.left + x * width, self.bottom - y * height


def ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose low..high; `whole`: none
    between two whole ones."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    power = max(power, 1.0) if whole else power
    step = next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= about + 1e-9)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def line_chart(
    points: Sequence[Point],
    *,
    title: str,
    x_label: str,
    y_label: str,
    tone: int = 0,
    more: Sequence[Curve] = (),
) -> str:
    """A curve over axes of round numbers.

    Args:
        points: (x, y), finite, x rising.
        title: above the plot.
        x_label, y_label: what the axes tell, with their units.
        tone: which of the page's colours.
        more: what is drawn below the curve.
    """
    series = {"": points}
    return line_charts(series, title=title, x_label=x_label, y_label=y_label, tone=tone, more=more)


def line_charts(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    tone: int = 0,
    more: Sequence[Curve] = (),
) -> str:
    """Several curves over the same axes; their names stand below, in their colours and marks.

    Args:
        series: name -> (x, y), finite, x rising; a single one may have the name ''.
        title, x_label, y_label: as for `line_chart`.
        tone: the colour of the first.
        more: what is drawn below them.
    """
    curves = [*more]
    curves += [Curve(each, tone + n) for n, each in enumerate(series.values())]
    names = [name for name in series if name]
    return plot(curves, names, title=title, x_label=x_label, y_label=y_label, tone=tone)


@dataclass(frozen=True)
class Curve:
    """Points that belong together."""

    points: Sequence[Point]
    """Finite, x rising."""
    number: int
    """Which series of the picture it is, or belongs to: its colour, mark and dashes."""
    kind: str = ""
    """'thin': a line without marks; 'whisker': likewise, never dashed; 'marks': no line; 'front': a
    grey dashed line without marks; 'ring': open circles; 'fault', 'change': an upright line at each
    x, whatever y is."""
    hints: Sequence[str] = ()
    """Of rings and upright lines: what a pointer shows."""


def plot(
    curves: Sequence[Curve],
    names: Sequence[str],
    *,
    title: str,
    x_label: str,
    y_label: str,
    tone: int = 0,
    x_from_zero: bool = False,
) -> str:
    """Curves over the same axes.

    Args:
        curves: what is drawn, the last on top.
        names: of the series from number `tone` on, below the plot.
        title, x_label, y_label: as for `line_chart`.
        tone: the number of the first name.
        x_from_zero: x starts at 0, whatever the points do.
    """
    points = [point for curve in curves if curve.kind not in UPRIGHT for point in curve.points]
    if not points:
        return svg(60, title, '<text class="axis" x="8" y="44">nothing was recorded</text>')
    least, most = 0 if x_from_zero else min(x for x, _ in points), max(x for x, _ in points)
    across = ticks(least, most, whole=x_label == "round")
    up = ticks(min(y for _, y in points), max(y for _, y in points))
    frame = Frame(52, WIDTH - 14, 46, 196, (across[0], across[-1]), (up[0], up[-1]))
    parts = [axes(frame, across, up, x_label, y_label)]
    parts += [_curve(frame, curve) for curve in curves]
    lines = any(curve.kind == "" for curve in curves)
    below, height = key(names, 250, tone=tone, marks=True, lines=lines)
    return svg(height if names else 240, title, "".join(parts) + below)


def axes(
    frame: Frame, across: Sequence[float], up: Sequence[float], x_label: str, y_label: str
) -> str:
    """Rules and numbers of both axes, and what they tell."""
    rules = [_rule(frame, value) for value in up]
    numbers = [_number_below(frame, value) for value in across]
    middle = (frame.left + frame.right) / 2
    names = (
        f'<text class="axis" x="{middle:.0f}" y="{frame.bottom + 34:.0f}" text-anchor="middle">'
        f'{escape(x_label)}</text><text class="axis" x="8" y="{frame.top - 12:.0f}">'
        f"{escape(y_label)}</text>"
    )
    return "".join((*rules, *numbers, names))


def key(
    names: Sequence[str], y: float, *, tone: int = 0, marks: bool = False, lines: bool = False
) -> tuple[str, int]:
    """The names of the series, in as many lines as they need.

    Args:
        names: the first is of series `tone`.
        y: of the first line.
        tone: a number, as of `Curve`.
        marks: draw the marks of curves in place of squares.
        lines: draw a piece of the line behind each mark.

    Returns:
        The drawing, and where it ends.
    """
    x, drawn, before = 12.0, [], _SAMPLE if lines else 8
    for number, name in enumerate(names, tone):
        shown = shorten(name, 40)
        width = before + 16 + _LETTER * len(shown)
        if x + width > WIDTH and x > 12:
            x, y = 12.0, y + 18
        of = look(number)
        if lines:
            drawn.append(f'<line class="series tone{of.tone}{_dashed(number)}" x1="{x:.0f}" '
                         f'x2="{x + before:.0f}" y1="{y:.0f}" y2="{y:.0f}"/>')  # fmt: skip
        drawn.append(mark((x + before / 2, y), of if marks else of._replace(shape=1)))
        x_text = x + before + 5
        drawn.append(f'<text class="axis" x="{x_text:.0f}" y="{y + 4:.0f}">{escape(shown)}</text>')
        x += width
    return "".join(drawn), int(y) + 12


def svg(height: float, title: str, inside: str) -> str:
    """A picture with its title."""
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}">'
        f'<text class="title" x="8" y="16">{name}</text>{inside}</svg>'
    )


def shorten(name: str, letters: int) -> str:
    """A name that is no longer than this."""
    return name if len(name) <= letters else name[: letters - 2] + ".."


def _upright(frame: Frame, curve: Curve) -> str:
    drawn = []
    for (x, _), hint in zip(curve.points, curve.hints, strict=True):
        at, _ = frame.place((min(max(x, frame.x[0]), frame.x[1]), frame.y[0]))
        drawn.append(
            f'<line class="event {curve.kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{frame.top}" '
            f'y2="{frame.bottom}"><title>{escape(hint)}</title></line>'
        )
    return "".join(drawn)


def _rings(pixels: Sequence[Point], curve: Curve) -> str:
    return "".join(
        f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{escape(hint)}</title>'
        "</circle>"
        for (x, y), hint in zip(pixels, curve.hints, strict=True)
    )


def _curve(frame: Frame, curve: Curve) -> str:
    if curve.kind in UPRIGHT:
        return _upright(frame, curve)
    pixels = [frame.place(point) for point in curve.points]
    if curve.kind == "ring":
        return _rings(pixels, curve)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    of, drawn = look(curve.number), []
    if curve.kind != "marks":
        kind = f" {curve.kind}" if curve.kind else ""
        dashed = "" if curve.kind in ("front", "whisker") else _dashed(curve.number)
        style = f"series{kind} tone{of.tone}{dashed}"
        drawn.append(f'<polyline class="{style}" points="{path}"/>')
    if curve.kind in ("", "marks"):
        every = 1 if len(pixels) <= _DOTS else len(pixels) // _FEW
        drawn += [
            mark(pixels[n], of, f"{curve.points[n][0]:.6g}: {curve.points[n][1]:.6g}")
            for n in range(0, len(pixels), every)
        ]
    return "".join(drawn)


def _dashed(number: int) -> str:
    """The class of a broken line; '' for full ones."""
    return f" dash{dash}" if (dash := look(number).dash) else ""


def _rule(frame: Frame, value: float) -> str:
    _, y = frame.place((frame.x[0], value))
    return (
        f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">'
        f"{value:g}</text>"
    )


def _number_below(frame: Frame, value: float) -> str:
    x, _ = frame.place((value, frame.y[0]))
    return (
        f'<text class="axis" x="{x:.1f}" y="{frame.bottom + 16}" text-anchor="middle">'
        f"{value:g}</text>"
    )
