"""`edgenet run`: one process a node on this host, under a fork server."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgenet.devices.demand import demand, too_late, trained_on
from edgenet.errors import InputError, NodeError
from edgenet.launchers import resuming, shaping
from edgenet.launchers.blame import told
from edgenet.launchers.comings import Comings
from edgenet.launchers.conductor import Conductor
from edgenet.launchers.control import Control
from edgenet.launchers.forkserver import REAL
from edgenet.launchers.ground import Built, built
from edgenet.launchers.limits import choose, held_by
from edgenet.launchers.outcome import Outcome, finish, told_of
from edgenet.launchers.policy import Limits, Referee
from edgenet.launchers.probing import Probing
from edgenet.launchers.record import Record
from edgenet.launchers.resuming import BEGINNING, Point
from edgenet.launchers.supervisor import Cast, StopSignals, Supervisor
from edgenet.meters.clock import RunClock
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.topology import load
from edgenet.topology.spec import Topology

_VIEW_S = 0.2
_MOST_LOSSES = 5


class View(Protocol):
    """What shows a run while it goes on."""

    def update(self) -> None:
        """Called several times a second."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run."""

    path: Path
    """The topology file."""
    overrides: tuple[str, ...] = ()
    """'path.to.key=value', applied in order."""
    out: Path = Path("runs")
    """The run's folder is made in here."""
    probe_only: bool = False
    """Measure the links and end; no role is played."""
    launcher: str | None = None
    """'local', 'namespaces' (every node in one of its own), or None: as the shaping needs it."""
    resume: Path | None = None
    """The folder of a run that is to go on; `path` may be its topology.yaml."""


@dataclass(frozen=True)
class _Playing:
    """A cast on its way."""

    supervisor: Supervisor
    cast: Cast
    referee: Referee
    run: RunDir
    topology: Topology
    point: Point
    """Where it goes on."""


