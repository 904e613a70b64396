"""Run several schemes, one after another, on the same network, and set them side by side.

Everything is checked before the first run starts. What was run before into the same --out is not
run again, and what stopped half-way goes on from its checkpoints: an interrupted comparison goes on
where it stopped. Further schemes or seeds join it: what its table had before stays, where this
command would have run it just so; what was run with other settings is named, and left out from then
on. A run that fails is told, and the others go on.

  edgenet compare T --schemes fedavg,psl,sglr:phi=0.5:alpha=1 --seeds 3 --out DIR

DIR then holds runs/, compare.csv (one line a run), compare.md, compare.tex (booktabs), curves.png
(accuracy against time, bytes and joules), pareto.png, compare.json, and report.html with all of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from edgenet.cli import arguments
from edgenet.cli.compare_files import listed, trial_of, write
from edgenet.cli.run import Ended, say
from edgenet.cli.tables import console, print_fitting
from edgenet.errors import DONE, INTERRUPTED, NODE_FAILED, InputError
from edgenet.launchers.local import Local, Request, launcher_of
from edgenet.launchers.outcome import Outcome
from edgenet.results.compare import COLUMNS, Comparison, default_target
from edgenet.results.compare_tables import cells, notes
from edgenet.results.rundir import RunDir, runs

_SPARE = (
    "train_carbon_g", "peak_node_bytes", "target_bytes", "held_bytes", "train_s", "sent_bytes",
)  # fmt: skip
HELP = "run several schemes on one network and print one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    arguments.add_topology(parser)
    parser.add_argument(
        "--schemes",
        required=True,
        metavar="A,B:KEY=VALUE,...",
        help="what to compare; keys of train: may be changed for one of them, with ':' between",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="run each with N seeds, counted up from the topology's (default: 1)",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="ACCURACY",
        help="tell the cost of reaching this test accuracy, a fraction (default: nine tenths of "
        "the best final one)",
    )
    parser.add_argument("--launcher", choices=arguments.LAUNCHERS, help="as in edgenet run")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare"),
        metavar="DIR",
        help="where everything goes, and where earlier runs are found (default: compare)",
    )
    arguments.add_format(parser, "the object of compare.json")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run that is wanted."""

    scheme: str
    """As asked: 'sglr:phi=0.5'."""
    seed: int
    overrides: tuple[str, ...]
    """For `edgenet run`."""
    topology: str
    """The resolved topology's text: what a run is known again by."""
    launcher: str
    """Whether its network is emulated in 'namespaces', or 'local'; likewise."""
    code: tuple[str, bytes] | None = None
    """Name and content of the scheme's file, where that is the user's own; likewise."""


def execute(options: argparse.Namespace) -> int:
    """Check, run what is missing, write and print."""
    schemes, points, about = _wanted(options)
    done = _before(options, points)
    schemes = (*dict.fromkeys(p.scheme for p in done if p.scheme not in schemes), *schemes)
    failed: list[str] = []
    for number, point in enumerate(points, 1):
        what = f"{number}/{len(points)} {point.scheme}, seed {point.seed}"
        run = _earlier(options.out / "runs", point)
        if run is not None:
            say(f"{what}: done before, {run.path}")
            done[point] = run
            continue
        say(f"{what} ...")
        outcome = _run(_request(options, point), point, what)
        if outcome.exit_code == INTERRUPTED:
            _finish(options, schemes, done, about)
            raise Ended(f"interrupted; the same command goes on at {what}", INTERRUPTED)
        if outcome.exit_code == DONE:
            done[point] = outcome.run
        else:
            say(f"{what} failed: {outcome.error}")
            failed.append(what)
    _finish(options, schemes, done, about)
    if failed:
        raise Ended(f"{len(failed)} of {len(points)} runs failed: {'; '.join(failed)}", NODE_FAILED)
    return DONE


def _wanted(options: argparse.Namespace) -> tuple[tuple[str, ...], list[Point], dict[str, Any]]:
    """The schemes as asked, every run, and what the table needs besides; nothing was started.

    Raises:
        InputError: something about one of them cannot be.
    """
    from edgenet.node.substance import dataset_of  # brings torch
    from edgenet.topology import load

    if options.seeds < 1:
        raise InputError(f"--seeds is {options.seeds}; it must be 1 or more")
    if options.target is not None and not 0 < options.target <= 1:
        raise InputError(f"--target is {options.target:g}; it must be a fraction above 0, up to 1")
    schemes = tuple(dict.fromkeys(each for each in options.schemes.split(",") if each))
    if not schemes:
        raise InputError("--schemes names none; write for instance --schemes fedavg,psl")
    first = load(options.topology, arguments.overrides(options)).seed
    seeds = range(first, first + options.seeds)
    points = [_point(options, scheme, seed) for scheme in schemes for seed in seeds]
    topology = load(options.topology, points[0].overrides)
    labels = dataset_of(topology).test_y
    baseline = labels.bincount().max().item() / len(labels)
    return schemes, points, {"topology": topology.name, "baseline": baseline}


