"""Two plots as inline SVG, coloured by the page's style sheet so that they follow light and dark.

A plot is text without scripts and without fonts of its own; a pointer over a mark shows its value.
Classes used: title, axis, grid, series, dot, and tone0 .. tone4 for the colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

_TONES = 5


@dataclass(frozen=True)
class _Frame:
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


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose low..high."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= about + 1e-9)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(number * step, 12) for number in range(first, last + 1)]


def line_chart(points: Sequence[Point], *, title: str, x_label: str, tone: int = 0) -> str:
    """A curve with an axis of round numbers.

    Args:
        points: (x, y), finite, x rising.
        title: above the plot; says what y is, with its unit.
        x_label: below it.
        tone: which of the page's colours.
    """
    return line_charts({"": points}, title=title, x_label=x_label, tone=tone)


def line_charts(
    series: Mapping[str, Sequence[Point]], *, title: str, x_label: str, tone: int = 0
) -> str:
    """Several curves over the same axes; their names stand in the picture, in their colours.

    Args:
        series: name -> (x, y), finite, x rising; a single one may have the name ''.
        title, x_label: as for `line_chart`.
        tone: the colour of the first.
    """
    points = [point for curve in series.values() for point in curve]
    if not points:
        return _svg(480, 60, title, '<text class="axis" x="8" y="44">nothing was recorded</text>')
    marks = ticks(min(y for _, y in points), max(y for _, y in points))
    xs = sorted({x for x, _ in points})
    frame = _Frame(52, 470, 30, 190, (xs[0], xs[-1]), (marks[0], marks[-1]))
    parts = [_rule(frame, mark) for mark in marks]
    parts += [_x_tick(frame, x) for x in _few(xs)]
    parts.append(
        f'<text class="axis" x="261" y="222" text-anchor="middle">{escape(x_label)}</text>'
    )
    right = 470.0
    for number, (name, curve) in enumerate(series.items()):
        parts.append(_curve(frame, curve, (tone + number) % _TONES))
        right -= 26 + 7 * len(name)
        if name:
            parts.append(_key(name, right, (tone + number) % _TONES))
    return _svg(480, 230, title, "".join(parts))


def _curve(frame: _Frame, points: Sequence[Point], tone: int) -> str:
    pixels = [frame.place(point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    drawn = [f'<polyline class="series tone{tone}" points="{path}"/>']
    if len(points) <= 200:
        drawn += [_dot(at, of, tone) for at, of in zip(pixels, points, strict=True)]
    return "".join(drawn)


def _key(name: str, x: float, tone: int) -> str:
    return (
        f'<rect class="tone{tone}" x="{x:.1f}" y="8" width="9" height="9" rx="2"/>'
        f'<text class="axis" x="{x + 13:.1f}" y="17">{escape(name)}</text>'
    )


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart."""

    label: str
    """Left of the bar."""
    parts: Sequence[tuple[str, float]]
    """(what, value of at least 0), drawn one behind the other in the page's colours."""
    text: str
    """Right of the bar: its whole, with a unit."""


def bar_chart(bars: Sequence[Bar], *, title: str, key: Sequence[str] = ()) -> str:
    """Horizontal stacked bars; `key` names the colours."""
    longest = max((sum(value for _, value in bar.parts) for bar in bars), default=0.0) or 1.0
    top = 50 if key else 30
    drawn = [_bar(bar, top + 22 * number, 230 / longest) for number, bar in enumerate(bars)]
    x = 158
    for tone, name in enumerate(key):
        drawn.append(f'<rect class="tone{tone}" x="{x}" y="28" width="9" height="9" rx="2"/>')
        drawn.append(f'<text class="axis" x="{x + 13}" y="37">{escape(name)}</text>')
        x += 26 + 7 * len(name)
    return _svg(480, top + 10 + 22 * len(bars), title, "".join(drawn))


def _bar(bar: Bar, y: int, scale: float) -> str:
    label = bar.label if len(bar.label) <= 24 else bar.label[:22] + ".."
    drawn = [f'<text class="axis" x="150" y="{y + 12}" text-anchor="end">{escape(label)}</text>']
    x = 158.0
    for tone, (what, value) in enumerate(bar.parts):
        hint = escape(f"{bar.label}: {what} ({bar.text} in all)")
        drawn.append(
            f'<rect class="tone{tone}" x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="15">'
            f"<title>{hint}</title></rect>"
        )
        x += value * scale
    drawn.append(f'<text class="axis" x="{x + 6:.1f}" y="{y + 12}">{escape(bar.text)}</text>')
    return "".join(drawn)


def _svg(width: int, height: int, title: str, inside: str) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">'
        f'<text class="title" x="8" y="16">{name}</text>{inside}</svg>'
    )


def _rule(frame: _Frame, value: float) -> str:
    _, y = frame.place((frame.x[0], value))
    return (
        f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">'
        f"{value:g}</text>"
    )


def _x_tick(frame: _Frame, value: float) -> str:
    x, _ = frame.place((value, frame.y[0]))
    return (
        f'<text class="axis" x="{x:.1f}" y="{frame.bottom + 16}" text-anchor="middle">'
        f"{value:g}</text>"
    )


def _few(values: Sequence[float], most: int = 8) -> list[float]:
    """Evenly chosen ones of the values, the first among them."""
    step = math.ceil(len(values) / most)
    return list(values[::step])


def _dot(at: Point, of: Point, tone: int) -> str:
    return (
        f'<circle class="dot tone{tone}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3">'
        f"<title>{of[0]:g}: {of[1]:.6g}</title></circle>"
    )
