"""The frame of report.html: one file without scripts that asks no network for anything."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edgenet.results import text
from edgenet.results.rundir import SCHEMA_VERSION
from edgenet.results.style import STYLE


def page(title: str, body: str) -> str:
    """A whole page; `title` is text, `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="edgenet-schema-version" content="{SCHEMA_VERSION}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; nothing where there is nothing."""
    inside = "".join(parts)
    return f"<h2>{escape(title)}</h2>{inside}" if inside else ""


def cards(*plots: str) -> str:
    """Pictures and tables side by side, as far as there is room."""
    shown = [plot for plot in plots if plot]
    if not shown:
        return ""
    return '<div class="grid">' + "".join(map(_card, shown)) + "</div>"


def wide(inside: str) -> str:
    """To be given to `cards`: a card of twice the width, where there is room."""
    return f'<div class="card wide">{inside}</div>'


def full(inside: str) -> str:
    """Likewise, as wide as the page."""
    return f'<div class="card full">{inside}</div>'


def _card(inside: str) -> str:
    return inside if inside.startswith('<div class="card') else f'<div class="card">{inside}</div>'


def tiles(figures: Mapping[str, str]) -> str:
    """{name: value} in large letters."""
    each = (
        f'<div class="card tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in figures.items()
    )
    return f'<div class="grid tiles">{"".join(each)}</div>'


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
    words: bool = False,
    best: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    """Rows of text.

    Args:
        head: names of the columns; empty for none.
        rows: cells, as text.
        caption: above the table.
        words: the cells hold sentences, not figures.
        best: (row, column) of the cells in bold.
    """
    top = f"<h3>{escape(caption)}</h3>" if caption else ""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(_row(cells, number, best) for number, cells in enumerate(rows))
    kind = ' class="words"' if words else ""
    return f"{top}<table{kind}>{f'<tr>{names}</tr>' if names else ''}{body}</table>"


def _row(cells: Sequence[Any], row: int, best: frozenset[tuple[int, int]]) -> str:
    shown = []
    for column, cell in enumerate(cells):
        inside = escape(str(cell))
        if column == 0:  # names of schemes are long: psl:cut=F1:optimizer=adam
            inside = inside.replace(":", ":<wbr>")
        shown.append(f"<td>{f'<b>{inside}</b>' if (row, column) in best else inside}</td>")
    return f"<tr>{''.join(shown)}</tr>"


def command(words: Any) -> str:
    """A command line as people type it; '' where it is not known."""
    if not isinstance(words, list) or not words:
        return ""
    first, *rest = map(str, words)
    if os.path.basename(first) in ("__main__.py", "edgenet"):
        first = "edgenet"
    return shlex.join([first, *rest])


def repeat(about: Mapping[str, Any], topology: str = "") -> str:
    """How to do it again: the command, and everything that it was done with.

    Args:
        about: run.json, or what compare.json has of the like: command, versions, host, git.
        topology: the resolved file's text.
    """
    line = command(about.get("command"))
    rows = [(name, value) for name, value in _conditions(about).items() if value]
    shown = [f"<pre>{escape(line)}</pre>"] if line else []
    if rows:
        shown.append(table((), rows, words=True))
    if topology:
        shown.append(
            "<details><summary>The topology as resolved (topology.yaml)</summary>"
            f"<pre>{escape(topology)}</pre></details>"
        )
    return cards(*map(full, shown)) or "<p>It was not recorded.</p>"


def _conditions(about: Mapping[str, Any]) -> dict[str, str]:
    host, versions, git = (_mapping(about.get(key)) for key in ("host", "versions", "git"))
    shaping = about.get("shaping")
    used = _mapping(shaping)
    revision = str(git.get("revision") or "")
    flops = about.get("host_flops")
    speed = f"{flops / 1e9:.3g} GFLOP/s measured" if isinstance(flops, int | float) else ""
    cpus = f"{host['cpus']} CPUs" if host.get("cpus") else ""
    parts = (host.get("name"), host.get("system"), cpus, speed)
    return {
        "seed": "" if about.get("seed") is None else str(about["seed"]),
        "started": text.moment(about.get("started") or ""),
        "host": ", ".join(str(part) for part in parts if part),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "git": revision + (" with changes that are not committed" if git.get("changed") else ""),
        "launcher": str(about.get("launcher") or ""),
        "shaping": f"{used.get('used')} ({used.get('why')})" if used else str(shaping or ""),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
