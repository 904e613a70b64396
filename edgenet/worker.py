"""One rank of torchrun is one node of the topology.

    torchrun --nproc-per-node N -m edgenet.worker T [--set KEY=VALUE]... [--out DIR]

N is the number of nodes that have a role (`edgenet check T` tells it); ranks are seats in the
order in which `edgenet check` lists them, unless each host names its own by --nodes. On several
hosts every rank finds the others through torchrun's own store (MASTER_ADDR, MASTER_PORT); rank 0
names the run's folder, and writes run.json and the results there once every rank has ended.
`--resume RUN` in place of T goes on with a run.

Set EDGENET_KEY to the same secret on every host: it is the join key of the links. torchrun watches
the ranks in the launcher's place, and it ends all of them when one fails: that a scheme can do
without a node is only seen under `edgenet run`. If rank 0 itself is killed, `edgenet show RUN`
derives the results from what the ranks wrote.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from edgenet.cli.arguments import add_out, add_probe, add_topology, overrides, topology_of
from edgenet.cli.main import EPILOG, Parser, fail, guarded
from edgenet.cli.show import print_summary
from edgenet.errors import NODE_FAILED, UNWRITABLE, InputError
from edgenet.launchers import probing, resuming, shaping, torchrun
from edgenet.launchers.blame import told, verdict
from edgenet.launchers.children import die_with_parent
from edgenet.launchers.limits import elsewhere
from edgenet.launchers.machinery import facts
from edgenet.launchers.meeting import Meeting
from edgenet.launchers.policy import End
from edgenet.launchers.record import Record
from edgenet.launchers.supervisor import StopSignals
from edgenet.links.gloo import open_store
from edgenet.links.listener import listen
from edgenet.links.rendezvous import RendezvousServer
from edgenet.node.assignment import Assignment, ProbeOrder
from edgenet.node.plan import Plan, Seat, resolve
from edgenet.node.run import run_node
from edgenet.node.warm import warm_up
from edgenet.results.rundir import RunDir
from edgenet.results.write import write_all
from edgenet.shaping import apart
from edgenet.topology import Topology, dump, load

_ENDS_S = 5.0  # for the other ranks, after rank 0's own end


def execute(options: argparse.Namespace) -> int:
    """Run this rank's node; returns its exit code."""
    place = torchrun.place(os.environ)
    plan = resolve(load(topology_of(options), overrides(options)), measure=False)
    torchrun.check_size(place, len(plan.seats), plan.topology.file)
    shaping.check_still(plan.topology)
    kept = elsewhere(plan.topology, engine=place.launcher == torchrun.COMPOSE)
    back_end = _back_end(place, plan.topology)
    address, key = torchrun.address(os.environ, place), _key(place)
    if place.rank == 0:
        _say(f"shaping: {back_end.used} ({back_end.why})")
    serve = place.rank == 0 and not place.store_stands
    alone = resuming.taken(options.resume if place.rank == 0 and not options.after else None)
    with alone, open_store(*place.master, place.prefix, serve=serve) as store:
        meeting = Meeting(store, place, key)
        names = _names(options.nodes, meeting, plan, place)
        name = names[place.rank]
        run, after = _folder(options, meeting, plan, name)
        if place.apart and back_end.used == "netem":
            _shape(meeting, plan, plan.seat(name), address)
        probe = probing.order(plan.topology, back_end.used)
        whole = resuming.held(run.path)
        with whole, _rendezvous(meeting, place, address, key) as (host, port):
            assignment = Assignment(
                plan=plan,
                name=name,
                run_dir=run.path.resolve(),
                store_host=host,
                store_port=port,
                key=key,
                shaping=back_end.used,
                host_flops=meeting.calibrate(lambda: warm_up(plan)),
                address=address,
                probe=None if probe is None else ProbeOrder(**probe),
                resume=after,
                limits=kept.used,
            )
            record = Record(run, plan.topology, plan.seats, back_end, place.launcher, after)
            if place.rank == 0:
                return _lead(assignment, meeting, record, names)
            return _take_part(assignment, meeting)


def _folder(
    options: argparse.Namespace, meeting: Meeting, plan: Plan, name: str
) -> tuple[RunDir, int]:
    """The run's folder, and the round to go on after."""
    if options.resume is None:
        return meeting.run_dir(options.out, plan.topology.name), 0
    run = RunDir(options.resume)
    after = options.after or meeting.resumed(run, name, plan.digest.hex())
    if plan.seat(name).rank == 0:
        resuming.clear(run)
        _say(f"{run.path}: goes on after round {after} of {plan.topology.train.rounds}")
    return run, after


