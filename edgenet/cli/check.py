"""Check a topology, and print what it describes: nodes with their roles, links, and a drawing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgenet import channels
from edgenet.cli.arguments import add_format, add_topology, overrides
from edgenet.cli.tables import console, table
from edgenet.devices.demand import Demand, demand, trained_on
from edgenet.errors import DONE
from edgenet.launchers import limits, shaping
from edgenet.topology import Topology, draw, load
from edgenet.topology.comings import when
from edgenet.topology.events import sentence
from edgenet.topology.nodes import shorten
from edgenet.topology.spec import TimedEvent
from edgenet.units import format_time

if TYPE_CHECKING:
    from edgenet.node.plan import Plan

HELP = "validate a topology, and print and draw it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_topology(parser)
    add_format(parser, "an object with what was found (its `processes` is N for torchrun)")


def execute(options: argparse.Namespace) -> int:
    """Load, resolve, print."""
    from edgenet.node.plan import resolve  # brings torch, which the other commands do without

    topology = load(options.topology, overrides(options))
    plan = resolve(topology)
    back_end = shaping.choose(
        topology.shaping, topology, namespaces=shaping.needs_namespaces(topology)
    )
    if options.format == "json":
        print(json.dumps(found(plan, back_end), indent=2))
        return DONE
    _print(plan, back_end)
    return DONE


def _demand(plan: Plan) -> Demand | None:
    """What the devices take of this host; None where none is emulated."""
    topology = plan.topology
    if all(topology.device(seat.name).training_flops is None for seat in plan.seats):
        return None
    from edgenet.models.calibrate import calibrate

    return demand(trained_on(plan.seats, topology.profile), calibrate())


def found(plan: Plan, back_end: shaping.Shaping) -> dict[str, Any]:
    """The object of `--format json`."""
    topology, needed = plan.topology, _demand(plan)
    seats = {
        seat.name: {
            "rank": seat.rank,
            "role": seat.role,
            "device": seat.device,
            "peers": [peer for peer, _ in seat.peers],
        }
        for seat in plan.seats
    }
    return {
        "topology": topology.name,
        "scheme": plan.scheme.name,
        "model": topology.train.model,
        "data": topology.train.data.name,
        "rounds": topology.train.rounds,
        "seed": topology.seed,
        "shaping": vars(back_end),
        "limits": vars(limits.choose(topology)),
        "events": [_told(event) for event in topology.events],
        "notes": list(plan.notes),
        "nodes": len(topology.nodes),
        "processes": len(plan.seats),
        "seats": seats,
        "demand": None if needed is None else {**vars(needed), "fits": needed.fits},
    }


def _told(event: TimedEvent) -> dict[str, Any]:
    at = {"at_s": event.at_s} if event.at_round is None else {"at_round": event.at_round}
    return {**at, "says": sentence(event)}


def _print(plan: Plan, back_end: shaping.Shaping) -> None:
    topology, out = plan.topology, console()
    columns, rows = _nodes(plan)
    out.print(table(columns, rows))
    out.print(table(draw.LINK_COLUMNS, draw.link_rows(topology, channels.channel)))
    out.print(draw.draw(topology, channels.channel), markup=False, soft_wrap=True)
    for line in (*_happenings(topology), *plan.notes):
        out.print(line, markup=False, soft_wrap=True)
    out.print(f"\n{_sentence(plan)}", markup=False, soft_wrap=True)
    needed = _demand(plan)
    if needed is not None:
        out.print(f"devices: {needed}", markup=False, soft_wrap=True)
    out.print(f"shaping: {back_end.used} ({back_end.why})", markup=False, soft_wrap=True)
    kept = limits.choose(topology)
    out.print(f"limits: {kept.used} ({kept.why})", markup=False, soft_wrap=True)
    out.print(
        f"torchrun --nproc-per-node {len(plan.seats)} -m edgenet.worker {topology.file}",
        markup=False,
        soft_wrap=True,
    )


def _happenings(topology: Topology) -> Iterator[str]:
    """What changes during the run: events in the order of their times, then fading and traces."""
    events = sorted(topology.events, key=lambda event: (event.at_s, event.at_round or 0))
    if events:
        yield f"\n{len(events)} event{'s' if len(events) > 1 else ''}, from when all have joined:"
    for event in events:
        yield f"    {when(event):>8}  {sentence(event)}"
    for link in topology.links:
        if "fading_s" in link.options:
            every = format_time(link.options["fading_s"])
            yield f"\n{link.name}: Rayleigh fading is drawn anew every {every}"
        for way, trace in link.options.get("trace", {}).items():
            yield (
                f"\n{link.name}: {way} follows a trace of {format_time(trace.period_s)}, by "
                f"{format_time(trace.interval_s)}, again and again"
            )


def _nodes(plan: Plan) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The nodes' table with rank and role in front of what the topology knows; in a large network
    neighbours that differ in nothing but rank, name and position share a row."""
    seats = {seat.name: seat for seat in plan.seats}
    columns = ("rank", "role", *draw.NODE_COLUMNS)
    rows = []
    for row in draw.node_rows(plan.topology):
        seat = seats.get(row[0])
        without = ("-", "spare" if row[0] in plan.topology.faults.spares else "none")
        rows.append((*(without if seat is None else (str(seat.rank), seat.role)), *row))
    return columns, rows if len(rows) <= draw.COLLAPSE_ABOVE else list(_folded(rows))


def _folded(rows: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for _, group in groupby(rows, lambda row: (row[1], row[2].rstrip("0123456789"), row[3:-1])):
        first, *others = group
        ranks = shorten([row[0] for row in (first, *others)])
        names = shorten([row[2] for row in (first, *others)])
        yield (ranks, first[1], names, *first[3:-1], "" if others else first[-1])


def _sentence(plan: Plan) -> str:
    """What is trained on the network, in a line."""
    topology: Topology = plan.topology
    train = topology.train
    rounds = "1 round" if train.rounds == 1 else f"{train.rounds} rounds"
    return (
        f"trains {train.model} on {train.data.name} with {plan.scheme.name}, {rounds}, "
        f"{len(plan.seats)} processes, seed {topology.seed}"
    )
