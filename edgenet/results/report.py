"""report.html: a run on one page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edgenet.results import text
from edgenet.results.style import STYLE
from edgenet.results.svg import Bar, bar_chart, line_chart, line_charts

_BARS = 24
"""Most bars in a chart; the longest are shown."""

_TIMES = ("compute", "send", "wait", "evaluate")


def report_html(summary: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> str:
    """The page.

    Args:
        summary: summary.json's object.
        table: one row a round (edgenet.results.rounds.round_table).
    """
    name, scheme = escape(str(summary["topology"])), escape(str(summary["scheme"]))
    body = "".join(
        (
            f"<h1>{name} <small>{scheme}</small></h1>",
            _subtitle(summary),
            _tiles(summary),
            f"<h2>Training</h2>{_cards(_curves(table))}",
            f"<h2>Cost</h2>{_cards([_links(summary), _times(summary)])}",
            f"<h2>Nodes</h2>{_nodes(summary)}",
            _faults(summary),
            _changes(summary),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: {scheme}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _subtitle(summary: Mapping[str, Any]) -> str:
    outcome = escape(str(summary["outcome"]))
    shaping = summary["shaping"]
    used = shaping.get("used", shaping) if isinstance(shaping, Mapping) else shaping
    mark = "done" if outcome == "done" else "bad"
    return (
        f'<p><b class="{mark}">{outcome}</b> &middot; seed {escape(str(summary["seed"]))}'
        f" &middot; shaping {escape(str(used))}</p>"
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    kwh = summary["energy_kwh"]
    asked = summary["rounds_asked"]
    figures = {
        "accuracy": text.number(summary["accuracy"]),
        "training loss": text.number(summary["loss"]),
        "rounds": f"{summary['rounds']}" + (f" of {asked}" if asked else ""),
        "median round": text.seconds(summary["round_s"]),
        "whole run": text.seconds(summary["wall_s"]),
        "sent over links": text.amount(summary["bytes"]["total"]),
        f"energy ({_sources(summary)})": "-" if kwh is None else f"{kwh * 3.6e6:.3g} J",
        "CO2": "-" if kwh is None else f"{summary['carbon_g']:.3g} g",
    }
    kernel = summary["bytes"].get("kernel")
    if kernel:
        figures["headers, acks, resent (kernel)"] = text.amount(kernel["headers"])
    tiles = (f'<div class="card tile"><b>{b}</b><span>{a}</span></div>' for a, b in figures.items())
    return f'<div class="grid tiles">{"".join(tiles)}</div>'


def _sources(summary: Mapping[str, Any]) -> str:
    """'modelled', 'measured (rapl)', or both: how the nodes' joules are known."""
    known = [node["energy"]["source"] for node in summary["nodes"].values() if node["energy"]]
    return escape(", ".join(sorted(set(known))) or "unknown")


def _cards(plots: Sequence[str]) -> str:
    return '<div class="grid">' + "".join(f'<div class="card">{p}</div>' for p in plots) + "</div>"


def _curves(table: Sequence[Mapping[str, Any]]) -> list[str]:
    plots = []
    for tone, (key, title) in enumerate((("accuracy", "Test accuracy"), ("loss", "Training loss"))):
        points = [(float(row["round"]), row[key]) for row in table if row[key] is not None]
        plots.append(line_chart(points, title=title, x_label="round", tone=tone))
    weights = _junction(table)
    if weights:
        title = "What the junction gives to each source (norm of its columns)"
        plots.append(line_charts(weights, title=title, x_label="round"))
    return plots


def _junction(table: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """{source: (round, norm)} where a junction reported them (the columns `junction.<source>`)."""
    names = dict.fromkeys(key for row in table for key in row if key.startswith("junction."))
    return {
        name.partition(".")[2]: [(float(row["round"]), row[name]) for row in table if name in row]
        for name in names
    }


def _links(summary: Mapping[str, Any]) -> str:
    links = sorted(summary["bytes"]["per_link"].items(), key=lambda item: -item[1]["total"])
    bars = [
        Bar(name, [(k, float(of[k])) for k in ("payload", "overhead")], text.amount(of["total"]))
        for name, of in links[:_BARS]
    ]
    more = f" (the largest {_BARS} of {len(links)})" if len(links) > _BARS else ""
    return bar_chart(bars, title=f"Bytes per link{more}", key=("payload", "overhead"))


def _times(summary: Mapping[str, Any]) -> str:
    nodes = list(summary["nodes"].items())
    more = f" (the first {_BARS} of {len(nodes)})" if len(nodes) > _BARS else ""
    bars = []
    for name, node in nodes[:_BARS]:
        parts = [(kind, float(node[f"{kind}_s"])) for kind in _TIMES]
        bars.append(Bar(name, parts, text.seconds(sum(value for _, value in parts))))
    return bar_chart(bars, title=f"Where the time went{more}", key=_TIMES)


def _nodes(summary: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            node["role"],
            node["device"],
            node["status"],
            *(text.seconds(node[f"{kind}_s"]) for kind in _TIMES),
            text.amount(node["peak_rss_bytes"]),
            "-" if node["energy_j"] is None else f"{node['energy_j']:.3g} J",
        )
        for name, node in summary["nodes"].items()
    ]
    return _table(("node", "role", "device", "status", *_TIMES, "peak memory", "energy"), rows)


def _faults(summary: Mapping[str, Any]) -> str:
    if not summary["faults"]:
        return ""
    rows = [
        (f"{fault['t_s']:.1f} s", *(fault[k] for k in ("round", "node", "peer", "what", "why")))
        for fault in summary["faults"]
    ]
    head = ("time", "round", "seen by", "node", "what", "why")
    return f'<h2>Faults</h2><div class="faults">{_table(head, rows)}</div>'


def _changes(summary: Mapping[str, Any]) -> str:
    if not summary["changes"]:
        return ""
    rows = [
        (f"{change['t_s']:.1f} s", text.seconds(change["asked_s"]), change["what"], change["says"])
        for change in summary["changes"]
    ]
    head = ("time", "after joining", "event", "what")
    return f'<h2>Events</h2><div class="faults">{_table(head, rows)}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    body = "".join(_row(cells, "td") for cells in rows)
    return f'<div class="card"><table>{_row(head, "th")}{body}</table></div>'


def _row(cells: Sequence[Any], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
