"""Predict what each way of distributing the training costs on a network, before anything is run.

Candidates are psl, sfl, ssl, slr, sgl and sglr cut behind each layer, fedavg, gfl with each set of
last layers, fpl with the junction before each layer, sl-vertical, transfer-images and d-sgd; where
`place:` has nodes as `stage`, with every way of dealing the layers out to them. Each is timed on
this host for some tenths of a second; device profiles and channels do the rest. Beside the bytes
that sockets send stands, where it is less, what media that can broadcast would carry. Candidates
that fit the memory of all their devices come first; of these, those that no other one beats in
time, bytes, memory and energy are marked with a *. A scheme's own settings count (`sync`, `joins`,
`merge`, `phases`, ...); what does not is said. Schemes are compared on the topology as it is: under
fpl, sl-vertical and transfer-images each source sees every sample, under the others (gfl with views
apart) learners have a share of the samples each.
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli import arguments, plan_picture, timetable
from edgenet.cli.tables import console, table
from edgenet.errors import DONE, InputError, NodeError
from edgenet.results import text
from edgenet.results.compare import pareto
from edgenet.topology import load

if TYPE_CHECKING:
    from edgenet.node.planner import Forecast
    from edgenet.node.predictions import Outlook

HELP = "predict time, bytes, memory and energy of every scheme, cut, junction and placement"
_NEXT_TO_NOTHING = """\
name: base
nodes: {server: {}, learner: {}}
links: {wire: {rate: 20 Mbit, between: [server, learner]}}
shaping: paced
limits: none
train: {scheme: fedavg, model: leaf-cnn-w4, data: {name: digits, train: 20, test: 20}, rounds: 1,
        batch: 20, evaluate: 0}
