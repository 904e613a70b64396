"""One node, from its seat to its exit code."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from edgenet.errors import (
    DONE,
    INTERRUPTED,
    NODE_FAILED,
    UNWRITABLE,
    CannotWrite,
    EdgenetError,
    Interrupted,
    PeerLeft,
    PeerLost,
    PeerSilent,
)
from edgenet.links.protocol import LinkGroup
from edgenet.links.shared import Shared
from edgenet.meters import Journal, power
from edgenet.meters.clock import RunClock
from edgenet.meters.resources import Sampler
from edgenet.models.memory import allocating
from edgenet.models.throttle import slowdown
from edgenet.node.assignment import Assignment
from edgenet.node.bench import NodeBench
from edgenet.node.connect import connect
from edgenet.node.memory import MemoryLimit
from edgenet.node.plan import Plan
from edgenet.node.probing import probe
from edgenet.node.warm import settle

_TOO_SMALL = "{} ran out of memory; give it a smaller model or batch"


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a node's device makes of it."""

    factor: float = 1.0
    """How many times slower than this host it is."""
    memory: MemoryLimit | None = None
    """Watches its memory; None = the kernel does, or nobody: a host is not its own emulation."""
    refuses: bool = False
    """What goes beyond its memory is refused, too."""


def run_node(assignment: Assignment) -> int:
    """Play one node's role to the end in this process; returns its exit code.

    SIGTERM and SIGINT end it in an orderly way (130). Whatever goes wrong is the last event of the
    node's journal; what edgenet did not foresee also leaves its traceback on stderr. Where there
    is no room for a journal, stderr is all that is left to say so, and an exit code of its own.
    """
    settle()
    try:
        path = assignment.run_dir / "nodes" / assignment.name / "events.jsonl"
        with closing(Journal(path, clock=RunClock(assignment.run_dir))) as journal:
            return _run(assignment, journal)
    except CannotWrite as error:
        with suppress(OSError):
            print(error, file=sys.stderr, flush=True)
        return UNWRITABLE


def _run(assignment: Assignment, journal: Journal) -> int:
    """Raises CannotWrite when the journal could not be written."""
    name, plan, memory = assignment.name, assignment.plan, None
    if assignment.limits in ("accounting", "rlimit"):
        memory = MemoryLimit(name, plan.topology.device(name), shared_bytes=assignment.shared_bytes)
    try:
        with _signals_raise():
            factor = start(plan, name, journal, assignment.host_flops, assignment.resume)
            if plan.code is not None and plan.seat(name).rank == 0:
                (assignment.run_dir / plan.code.file).write_bytes(plan.code.content)
            with connect(assignment, journal) as (groups, shared):
                probe(assignment, groups, shared)
                if assignment.probe is None or not assignment.probe.only:
                    journal.event("joined")  # from here on links change; they are measured before
                    body = Body(
                        factor=factor,
                        memory=memory if factor > 1 else None,
                        refuses=assignment.limits == "rlimit",
                    )
                    play(plan, name, groups, shared, body, assignment.run_dir, assignment.resume)
            shared.meter.write(journal)  # what still waited to be sent when the role ended
            journal.event("end", status="done", code=DONE)
        return DONE
    except Interrupted as error:
        journal.event("end", status="interrupted", code=INTERRUPTED, error=str(error))
        return INTERRUPTED
    except PeerLeft as error:
        if plan.seat(name).essential or not plan.seat(error.peer).essential:
            return _failed(journal, str(error))
        # The run is over: this node came too late to be told so by its scheme.
        journal.event("end", status="done", code=DONE)
        return DONE
    except EdgenetError as error:
        return _failed(journal, str(error), error)
    except MemoryError:
        return _failed(journal, _TOO_SMALL.format(name))
    except Exception as error:  # the process ends here: the last to know must be the journal
        traceback.print_exc()
        return _failed(journal, f"{name}: {type(error).__name__}: {error} (see its log.txt)")


def start(
    plan: Plan, name: str, journal: Journal, host_flops: float | None = None, resume: int = 0
) -> float:
    """Open node `name`'s journal; returns its device's slow-down."""
    seat = plan.seat(name)
    factor = 1.0 if host_flops is None else slowdown(host_flops, plan.topology.device(name))
    journal.event(
        "start",
        node=name,
        role=seat.role,
        device=seat.device,
        pid=os.getpid(),
        host=socket.gethostname(),
        slowdown=round(factor, 3),
    )
    if resume:
        journal.event("resumed", after=resume)
    return factor


def play(
    plan: Plan,
    name: str,
    groups: Mapping[str, LinkGroup],
    shared: Shared,
    body: Body,
    run_dir: Path | None,
    resume: int = 0,
) -> None:
    """Play node `name`'s role on links that stand, metered from start to end."""
    seat = plan.seat(name)
    bench = NodeBench(
        plan=plan, seat=seat, groups=groups, shared=shared, factor=body.factor, run_dir=run_dir,
        resume=resume,
    )  # fmt: skip
    memory = body.memory
    kept = nullcontext() if memory is None else memory.kept(bench.plight)
    refused = memory.refused() if memory is not None and body.refuses else nullcontext()

    def beside() -> None:
        bench.traffic()
        bench.keeping.idle()
        if body.memory is not None:
            body.memory.check()

    sensor = power.find() if body.factor == 1 else None  # it cannot feel an emulated device
    with Sampler(
        shared.journal,
        interval_s=_interval_s(plan),
        more=bench.memory,
        beside=beside,
        power=None if sensor is None else power.HostMeter(sensor),
    ):
        try:
            with kept, refused, allocating(_TOO_SMALL.format(name)):
                plan.role(seat.role).play(bench)
        except BaseException:
            bench.keeping.close(done=False)
            raise
        bench.keeping.close(done=True)
        bench.finish()


def _interval_s(plan: Plan) -> float:
    """Seconds between two samples: a host full of nodes must not spend its time on sampling."""
    return max(1.0, len(plan.seats) / 20)


def _failed(journal: Journal, why: str, error: EdgenetError | None = None) -> int:
    missed = {}
    if isinstance(error, PeerSilent | PeerLost):
        missed["silent" if isinstance(error, PeerSilent) else "lost"] = error.peer
    journal.event("end", status="failed", code=NODE_FAILED, error=why, **missed)
    return NODE_FAILED


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into Interrupted, in the main thread."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