def _names(
    own: Sequence[str], meeting: Meeting, plan: Plan, place: torchrun.Place
) -> Sequence[str]:
    """Which node each rank plays: as the hosts named them, else in the order of the seats."""
    seats = [seat.name for seat in plan.seats]
    if not own:
        return seats
    if len(own) != place.local_size:
        raise InputError(
            f"--nodes names {len(own)} nodes, but torchrun started {place.local_size} ranks here"
        )
    names = meeting.names(own[place.local_rank])
    torchrun.check_names(names, seats)
    return names


def _back_end(place: torchrun.Place, topology: Topology) -> shaping.Shaping:
    if place.apart:
        return apart.choose(topology.shaping, topology)
    return shaping.choose(topology.shaping, topology, namespaces=False)


def _shape(meeting: Meeting, plan: Plan, seat: Seat, address: str) -> None:
    """Queue what this node sends, by peer, on the interface that is its own."""
    names = [each.name for each in plan.seats]
    found = dict(zip(names, meeting.addresses(address), strict=True))
    apart.shape(plan.topology, seat.name, {peer: found[peer] for peer, _ in seat.peers})


def _key(place: torchrun.Place) -> bytes:
    key, warning = torchrun.join_key(os.environ, place)
    if warning is not None and place.rank == 0:
        _say(warning)
    return key


@contextmanager
def _rendezvous(
    meeting: Meeting, place: torchrun.Place, address: str, key: bytes
) -> Iterator[tuple[str, int]]:
    """Where nodes find each other: served by rank 0 while it lives."""
    if place.rank != 0:
        yield meeting.rendezvous(None)
        return
    with RendezvousServer(key, listen(address)) as server:
        yield meeting.rendezvous(server.address)


def _take_part(assignment: Assignment, meeting: Meeting) -> int:
    """Run the node."""
    with StopSignals():  # torchrun's SIGTERM must not cut the writing of the results short
        code = run_node(assignment)
        meeting.leave(code)
    if code in (NODE_FAILED, UNWRITABLE):
        _say(told(RunDir(assignment.run_dir), assignment.name, End(code=code)))
    return code


def _lead(assignment: Assignment, meeting: Meeting, record: Record, names: Sequence[str]) -> int:
    """Run rank 0's node, and write down how the run went."""
    run = RunDir(assignment.run_dir)
    run.topology.write_text(dump(assignment.plan.topology), encoding="utf-8")
    kept = {"used": assignment.limits}
    record.write(host_flops=assignment.host_flops, limits=kept, **facts(assignment.plan))
    with StopSignals():
        meeting.leave(run_node(assignment))
        codes = zip(names, meeting.ends(_ENDS_S), strict=True)
        ends = {name: End(code=code) for name, code in codes if code is not None}
        return _conclude(assignment, run, record, ends)


def _conclude(assignment: Assignment, run: RunDir, record: Record, ends: Mapping[str, End]) -> int:
    """Write how the run ended, and its results, from every rank's exit code."""
    plan, probe = assignment.plan, assignment.probe
    if probe is not None:
        record.write(probe=probing.table(run, (), assignment.shaping, probe.tolerance))
    code, error = verdict(plan.seats, run, ends)
    record.finish(code, error, ends)
    if record.launcher == torchrun.DEPLOY:
        return code  # results are made, and told, where the boards' files come together
    summary = write_all(run)
    elsewhere = [name for name in ends if not run.events(name).exists()]
    if elsewhere:
        _say(
            f"the events of {', '.join(elsewhere)} stayed on their hosts: copy their folders to "
            f"{run.nodes} and run `edgenet show {run.path}` to have them in the results"
        )
    print_summary(run, summary)
    return fail(error, code) if error else code


def _say(text: str) -> None:
    print(f"edgenet: {text}", file=sys.stderr, flush=True)


def parser() -> Parser:
    """The rank's command line."""
    made = Parser(
        prog="edgenet.worker",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_topology(made, resumable=True)
    add_out(made)
    add_probe(made)
    made.add_argument(
        "--nodes",
        metavar="A,B,...",
        type=lambda text: text.split(","),
        default=(),
        help="the nodes that this host plays, by local rank; give it on every host, or on none "
        "(default: rank r plays the r-th seat)",
    )
    made.add_argument(  # who gives it has seen to it that the run may go on, and nobody else does
        "--after",
        metavar="ROUND",
        type=int,
        default=0,
        help="with --resume: the round to go on after; give it to all ranks, or to none (default: "
        "the newest of which every rank finds a sound checkpoint)",
    )
    made.set_defaults(execute=execute)
    return made


def main() -> int:
    """The rank's entry point."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # a torchrun that was killed leaves nothing running
        die_with_parent(os.getppid(), signal.SIGKILL)
    return guarded(parser().parse_args())


if __name__ == "__main__":
    sys.exit(main())
