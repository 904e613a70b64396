"""report.html of a run: one page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edgenet.devices.demand import too_late
from edgenet.results import text
from edgenet.results.details import Details
from edgenet.results.drawing import network_drawing
from edgenet.results.happened import Happening, again, happenings, said
from edgenet.results.network import (
    LINK_HEAD,
    PROBE_HEAD,
    link_rows,
    links_of,
    measured_of,
    probe_rows,
)
from edgenet.results.page import cards, full, page, repeat, section, table, tiles, wide
from edgenet.results.plots import (
    TIMES,
    curves,
    energy_bars,
    kind_bars,
    link_bars,
    memory_curves,
    round_charts,
    time_bars,
)
from edgenet.results.rates import SEEN_HEAD, Rates, seen_rows

_ROWS = 60
"""Most rows of a table; what is left out is said."""


def report_html(
    summary: Mapping[str, Any],
    rounds: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    details: Details,
    topology: str = "",
) -> str:
    """The page.

    Args:
        summary: summary.json's object.
        rounds: one row a round (edgenet.results.rounds.round_table).
        about: run.json.
        details: what the tally has not: spans of some rounds, memory over time.
        topology: the resolved topology.yaml.
    """
    name, scheme = str(summary["topology"] or "run"), str(summary["scheme"] or "")
    happened = happenings(summary, rounds)
    body = "".join(
        (
            f"<h1>{escape(name)} <small>{escape(scheme)}</small></h1>",
            _subtitle(summary, about),
            _tiles(summary),
            section("Network", _network(summary, about, details)),
            section("Training", cards(*curves(rounds, happened)), _key(happened)),
            section(_chosen(details, rounds), cards(*round_charts(summary, details))),
            section(
                "Time, memory, energy",
                cards(time_bars(summary), memory_curves(details), energy_bars(summary)),
                _energy(summary),
            ),
            section("Bytes", cards(link_bars(summary), kind_bars(summary)), _kernel(summary)),
            section("Nodes", cards(full(_nodes(summary)))),
            section("Faults", _faults(summary)),
            section("Events", _changes(summary)),
            section("Notes", _notes(about)),
            section("How to repeat it", repeat(about, topology)),
        )
    )
    return page(f"{name}: {scheme}", body)


def _chosen(details: Details, rounds: Sequence[Mapping[str, Any]]) -> str:
    """Which rounds are drawn."""
    if len(details.windows) == len(rounds):
        return "Who did what in each round"
    numbers = [str(window.number) for window in details.windows]
    told = " and ".join([", ".join(numbers[:-1]), numbers[-1]] if numbers[1:] else numbers)
    return f"Rounds of median length: {told} of {len(rounds)}"


def _subtitle(summary: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    outcome = escape(str(summary["outcome"]))
    shaping = summary["shaping"]
    used = shaping.get("used", shaping) if isinstance(shaping, Mapping) else shaping
    mark = "done" if outcome == "done" else "bad"
    why = f'<p class="bad">{escape(str(about["error"]))}</p>' if about.get("error") else ""
    if summary.get("attempts", 1) > 1:
        why += f"<p>{escape(text.repeated(summary))}</p>"
    if late := too_late(summary["nodes"]):
        why += f'<p class="bad">{escape(late[0].upper() + late[1:])}.</p>'
    started = f" &middot; {escape(text.moment(about['started']))}" if about.get("started") else ""
    return (
        f'<p><b class="{mark}">{outcome}</b> &middot; seed {escape(str(summary["seed"]))}'
        f" &middot; shaping {escape(str(used))}{started}</p>{why}"
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    kwh, asked, accuracy = summary["energy_kwh"], summary["rounds_asked"], summary["accuracy"]
    return tiles(
        {
            "test accuracy": text.MISSING if accuracy is None else f"{100 * accuracy:.1f} %",
            "training loss": text.number(summary["loss"]),
            "rounds": f"{summary['rounds']}" + (f" of {asked}" if asked else ""),
            "median round": text.seconds(summary["round_s"]),
            "whole run": text.seconds(summary["wall_s"]),
            "sent over links": text.amount(summary["bytes"]["total"]),
            f"energy, {_sources(summary)}": text.MISSING if kwh is None else joules(kwh * 3.6e6),
            "CO2": text.MISSING if kwh is None else grams(summary["carbon_g"]),
        }
    )


def joules(value: float | None) -> str:
    """'256 J', '1.25 kJ'."""
    if value is None:
        return text.MISSING
    return f"{value:.3g} J" if value < 999.5 else f"{value / 1000:.4g} kJ"


def grams(value: float) -> str:
    """'2.25 mg', '1.3 g'."""
    return f"{value:.3g} g" if value >= 0.0995 else f"{1000 * value:.3g} mg"


def _sources(summary: Mapping[str, Any]) -> str:
    """'modelled', 'measured (rapl)', or both: how the nodes' joules are known."""
    known = [node["energy"]["source"] for node in summary["nodes"].values() if node["energy"]]
    return ", ".join(sorted(set(known))) or "unknown"