def _point(options: argparse.Namespace, scheme: str, seed: int) -> Point:
    """What this command runs of a scheme with a seed.

    Raises:
        InputError: that cannot be.
    """
    from edgenet.node.plan import resolve  # brings torch
    from edgenet.topology import dump, load

    changes = (*arguments.overrides(options), *_changes(scheme), f"seed={seed}")
    plan = resolve(load(options.topology, changes), measure=False)  # the same, another time
    return Point(
        scheme=scheme,
        seed=seed,
        overrides=changes,
        topology=dump(plan.topology),
        launcher=options.launcher or launcher_of(plan.topology),
        code=(plan.code.file, plan.code.content) if plan.code else None,
    )


def _before(options: argparse.Namespace, points: Sequence[Point]) -> dict[Point, RunDir]:
    """The runs of the folder's table that stay in it, and are not asked for; says which do not."""
    asked = {(point.scheme, point.seed): point for point in points}
    kept: dict[Point, RunDir] = {}
    other: dict[str, list[int]] = {}
    for scheme, seed, place in listed(options.out):
        run, point = RunDir(options.out / "runs" / Path(place).name), asked.get((scheme, seed))
        try:
            point = _point(options, scheme, seed) if point is None else point
        except InputError:
            point = None  # this network cannot have it
        if point is None or not _fits(run, point):
            other.setdefault(scheme, []).append(seed)
        elif (scheme, seed) not in asked:
            kept[point] = run
    if other:
        names = (f"{name} (seed {', '.join(map(str, seeds))})" for name, seeds in other.items())
        say(
            f"{options.out}: left out of the table from now on, as this command runs them with "
            f"other settings, or cannot: {'; '.join(names)}"
        )
    return kept


def _changes(scheme: str) -> Iterator[str]:
    """'sglr:phi=0.5' -> train.scheme=sglr, train.phi=0.5."""
    name, *changes = scheme.split(":")
    yield f"train.scheme={name}"
    for change in changes:
        if "=" not in change:
            raise InputError(
                f"--schemes {scheme}: '{change}' is not KEY=VALUE; write for instance "
                "sglr:phi=0.5:alpha=1"
            )
        yield f"train.{change}"


def _request(options: argparse.Namespace, point: Point) -> Request:
    return Request(
        path=options.topology,
        overrides=point.overrides,
        out=options.out / "runs",
        launcher=options.launcher,
    )


def _run(request: Request, point: Point, what: str) -> Outcome:
    """Go on with an earlier run that stopped half-way, or start one."""
    begun = [
        run for run in _like(request.out, point) if any(run.nodes.glob("*/checkpoints/*.ckpt"))
    ]
    if begun:
        try:
            return Local(say=say).run(replace(request, resume=begun[0].path))
        except InputError as error:
            say(f"{what}: begins anew: {error}")
    return Local(say=say).run(request)


def _earlier(folder: Path, point: Point) -> RunDir | None:
    """The newest run in `folder` that is what `point` asks for, and ended well."""
    return next((r for r in _like(folder, point) if r.run().get("exit_code") == DONE), None)


def _like(folder: Path, point: Point) -> Iterator[RunDir]:
    """The runs in `folder` that are what `point` asks for, newest first."""
    return (run for run in reversed(runs(folder)) if _fits(run, point))


def _fits(run: RunDir, point: Point) -> bool:
    """Whether a run is what `point` asks for; a scheme of the user's own may have changed since. A
    run that was put there by hand may have been made in other ways, on boards for instance."""
    same = run.topology.is_file() and run.topology.read_text("utf-8") == point.topology
    launcher = run.run().get("launcher") if same else None
    same = same and (launcher == point.launcher or launcher not in arguments.LAUNCHERS)
    if same and point.code is not None:
        file, content = run.path / point.code[0], point.code[1]
        return file.is_file() and file.read_bytes() == content
    return same


def _ordered(schemes: Sequence[str], done: Mapping[Point, RunDir]) -> list[tuple[Point, RunDir]]:
    """By scheme, then seed."""
    return sorted(done.items(), key=lambda item: (schemes.index(item[0].scheme), item[0].seed))


def _finish(
    options: argparse.Namespace,
    schemes: Sequence[str],
    done: dict[Point, RunDir],
    about: dict[str, Any],
) -> None:
    """Write and print the comparison of the runs that are there."""
    trials = tuple(trial_of(point.scheme, run) for point, run in _ordered(schemes, done))
    target = default_target(trials) if options.target is None else options.target
    comparison = Comparison(schemes=tuple(schemes), trials=trials, target=target, **about)
    if not trials:
        return
    value = write(comparison, options.out)
    if options.format == "json":
        print(json.dumps(value, indent=2))
        return
    out = console()
    rows = cells(comparison, lambda cell: f"[bold]{cell}[/bold]", "+-")
    rows = [[escape(name), *rest] for name, *rest in rows]
    titles = {column.key: column.title for column in COLUMNS}
    print_fitting(out, ("scheme", *titles.values()), rows, [titles[key] for key in _SPARE])
    for line in (*notes(comparison), f"results: {options.out}"):
        out.print(line, markup=False, soft_wrap=True)