class Local:
    """Runs topologies on this host.

    Args:
        say: takes lines for the user (which shaping, which node was lost).
        show: makes the view of a run from its folder and topology.
        limits: how long ending nodes are waited for.
        machinery: the module that the fork server works with.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        show: Callable[[RunDir, Topology], AbstractContextManager[View]] | None = None,
        limits: Limits | None = None,
        machinery: str = REAL,
    ) -> None:
        self._say, self._show = say, show or (lambda run, topology: nullcontext(_Blind()))
        self._limits, self._machinery = limits or Limits(), machinery

    def run(self, request: Request) -> Outcome:
        """Run one topology to its end, whatever end that is.

        Raises:
            InputError: before any node was started.
            Interrupted: likewise.
            NodeError: the fork server did not come up.
        """
        with resuming.taken(request.resume):
            return self._run(request)

    def _run(self, request: Request) -> Outcome:
        topology = _load(request)
        launcher = request.launcher or launcher_of(topology)
        apart = launcher == "namespaces"
        back_end = shaping.choose(topology.shaping, topology, namespaces=apart)
        self._say(f"shaping: {back_end.used} ({back_end.why})")
        with StopSignals() as stop, ExitStack() as grounds:
            with Supervisor(stop, self._limits, self._machinery) as supervisor:
                cast = supervisor.prepare(request.path, request.overrides)
                self._tell_demand(topology, cast)
                network = grounds.enter_context(built(topology, back_end.used)) if apart else None
                held = grounds.enter_context(held_by(topology, cast.seats, cast.shared_bytes))
                run, point = self._folder(request, cast, topology, grounds)
                record = Record(run, topology, cast.seats, back_end, launcher, point.after)
                record.write(host_flops=cast.host_flops, limits=held.told(), **cast.facts)
                faults = topology.faults
                referee = Referee(seats=cast.seats, limits=self._limits, restart=faults.restart,
                                  spares=faults.spares)  # fmt: skip
                probing = Probing(topology, _peers(cast), back_end.used, only=request.probe_only)
                error = probing.packets(network)
                if error is None:
                    supervisor.hold(held.order())
                    on = _Playing(supervisor, cast, referee, run, topology, point)
                    error = self._play(on, back_end.used, network, probing.order)
            seen: dict[str, Any] = {"limits": held.told()}
            if network is not None:
                seen |= {"interfaces": network.counters(), "ways": network.ways(_peers(cast))}
            grounds.close()
            with told_of(run, referee, error):
                record.write(**seen)
                outcome = finish(run, record, referee, probing.conclude(run, record) or error)
            self._tell_late(outcome.summary)
            return outcome

    def _folder(
        self, request: Request, cast: Cast, topology: Topology, grounds: ExitStack
    ) -> tuple[RunDir, Point]:
        """The run's folder, held as long as `grounds`, and where the run goes on."""
        if request.resume is None:
            run = new_run_dir(request.out, topology.name)
            grounds.enter_context(resuming.held(run.path))
            RunClock.begin(run.path)
            run.topology.write_text(cast.topology, encoding="utf-8")
            return run, BEGINNING
        run = RunDir(request.resume)
        common = resuming.going_on(
            run, cast.topology, cast.facts["digest"], request.path, cast.seats
        )
        resuming.clear(run)
        RunClock.begin(run.path, after=resuming.last_s(run))
        for sentence in common.passed_over:
            self._say(sentence)
        self._say(f"{run.path}: goes on after round {common.round} of {topology.train.rounds}")
        return run, resuming.point(run, common.round)

    def _play(
        self, on: _Playing, used: str, network: Built | None, order: Mapping[str, Any] | None
    ) -> str | None:
        """Start the nodes, and see to them to the end; the sentence if the launcher failed."""
        run, topology, referee = on.run, on.topology, on.referee
        ground, apply = (network.ground, network.apply) if network else (None, None)

        def begin(after: int, absent: Collection[str]) -> None:
            # Who starts again finds links that were measured before.
            probe = None if referee.restarts else order
            on.supervisor.start(run.path, used, ground, probe, after, absent, referee.seated)

        point, say = on.point, self._say
        comings = Comings(run, topology, referee, on.supervisor, begin, say, point=point)
        there = [seat.name for seat in on.cast.seats if seat.name not in comings.later]
        conductor = Conductor(run, topology, there, apply, used, point=point)
        control = Control(run, conductor, on.supervisor, referee)
        with closing(comings), conductor, control:  # whoever sees a node may give it orders
            begin(point.after, comings.later)
            control.serve()
            with self._show(run, topology) as view:
                whole = _Whole(view, conductor, *([network] if network else []))
                return self._watch(on, whole, comings)

    def _watch(self, on: _Playing, view: View, comings: Comings) -> str | None:
        """Until every node has ended; the sentence if the launcher itself failed."""
        updated = 0.0
        try:
            for report in on.supervisor.watch(on.cast, on.referee):
                ended = report["node"] if report and report["is"] == "ended" else None
                if ended is not None and not comings.ended(ended):
                    self._tell_loss(on.run, on.referee, ended)
                comings.look()
                if time.monotonic() - updated > _VIEW_S:
                    view.update()
                    updated = time.monotonic()
        except NodeError as failed:
            return str(failed)
        return None

    def _tell_late(self, summary: Mapping[str, Any]) -> None:
        """Say so when this host did not carry them."""
        late = too_late(summary["nodes"])
        if late is not None:
            self._say(late)

    def _tell_demand(self, topology: Topology, cast: Cast) -> None:
        """Say so when this host cannot carry the devices at their speeds."""
        devices = trained_on(cast.seats, topology.profile)
        if cast.host_flops is None or all(each.training_flops is None for each in devices):
            return
        needed = demand(devices, cast.host_flops)
        if not needed.fits:
            self._say(str(needed))

    def _tell_loss(self, run: RunDir, referee: Referee, node: str) -> None:
        """Say so when a node was lost that the run can do without."""
        end = referee.ends[node]
        if end.good or end.stopped or referee.culprit is not None:
            return
        losses = sum(not other.good for other in referee.ends.values())
        if losses > _MOST_LOSSES:
            return
        what = told(run, node, end)
        if referee.restarts[node]:
            what = f"{what}; it was started again as often as faults.restart allows"
        self._say(f"{what}; the run goes on without it" if end.signal is not None else what)
        if losses == _MOST_LOSSES:
            self._say(f"further losses are told in {run.run_json} at the end only")


def _peers(cast: Cast) -> dict[str, tuple[str, ...]]:
    return {seat.name: seat.peers for seat in cast.seats}


def launcher_of(topology: Topology) -> str:
    """How the nodes are started where nothing else is asked for."""
    return "namespaces" if shaping.needs_namespaces(topology) else "local"


def _load(request: Request) -> Topology:
    topology = load(request.path, request.overrides)
    choose(topology)  # what it asks for must be there
    if not request.path.is_file():
        raise InputError(
            f"{request.path}: is a pipe or a device; save the topology as a file first, because "
            "another process reads it too"
        )
    return topology


class _Whole:
    """The view of a run, and an eye on its network and on what is to happen there."""

    def __init__(self, view: View, *others: Conductor | Built) -> None:
        self._view, self._others = view, others

    def update(self) -> None:
        """Raises EdgenetError when the network has broken down."""
        self._view.update()
        for other in self._others:
            other.check()


class _Blind:
    def update(self) -> None:
        """Nothing to show."""