def _network(summary: Mapping[str, Any], about: Mapping[str, Any], details: Details) -> str:
    links, measured = links_of(about), measured_of(about)
    if not links and not measured:
        return ""
    statuses = {name: str(node["status"]) for name, node in summary["nodes"].items()}
    asked = _cut("Links as asked", LINK_HEAD, list(link_rows(links))) if links else ""
    found = "<p>No probe measured the links of this run (--probe does).</p>"
    if measured:
        title = "Probe: goodput and round trip before the training, asked and measured"
        found = _cut(title, PROBE_HEAD, list(probe_rows(measured)))
    elif details.seen:
        title = "Seen in the run's own messages, not probed (--probe does)"
        found = _cut(title, SEEN_HEAD, list(seen_rows(details.seen)))
    rates = Rates(links, measured, details.seen)
    return cards(network_drawing(links, rates, statuses), wide(asked + "<br>" + found))


def _kernel(summary: Mapping[str, Any]) -> str:
    kernel = summary["bytes"].get("kernel")
    return f"<p>By the kernel's count, {escape(text.headers(kernel))}.</p>" if kernel else ""


def _energy(summary: Mapping[str, Any]) -> str:
    unknown = summary["energy_unknown"]
    if summary["carbon_g"] is None:
        return f"<p>No node's power is known ({escape(', '.join(unknown[:8]))}).</p>"
    missing = f" Unknown, and left out: {', '.join(unknown[:20])}." if unknown else ""
    told = (
        f"{joules(summary['energy_kwh'] * 3.6e6)} ({summary['energy_kwh']:.3g} kWh) at "
        f"{summary['carbon_kg_per_kwh']:g} kg CO2 per kWh are {grams(summary['carbon_g'])} CO2; "
        f"{_sources(summary)}.{missing}"
    )
    return f"<p>{escape(told)}</p>"


def _nodes(summary: Mapping[str, Any]) -> str:
    nodes = sorted(summary["nodes"].items(), key=lambda pair: pair[1]["status"] == "done")
    rows = [
        (
            name,
            node["role"],
            node["device"],
            node["status"],
            *(text.seconds(node[f"{kind}_s"]) for kind in TIMES),
            text.amount(node["peak_rss_bytes"]),
            text.amount(node["peak_weight_bytes"]),
            text.amount(node["peak_stash_bytes"]),
            joules(node["energy_j"]),
        )
        for name, node in nodes
    ]
    head = ("node", "role", "device", "status", *TIMES, "peak memory", "weights", "stash", "energy")
    return _cut("", head, rows)


def _faults(summary: Mapping[str, Any]) -> str:
    failed = [
        ("-", "-", name, name, node["status"], node["error"])
        for name, node in summary["nodes"].items()
        if node.get("error")
    ]
    rows = [
        (f"{fault['t_s']:.1f} s", *(fault[k] for k in ("round", "node", "peer", "what", "why")))
        for fault in summary["faults"]
    ]
    if not rows and not failed:
        return ""
    head = ("time", "round", "seen by", "node", "what", "why")
    return cards(full(_cut("", head, [*rows, *failed], words=True)))


def _changes(summary: Mapping[str, Any]) -> str:
    if not summary["changes"] and not summary["restarts"]:
        return ""
    rows = [
        (
            f"{change['t_s']:.1f} s",
            _due(change),
            change["what"],
            said(change),
        )
        for change in summary["changes"]
    ]
    rows += [
        (f"{each['t_s']:.1f} s", text.MISSING, "restart", again(each))
        for each in summary["restarts"]
    ]
    head = ("time", "after joining", "event", "what")
    return cards(full(_cut("", head, rows, words=True)))


def _key(happened: Sequence[Happening]) -> str:
    """What the upright lines in the curves are."""
    kinds = {each.kind for each in happened}
    words = {"fault": "full lines are faults", "change": "dashed lines are events and orders"}
    told = "; ".join(words[kind] for kind in words if kind in kinds)
    return f"<p>In the curves {told}; a pointer on one tells what happened.</p>" if told else ""


def _due(change: Mapping[str, Any]) -> str:
    round_ = change["asked_round"]
    return text.seconds(change["asked_s"]) if round_ is None else f"round {round_}"


def _notes(about: Mapping[str, Any]) -> str:
    notes = about.get("notes")
    if not isinstance(notes, list) or not notes:
        return ""
    return "".join(f"<p>{escape(str(note))}</p>" for note in notes)


def _cut(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, words: bool = False
) -> str:
    """A table of bearable length."""
    more = ""
    if len(rows) > _ROWS:
        more = f"<p>and {len(rows) - _ROWS} more rows in summary.json and run.json</p>"
    return table(head, rows[:_ROWS], caption=caption, words=words) + more
