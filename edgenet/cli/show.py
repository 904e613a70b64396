"""Print what became of a run. Its results are derived anew where its events are newer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from edgenet.cli.arguments import add_format, add_run
from edgenet.cli.tables import console, print_fitting
from edgenet.errors import DONE, InputError
from edgenet.results import text
from edgenet.results.happened import again, said
from edgenet.results.rundir import RunDir, latest_run
from edgenet.results.write import write_all

HELP = "print the results of a run"
_NODES = (
    "node", "role", "device", "status", "compute", "send", "wait", "CPU", "memory", "energy",
)  # fmt: skip

_SPARE = ("role", "CPU", "send", "device", "energy")
_MOST_NODES = 40
"""Rows of the table; the nodes that did not end well come first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_run(parser, "the run's folder (default: newest in runs)")
    add_format(parser, "the object of summary.json")


def execute(options: argparse.Namespace) -> int:
    """Read or derive the summary, and print it."""
    run = latest_run("runs") if options.run is None else RunDir(options.run)
    summary = read(run)
    if options.format == "json":
        print(json.dumps(summary, indent=2))
    else:
        print_summary(run, summary)
    return DONE


def read(run: RunDir) -> dict[str, Any]:
    """The object of a run's summary.json.

    Raises:
        InputError: the folder holds no run.
    """
    if not run.run_json.is_file():
        raise InputError(f"{run.path}: no run.json there; give the folder of a run")
    try:
        made = run.summary.stat().st_mtime
    except FileNotFoundError:
        return write_all(run)
    sources = [run.run_json, *run.nodes.glob("*/events.jsonl")]
    if any(path.stat().st_mtime > made for path in sources):
        return write_all(run)
    summary: dict[str, Any] = json.loads(run.summary.read_text(encoding="utf-8"))
    return summary


def print_summary(run: RunDir, summary: Mapping[str, Any]) -> None:
    """The figures of a run and the table of its nodes, on stdout."""
    out = console()
    _line(out, f"{summary['topology']}: {summary['scheme']}, {summary['outcome']}")
    _line(out, f"  {_training(summary)}")
    _line(out, f"  {_cost(summary)}")
    if summary.get("attempts", 1) > 1:
        _line(out, f"  {text.repeated(summary)}")
    kernel = summary["bytes"].get("kernel")
    if kernel:
        _line(out, f"  {text.headers(kernel)}")
    nodes = sorted(summary["nodes"].items(), key=lambda pair: pair[1]["status"] == "done")
    rows = [_row(name, node) for name, node in nodes[:_MOST_NODES]]
    print_fitting(out, _NODES, rows, _SPARE)
    if len(nodes) > _MOST_NODES:
        _line(out, f"and {len(nodes) - _MOST_NODES} more nodes in {run.summary}")
    for fault in summary["faults"]:
        what = fault["what"]
        lost = f"refused {fault['peer']}" if what == "refused" else f"lost {fault['peer']} ({what})"
        _line(out, f"fault in round {fault['round']}: {fault['node']} {lost}")
    for change in summary.get("changes", ()):
        _line(out, f"at {text.seconds(change['t_s'])}: {said(change)}")
    for each in summary.get("restarts", ()):
        _line(out, f"at {text.seconds(each['t_s'])}: {again(each)}")
    _line(out, f"results: {run.path}")


def _line(out: Console, words: str) -> None:
    out.print(words, markup=False, soft_wrap=True)


def _training(summary: Mapping[str, Any]) -> str:
    accuracy = summary["accuracy"]
    shown = text.MISSING if accuracy is None else f"{100 * accuracy:.1f} %"
    rounds = f"{summary['rounds']} of {summary['rounds_asked']} rounds"
    return f"{rounds}, accuracy {shown}, loss {text.number(summary['loss'])}"


def _cost(summary: Mapping[str, Any]) -> str:
    bytes_ = summary["bytes"]
    sent = f"{text.amount(bytes_['payload'])} payload + {text.amount(bytes_['overhead'])} overhead"
    each = f"{text.seconds(summary['round_s'])} a round"
    copies = bytes_["total"] - bytes_.get("on_air", bytes_)["total"]
    apart = f" (of it {text.amount(copies)} copies of broadcasts)" if copies else ""
    return f"{text.seconds(summary['wall_s'])} in all, {each}, {sent} sent{apart}"


def _row(name: str, node: Mapping[str, Any]) -> tuple[str, ...]:
    times = [text.seconds(node[f"{kind}_s"]) for kind in ("compute", "send", "wait", "cpu")]
    joules = node["energy_j"]
    return (
        name,
        node["role"],
        node["device"],
        node["status"],
        *times,
        text.amount(node["peak_rss_bytes"]),
        text.MISSING if joules is None else f"{joules:.1f} J",
    )
