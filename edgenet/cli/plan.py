"""Predict what each way of distributing the training costs on a network, before anything is run.

Candidates are psl, sfl, ssl, slr, sgl and sglr cut behind each layer, fedavg, gfl with each set of
last layers, fpl with the junction before each layer, sl-vertical, transfer-images and d-sgd; where
`place:` has nodes as `stage`, with every way of dealing the layers out to them. Each is timed on
this host for some tenths of a second; device profiles and channels do the rest. Beside the bytes
that sockets send stands, where it is less, what media that can broadcast would carry. Candidates
that no other one beats in time, bytes, memory and energy are marked with a *. Schemes are compared
on the topology as it is: under fpl, sl-vertical and transfer-images each source sees every sample,
under the others (gfl with views apart) learners have a share of the samples each.
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli import arguments, timetable
from edgenet.cli.tables import console, table
from edgenet.errors import DONE, InputError, NodeError
from edgenet.results import text
from edgenet.results.compare import pareto
from edgenet.results.figures import look, picture
from edgenet.topology import load

if TYPE_CHECKING:
    from edgenet.node.planner import Forecast

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
        parser, "a list of candidates, the quickest first (with --timetable: the stages)"
    )


def execute(options: argparse.Namespace) -> int:
    """Measure, predict, print."""
    if options.timetable:
        timetable.show(
            options.topology, arguments.overrides(options), as_json=options.format == "json"
        )
        return DONE
    found, left_out = forecasts(
        options.topology, arguments.overrides(options), _schemes(options.schemes),
        shared=options.shared,
    )  # fmt: skip
    front = pareto({each.name: _costs(each) for each in found})
    if options.plot is not None:
        _draw(found, front, options.plot)
    if options.format == "json":
        print(json.dumps([_about(each, each.name in front) for each in found], indent=2))
        return DONE
    out = console()
    rows = [(str(i), *_row(each, each.name in front)) for i, each in enumerate(found, start=1)]
    out.print(table(_COLUMNS, rows))
    changes = (*arguments.overrides(options), *found[0].settings)
    notes = [
        "* nobody beats it in time, bytes, memory and energy at once. Evaluation, and nodes that "
        "compete for this host's cores, are not in the prediction.",
        f"To run the first: edgenet run {options.topology} {_sets(changes)}",
        *(f"Left out, {scheme}: {why}" for scheme, why in left_out.items()),
    ]
    for note in notes:
        out.print(note, markup=False, soft_wrap=True)
    return DONE


def forecasts(
    path: Path, overrides: Sequence[str], schemes: Sequence[str] = (), *, shared: bool = False
) -> tuple[list[Forecast], dict[str, str]]:
    """Every candidate on the network of a topology file, the quickest first; and the schemes that
    cannot be run on it, with the reason.

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


def _costs(of: Forecast) -> tuple[float, ...]:
    memory = max(of.memory_bytes.values())
    return of.round_s, of.sent_bytes, of.on_air_bytes, memory, of.energy_j or 0.0


def _misfits(of: Forecast) -> list[str]:
    return [node for node, fits in of.fits.items() if fits is False]


def _about(of: Forecast, best: bool) -> dict[str, Any]:
    return {
        "candidate": of.name,
        "pareto": best,
        "set": list(of.settings),
        "round_s": of.round_s,
        "sent_bytes": of.sent_bytes,
        "on_air_bytes": of.on_air_bytes,
        "once_s": of.once_s,
        "once_bytes": of.once_bytes,
        "memory_bytes": dict(of.memory_bytes),
        "does_not_fit": _misfits(of),
        "energy_j": of.energy_j,
    }


def _row(of: Forecast, best: bool) -> tuple[str, ...]:
    node, most = max(of.memory_bytes.items(), key=lambda pair: pair[1])
    misfits, sent = _misfits(of), text.amount(of.sent_bytes)
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


_LEAST = 1e-3
"""Drawn in place of nothing at all (a round in which nothing is sent), the axes being logarithmic:
a kilobyte, a millijoule."""

_AXES: tuple[tuple[str, Callable[[Forecast], float]], ...] = (
    ("sent in a round (MB)", lambda each: each.sent_bytes / 1e6),
    ("energy of a round (J)", lambda each: each.energy_j or 0.0),
)


def _draw(found: Sequence[Forecast], front: Sequence[str], file: Path) -> None:
    """Every candidate with its number in the table; those of the front by name. A line joins those
    that no other beats in the two costs of the picture."""
    schemes = list(dict.fromkeys(_scheme(each) for each in found))
    with picture(file, columns=len(_AXES), size=(5.0, 5.0)) as axes:
        for axis, (label, cost) in zip(axes[0], _AXES, strict=True):
            at = {each.name: (each.round_s, max(cost(each), _LEAST)) for each in found}
            line = [at[name] for name in pareto(at)]
            axis.plot(*zip(*line, strict=True), color="grey", marker="", linewidth=1, zorder=0)
            for number, each in enumerate(found):
                kind = schemes.index(_scheme(each))
                best = each.name in front
                axis.plot(
                    *at[each.name],
                    **(look(kind) | {"linestyle": ""}),
                    markersize=9 if best else 4,
                    label=f"{number + 1} {each.name} *" if best else _scheme(each),
                )
                axis.annotate(str(number + 1), at[each.name], (4, 4), fontsize=6,
                              textcoords="offset points")  # fmt: skip
            axis.set(xlabel="a round (s)", ylabel=label, xscale="log", yscale="log")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        axes[0, 0].figure.legend(
            known.values(), known, loc="outside lower center", ncols=3, fontsize=7
        )


def _scheme(of: Forecast) -> str:
    return of.name.partition(",")[0]
