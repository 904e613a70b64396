"""Horizontal stacked bars as inline SVG (see edgenet.results.svg)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgenet.results.svg import WIDTH, key, shorten, svg, ticks

_LEFT, _RIGHT, _ROW = 8.0, WIDTH - 14.0, 34


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart."""

    label: str
    """Above the bar, at the left."""
    parts: Sequence[tuple[str, float]]
    """(what, value of at least 0), drawn one behind the other in the page's colours."""
    text: str
    """Above it, at the right: its whole, with a unit."""


def bar_chart(bars: Sequence[Bar], *, title: str, unit: str, names: Sequence[str] = ()) -> str:
    """Bars over one axis.

    Args:
        bars: from top to bottom.
        title: above them.
        unit: of the axis; the values are in it.
        names: of the colours.
    """
    if not bars:
        return svg(60, title, '<text class="axis" x="8" y="44">nothing was recorded</text>')
    longest = max(sum(value for _, value in bar.parts) for bar in bars)
    marks = ticks(0.0, longest, 4)
    scale = (_RIGHT - _LEFT) / marks[-1]
    drawn, top = key(names, 32) if names else ("", 28)
    rows = [_bar(bar, top + _ROW * number, scale) for number, bar in enumerate(bars)]
    bottom = top + _ROW * len(bars) + 4
    return svg(bottom + 38, title, drawn + "".join(rows) + _axis(marks, scale, bottom, unit))


def _bar(bar: Bar, y: float, scale: float) -> str:
    label = shorten(bar.label, 36)
    drawn = [
        f'<text class="axis" x="{_LEFT}" y="{y + 11}">{escape(label)}</text>'
        f'<text class="axis" x="{_RIGHT}" y="{y + 11}" text-anchor="end">{escape(bar.text)}</text>'
    ]
    x = _LEFT
    for tone, (what, value) in enumerate(bar.parts):
        hint = escape(f"{bar.label}: {what} {value:.4g} ({bar.text} in all)")
        drawn.append(
            f'<rect class="tone{tone}" x="{x:.1f}" y="{y + 16}" width="{value * scale:.1f}" '
            f'height="12"><title>{hint}</title></rect>'
        )
        x += value * scale
    return "".join(drawn)


def _axis(marks: Sequence[float], scale: float, y: float, unit: str) -> str:
    drawn = [f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>']
    for value in marks:
        x = _LEFT + value * scale
        anchor = "start" if value == marks[0] else "end" if value == marks[-1] else "middle"
        drawn.append(
            f'<text class="axis" x="{x:.1f}" y="{y + 14}" text-anchor="{anchor}">{value:g}</text>'
        )
    drawn.append(
        f'<text class="axis" x="{WIDTH / 2}" y="{y + 30}" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    return "".join(drawn)
