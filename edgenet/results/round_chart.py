"""A round as bars over time, one row a node (inline SVG, see edgenet.results.svg)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgenet.results import text
from edgenet.results.details import KINDS, Window
from edgenet.results.svg import WIDTH, key, shorten, svg, ticks

_LEFT, _RIGHT, _ROW = 92.0, WIDTH - 14.0, 20
_ORDER = ("wait", "send", "evaluate", "compute")
"""From the back to the front: a node may wait on one link while it sends on another."""


def round_chart(window: Window, names: Sequence[str], more: str = "") -> str:
    """Draw who computed, sent and waited in one round.

    Args:
        window: the round.
        names: the nodes that are shown, from top to bottom.
        more: what the title says besides.
    """
    in_ms = window.wall_s < 1.0
    factor = 1000.0 if in_ms else 1.0
    marks = ticks(0.0, window.wall_s * factor, 4)
    scale = (_RIGHT - _LEFT) * factor / marks[-1]
    drawn, top = key(KINDS, 32)
    rows = [_row(window, name, top + _ROW * n, scale) for n, name in enumerate(names)]
    bottom = top + _ROW * len(names) + 2
    title = f"Round {window.number}: {text.seconds(window.wall_s)}{more}"
    below = _axis(marks, bottom, "ms" if in_ms else "s")
    return svg(bottom + 38, title, drawn + "".join(rows) + below)


def _row(window: Window, name: str, y: float, scale: float) -> str:
    drawn = [
        f'<text class="axis" x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">'
        f"{escape(shorten(name, 13))}</text>"
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y + 8}" y2="{y + 8}"/>'
    ]
    spans = window.spans.get(name, {})
    for kind in _ORDER:
        for span in spans.get(kind, ()):
            took = span.end_s - span.start_s
            hint = escape(f"{name}: {kind} {text.seconds(took)}")
            drawn.append(
                f'<rect class="tone{KINDS.index(kind)}" x="{_LEFT + span.start_s * scale:.1f}" '
                f'y="{y + (4 if kind == "wait" else 1)}" width="{max(0.6, took * scale):.1f}" '
                f'height="{8 if kind == "wait" else 14}"><title>{hint}</title></rect>'
            )
    return "".join(drawn)


def _axis(marks: Sequence[float], y: float, unit: str) -> str:
    drawn = [f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>']
    for value in marks:
        x = _LEFT + (_RIGHT - _LEFT) * value / marks[-1]
        drawn.append(
            f'<text class="axis" x="{x:.1f}" y="{y + 14}" text-anchor="middle">{value:g}</text>'
        )
    middle = (_LEFT + _RIGHT) / 2
    drawn.append(
        f'<text class="axis" x="{middle}" y="{y + 30}" text-anchor="middle">'
        f"time since the start of the round ({unit})</text>"
    )
    return "".join(drawn)
