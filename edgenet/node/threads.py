"""A whole run inside one process: a thread for each node, queues for links.

The same roles, the same links but for their wires, the same weights at the end: for tests of the
mathematics, and for looking into a scheme with a debugger. Nothing is emulated or measured here
that needs processes: no pacing, no slow-down, no faults.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgenet.errors import DONE
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.shared import Shared
from edgenet.meters import Journal
from edgenet.meters.clock import RunClock
from edgenet.node.connect import make_groups
from edgenet.node.plan import Plan
from edgenet.node.run import Body, play, start


def run_in_threads(plan: Plan, run_dir: Path, resume: int = 0) -> None:
    """Run every node of `plan` to its end; raises what the first node that failed raised.

    Args:
        plan: the run.
        run_dir: gets model.pt and nodes/<name>/events.jsonl.
        resume: the round to go on after, of a run in this folder; 0: from the start.
    """
    paths = {seat.name: run_dir / "nodes" / seat.name / "events.jsonl" for seat in plan.seats}
    clock = RunClock()
    shared = {name: Shared(journal=Journal(path, clock=clock)) for name, path in paths.items()}
    links = _link_all(plan, shared)
    failures: list[BaseException] = []

    def run(name: str) -> None:
        own = shared[name]
        torch.set_num_threads(1)  # OpenMP's number is each thread's own
        try:
            groups = make_groups(plan, plan.seat(name), links[name], own)
            play(plan, name, groups, own, Body(), run_dir, resume)
            for link in links[name].values():
                link.close()
            own.meter.write(own.journal)  # what still waited to be sent when the role ended
            own.journal.event("end", status="done", code=DONE)
        except BaseException as error:
            failures.append(error)
        finally:
            for link in links[name].values():
                link.close()

    threads = []
    for name, own in shared.items():
        start(plan, name, own.journal, resume=resume)
        threads.append(threading.Thread(target=run, args=(name,), name=name, daemon=True))
    with _one_torch_thread():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for own in shared.values():
        own.journal.close()
    if failures:
        raise failures[0]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """As in a node's own process: with more threads sums are made in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _link_all(plan: Plan, shared: dict[str, Shared]) -> dict[str, dict[str, WireLink]]:
    """Every node's links by peer."""
    links: dict[str, dict[str, WireLink]] = {seat.name: {} for seat in plan.seats}
    for a, b in itertools.combinations(plan.seats, 2):
        if b.name in dict(a.peers):
            pair = link_pair((a.name, b.name), (shared[a.name], shared[b.name]))
            links[a.name][b.name], links[b.name][a.name] = pair
    return links
