"""A device's memory: a node that holds more than its device has ends, and says so.

By accounting, the resident set is read at every sample of the node's meters; a node that outgrows
its device between two samples is found at the next one. By a resource limit (RLIMIT_DATA, which
on Linux counts private memory that can be written, whether it was touched or not) the kernel
refuses what goes beyond, and the allocation fails; the samples stay. By control groups
(`edgenet.launchers`) the kernel ends the node at the very page, and the words are found here
afterwards. All count what the node itself took, and Python and torch, which a board would hold too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from edgenet.devices import Device
from edgenet.errors import NODE_FAILED, CannotWrite, Interrupted, NodeError
from edgenet.meters.clock import RunClock
from edgenet.meters.journal import Journal
from edgenet.models.memory import Memory
from edgenet.node.plan import Plan
from edgenet.units import format_memory

_REMEDY = "give it a smaller model, batch or share of the data, or a device with more memory"


class MemoryLimit:
    """Watches this process for one node.

    Args:
        node: its name.
        device: its profile; without a memory size nothing is watched.
        read: resident bytes now.
        shared_bytes: of what is resident now, what counts; None = all.
    """

    def __init__(
        self,
        node: str,
        device: Device,
        read: Callable[[], int] | None = None,
        shared_bytes: int | None = None,
    ) -> None:
        self._node, self._device = node, device
        self._read = read or (_resident if shared_bytes is None else _private)
        self._not_counted = 0 if shared_bytes is None else self._read() - shared_bytes
        self.broken: str | None = None
        """The sentence that the node ends with, once it holds too much."""

    def check(self) -> None:
        """Look once; on a node's own process, interrupt its main thread when it is too much."""
        limit = self._device.memory_bytes
        if limit is None or self.broken is not None:
            return
        held = self._read() - self._not_counted
        if held <= limit:
            return
        self.broken = (
            f"{self._node} holds {format_memory(held)}, but its device '{self._device.name}' has "
            f"{format_memory(limit)}; {_REMEDY}"
        )
        if _handled(signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Run the body; the kernel refuses it more memory than the device has left now. Threads
        that are started in it count with the whole of their stacks, so start them before."""
        limit = self._device.memory_bytes
        before, most = resource.getrlimit(resource.RLIMIT_DATA)
        if limit is None:
            yield
            return
        left = max(0, limit - (self._read() - self._not_counted))
        lowered = _data_bytes() + left
        if most != resource.RLIM_INFINITY:
            lowered = min(lowered, most)
        resource.setrlimit(resource.RLIMIT_DATA, (lowered, most))
        try:
            yield
        finally:  # what is left to say must find room
            resource.setrlimit(resource.RLIMIT_DATA, (before, most))

    @contextmanager
    def kept(self, more: Callable[[], str] = str) -> Iterator[None]:
        """Run the body; raise NodeError instead of Interrupted if it was ended from here. What
        `more` returns goes to the end of the sentence."""
        try:
            yield
        except Interrupted:
            if self.broken is None:
                raise
            raise NodeError(self.broken + more()) from None


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _private() -> int:
    """Without the pages of files: those of libraries are in what all nodes share already, and come
    into a forked node anew, when it first meets them."""
    return _resident() - int(getattr(psutil.Process().memory_info(), "shared", 0))


def _data_bytes() -> int:
    """What RLIMIT_DATA is held against: VmData of proc(5)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmData")


def tell_outgrown(plan: Plan, node: str, run_dir: Path) -> None:
    """Append the `end` event of a node that the kernel has ended for want of memory: what it held
    when it last said so, and what would fit.

    Args:
        plan: the run.
        node: its name.
        run_dir: the run's folder.
    """
    path = run_dir / "nodes" / node / "events.jsonl"
    held, advise, device = _last_held(path), plan.scheme.advise, plan.topology.device(node)
    said = (
        f"{node} wanted more than the {format_memory(device.memory_bytes or 0)} of its device "
        f"'{device.name}', and the kernel ended it; "
    )
    if held:
        said += f"when it last said so, it held {held}; "
    said += _REMEDY if advise is None else advise(plan.layout, node)
    with suppress(OSError, CannotWrite):  # its end is told all the same
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")  # it may have been ended in the middle of a line
        with closing(Journal(path, clock=RunClock(run_dir))) as journal:
            journal.event("end", status="failed", code=NODE_FAILED, error=said)


def _last_held(path: Path) -> str:
    """What a pipeline's stage held, by its last `memory` event; empty if there is none."""
    found = ""
    names = {field.name for field in dataclasses.fields(Memory)}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if event["e"] == "memory":
                found = Memory(**{key: event[key] for key in names}).sentence()
    return found


def _handled(number: signal.Signals) -> bool:
    """Whether a signal would be raised as an exception: true in a node's own process only."""
    return callable(signal.getsignal(number))
