"""Measure every link that a run would use, and print asked against measured: the rate of each
direction and the round trip over the run's own links, jitter and loss of packets where nodes
have network namespaces (--launcher namespaces).

A link is off when its rate is more than 10 % (--probe-tolerance) from what was asked, its round
trip more than that, 2 ms (paced: 4 ms) and the jitter, its jitter more than that, 1 ms and chance,
or its loss more than that and chance. Exit code 3 says that one is. With --shaping none nothing is
asked and nothing is off. The rate asked is what TCP delivers of the link's: 96.5 % (paced: all).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgenet.cli import arguments
from edgenet.cli.run import Ended, say
from edgenet.cli.tables import console, table
from edgenet.errors import DONE
from edgenet.launchers.local import Local, Request
from edgenet.units import format_fraction, format_rate, format_time

HELP = "measure every link of a topology: asked against measured"

_FIGURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("rate", "goodput_bps", format_rate),
    ("round trip", "round_trip_s", format_time),
    ("jitter", "jitter_s", format_time),
    ("loss", "loss", format_fraction),
)
_OFF = "  <-- off"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    arguments.add_topology(parser)
    arguments.add_launcher(parser)
    arguments.add_tolerance(parser)
    arguments.add_format(parser, "an object with the table's rows")


def execute(options: argparse.Namespace) -> int:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(prefix="edgenet-probe-") as folder:
        request = Request(
            path=options.topology,
            overrides=arguments.overrides(options),
            out=Path(folder),
            launcher=options.launcher,
            probe_only=True,
        )
        outcome = Local(say=say).run(request)
        about = outcome.run.run()
    found = about.get("probe") or {"rows": []}
    if options.format == "json":
        print(json.dumps({"shaping": about.get("shaping"), **found}, indent=2))
    else:
        print_table(found)
    if outcome.error is not None:
        raise Ended(outcome.error, outcome.exit_code)
    return DONE


def print_table(found: Mapping[str, Any]) -> None:
    """The rows of a probe (run.json's `probe`), one for each direction."""
    columns = ["from", "to", "over", "link rate"]
    for name, *_ in _FIGURES:
        columns += [f"{name} asked", "measured"]
    out = console()
    out.print(table([*columns, ""], [tuple(_cells(row)) for row in found["rows"]]))
    out.print(_sentence(found), markup=False, soft_wrap=True)


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    asked, measured = row["asked"], row["measured"]
    yield from (row["source"], row["target"], row["over"], _shown(asked["rate_bps"], format_rate))
    for _, key, show in _FIGURES:
        yield _shown(asked[key], show)
        lossy = key == "goodput_bps" and measured.get("packets_bps") is not None
        yield _shown(measured[key], show) + (" (TCP)" if lossy else "")
    packets = measured.get("packets_bps")
    beside = "" if packets is None else f"packets {format_rate(packets)}"
    yield "; ".join(filter(None, (beside, row["note"]))) + (_off(row) if row["off"] else "")


def _off(row: Mapping[str, Any]) -> str:
    names = [name for name, key, *_ in _FIGURES if key in row["off"]]
    return f"{_OFF}: {', '.join(names)}"


def _shown(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _sentence(found: Mapping[str, Any]) -> str:
    measured = [row for row in found["rows"] if not row["note"]]
    good = sum(not row["off"] for row in measured)
    missing = len(found["rows"]) - len(measured)
    within = format_fraction(found.get("tolerance", 0.1))
    kept = f"{good} of {len(measured)} ways are what was asked (within {within})"
    kept += f"; {missing} more were not measured" if missing else ""
    took = "" if found.get("seconds") is None else f"; {format_time(found['seconds'])}"
    return f"{kept}{took}"