"""
_COLUMNS = ("", "", "candidate", "a round", "sent", "memory (most)", "fits", "energy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    arguments.add_topology(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the candidates and their Pareto front (PNG)"
    )
    parser.add_argument(
        "--schemes", metavar="A,B", help="only candidates of these schemes (default: all)"
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="members of a shared medium share its rate, as in --launcher namespaces; paced links "
        "(default) do not",
    )
    parser.add_argument(
        "--timetable",
        action="store_true",
        help="of a pipeline: its stages, how they keep weight versions, and the order of work",
    )
    arguments.add_format(
        parser,
        "a list of candidates, those that fit first, the quickest first (with --timetable: the "
        "stages)",
    )


def execute(options: argparse.Namespace) -> int:
    """Measure, predict, print."""
    if options.timetable:
        timetable.show(
            options.topology, arguments.overrides(options), as_json=options.format == "json"
        )
        return DONE
    overrides = arguments.overrides(options)
    outlook = forecasts(
        options.topology, overrides, _schemes(options.schemes), shared=options.shared
    )
    found, front = outlook.found, _front(outlook)
    if options.plot is not None:
        plan_picture.draw(found, front, options.plot)
    if options.format == "json":
        print(json.dumps(about(outlook, overrides), indent=2))
        return DONE
    out = console()
    rows = [(str(i), *_row(each, each.name in front)) for i, each in enumerate(found, start=1)]
    out.print(table(_COLUMNS, rows))
    for note in _notes(options.topology, overrides, outlook):
        out.print(note, markup=False, soft_wrap=True)
    return DONE


def _notes(path: Path, overrides: Sequence[str], outlook: Outlook) -> Iterator[str]:
    """What stands below the table."""
    if outlook.fitting:
        yield (
            "* fits, and of those that fit nobody beats it in time, bytes, memory and energy at "
            "once. Evaluation, and nodes that compete for this host's cores, are not in the "
            "prediction."
        )
        sets = _sets(_changes(overrides, outlook.found[0]))
        yield f"To run the first: edgenet run {path} {sets}"
    else:
        nearest = outlook.nearest
        lacking = (f"{name} lacks {text.amount(n)}" for name, n in nearest.lacks_bytes.items())
        yield (
            "None of them fits the memory of its devices, so none is proposed. Nearest to it is "
            f"{nearest.name}: {', '.join(lacking)}."
        )
    yield from outlook.notes
    for scheme, why in outlook.left_out.items():
        yield f"Left out, {scheme}: {why}"


def forecasts(
    path: Path, overrides: Sequence[str], schemes: Sequence[str] = (), *, shared: bool = False
) -> Outlook:
    """Every candidate on the network of a topology file.

    Args:
        path: of the file.
        overrides: what is changed in it.
        schemes: only these; () = all that can be predicted.
        shared: members of a shared medium share its rate.

    Raises:
        InputError: the topology cannot run any of the schemes.
    """
    from edgenet.models.calibrate import calibrate
    from edgenet.node.costing import Costs
    from edgenet.node.predictions import PREDICTED, predict
    from edgenet.shaping.cgroups import resident_bytes

    unknown = [name for name in schemes if name not in PREDICTED]
    if unknown:
        raise InputError(
            f"--schemes: nothing is predicted for '{unknown[0]}'; choices are "
            + ", ".join(PREDICTED)
        )
    load(path, overrides)  # its own mistakes come first
    return predict(
        lambda changes: load(path, (*overrides, *changes)),
        Costs(calibrate(), base_bytes=_base_bytes(), alone_bytes=resident_bytes()),
        schemes or tuple(PREDICTED),
        shared=shared,
    )


@functools.cache
def _base_bytes() -> int:
    """What a node of a run here has resident that holds next to nothing: of two that are run."""
    from edgenet.cli.trial import tried

    outcome = tried(_NEXT_TO_NOTHING)
    if outcome.exit_code != DONE:
        raise NodeError(
            f"two small nodes, whose memory a plan begins with, did not run: {outcome.error}; "
            "`edgenet doctor` looks for the cause"
        )
    return max(int(node["peak_rss_bytes"]) for node in outcome.summary["nodes"].values())


def _schemes(words: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (words or "").split(",")))


def _sets(changes: Sequence[str]) -> str:
    return " ".join(f"--set {shlex.quote(change)}" for change in changes)


def _changes(overrides: Sequence[str], of: Forecast) -> tuple[str, ...]:
    from edgenet.node.predictions import changes

    return changes(overrides, of)


def _front(outlook: Outlook) -> tuple[str, ...]:
    """The names of those that fit and that no other one that fits beats."""
    return pareto({each.name: plan_picture.costs(each) for each in outlook.fitting})


def about(outlook: Outlook, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """What `--format json` prints: every candidate (docs/figures.md), found with `overrides`."""
    front = _front(outlook)
    return [_about(each, each.name in front, overrides) for each in outlook.found]


def _about(of: Forecast, best: bool, overrides: Sequence[str]) -> dict[str, Any]:
    return {
        "candidate": of.name,
        "pareto": best,
        "set": list(_changes(overrides, of)),
        "round_s": of.round_s,
        "sent_bytes": of.sent_bytes,
        "on_air_bytes": of.on_air_bytes,
        "once_s": of.once_s,
        "once_bytes": of.once_bytes,
        "memory_bytes": dict(of.memory_bytes),
        "does_not_fit": list(of.lacks_bytes),
        "lacks_bytes": of.lacks_bytes,
        "energy_j": of.energy_j,
    }


def _row(of: Forecast, best: bool) -> tuple[str, ...]:
    node, most = max(of.memory_bytes.items(), key=lambda pair: pair[1])
    misfits, sent = of.lacks_bytes, text.amount(of.sent_bytes)
    on_air = text.amount(of.on_air_bytes)
    if on_air != sent:
        sent += f" ({on_air} on air)"
    return (
        "*" if best else "",
        of.name,
        text.seconds(of.round_s),
        sent,
        f"{text.amount(most)} ({node})",
        f"not {', '.join(misfits)}" if misfits else "yes",
        text.MISSING if of.energy_j is None else f"{of.energy_j:.1f} J",
    )
