"""Going on with a run that has stopped: whether it can be, from which round, and by one alone.

The processes of a run hold its folder: the launcher, and the fork server until it has reaped every
node. So a run whose launcher was killed is free when its last node is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenet.errors import DONE, InputError
from edgenet.meters.checkpoints import Common, Seated, common_round
from edgenet.results.events import last_events, launcher_events, node_events, node_names
from edgenet.results.rundir import RunDir
from edgenet.topology.spec import TimedEvent

_PATIENCE_S = 6.0
"""For the nodes of a launcher that was killed: their fork server gives them 2 s."""
_POLL_S = 0.1


@dataclass(frozen=True)
class Point:
    """Where a run goes on; as it stands, at its beginning."""

    after: int = 0
    """The last round that is done."""
    at_s: float = 0.0
    """When it was, in the time by which the topology's events count."""

    def behind(self, event: TimedEvent) -> bool:
        """Whether an event had happened by then, and stays so."""
        if event.at_round is not None:  # as that round begins
            return event.at_round <= self.after
        return event.at_s <= self.at_s and self.after > 0


BEGINNING = Point()


def point(run: RunDir, after: int) -> Point:
    """Where a run is that goes on after a round.

    Args:
        run: its folder.
        after: the round.
    """
    ends = [
        event.t
        for name in node_names(run)
        for event in node_events(run, name)
        if event.name == "round" and event.round == after
    ]
    done = max(ends, default=0.0)  # the latest: the round may have been computed twice
    began = [event for event in launcher_events(run) if event.name == "began" and event.t <= done]
    if not began:
        return Point(after)
    return Point(after, done - began[-1].t + (began[-1].number("at_s") or 0.0))


@contextmanager
def taken(path: Path | None, *, deployed: bool = False) -> Iterator[None]:
    """Hold the folder of the run that is to be resumed, if any, while the body runs.

    Args:
        path: the folder.
        deployed: its checkpoints are on boards.

    Raises:
        InputError: it is none, or complete, or still goes on.
    """
    if path is None:
        yield
        return
    _check(RunDir(path), deployed)
    with held(path, alone=True):
        _check(RunDir(path), deployed)  # it may have come to its end while it was waited for
        yield


def _check(run: RunDir, deployed: bool) -> None:
    about = run.run()
    if not about or not run.topology.is_file():
        raise InputError(f"{run.path}: no run.json and topology.yaml there; give a run's folder")
    if about.get("exit_code") == DONE:
        raise InputError(
            f"{run.path}: this run is complete ({about.get('rounds')} rounds); leave --resume out "
            "to run the topology once more"
        )
    if "deployment" in about and not deployed:
        raise InputError(
            f"{run.path}: was deployed, and its checkpoints lie on its boards; resume it with "
            f"`edgenet deploy --hosts FILE --resume {run.path}`"
        )


def going_on(
    run: RunDir, topology: str, digest: str, file: Path, seats: Sequence[Seated]
) -> Common:
    """From which round a run can go on.

    Args:
        run: which.
        topology: the resolved text of what is to be run now.
        digest: of that and the scheme's own code.
        file: where it was read from, for sentences.
        seats: the nodes.

    Raises:
        InputError: it was another topology, or there is nothing to go on from.
    """
    same(run, topology, digest, file)
    return checked(run, common_round(run.path, seats))


def same(run: RunDir, topology: str, digest: str, file: Path) -> None:
    """Raises InputError unless that is what the run ran; the arguments are `going_on`'s."""
    there = run.topology.read_text(encoding="utf-8")
    if there != topology:
        raise InputError(
            f"{file}: is not what {run.path} ran ({_difference(there, topology)}); leave the "
            f"topology out, since --resume {run.path} brings it along, or leave --resume out"
        )
    if run.run().get("digest", digest) != digest:
        raise InputError(f"{file}: the scheme's code is not what {run.path} ran")


def checked(run: RunDir, common: Common) -> Common:
    """Raises InputError if there is no round that a run could go on after."""
    if not common.round:
        over = f" ({'; '.join(common.passed_over)})" if common.passed_over else ""
        raise InputError(
            f"{run.path}: there is no round of which every node has a sound checkpoint{over}; run "
            "it anew, with faults.checkpoint: 1 to have one after every round"
        )
    return common


def clear(run: RunDir) -> None:
    """Take away what an attempt leaves behind that means something to the next one."""
    orders = run.path / "orders.jsonl"  # a person's, for the links as they were then
    for path in (run.path / "started", run.path / "checkpoints", run.control, orders):
        path.unlink(missing_ok=True)


def last_s(run: RunDir) -> float:
    """When (epoch seconds) the last line was written in any journal of the run; 0: there is
    none."""
    journals = [run.events_file, *(run.events(name) for name in node_names(run))]
    return max((event.t for path in journals for event in last_events(path)), default=0.0)


def attempts(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every attempt so far, of run.json's object."""
    known = about.get("attempts")
    return [dict(each) for each in known] if isinstance(known, list) else []


@contextmanager
def held(run_dir: Path, *, alone: bool = False) -> Iterator[int]:
    """Hold a run's folder while the body runs; yields the file descriptor.

    Args:
        run_dir: the folder.
        alone: make sure first that nobody else does; wait a moment for nodes that are ending.

    Raises:
        InputError: somebody does.
    """
    fd = os.open(run_dir, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while alone and not _free(fd):
            if time.monotonic() > deadline:
                raise InputError(
                    f"{run_dir}: another process still runs it; wait for its end, or stop it"
                )
            time.sleep(_POLL_S)
        _share(fd, run_dir, wait=not alone)
        yield fd
    finally:
        os.close(fd)


def _share(fd: int, run_dir: Path, *, wait: bool) -> None:
    """Hold it with others. From alone to shared the kernel goes by nobody at all: who does not
    wait, and finds somebody alone there, was overtaken by him."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise InputError(f"{run_dir}: another process goes on with it; wait for its end") from None


def _free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _difference(there: str, here: str) -> str:
    """The first line in which two texts differ."""
    ours, theirs = here.splitlines(), there.splitlines()
    for number, line in enumerate(theirs):
        if number >= len(ours) or ours[number] != line:
            now = ours[number].strip() if number < len(ours) else "nothing"
            return f"there '{line.strip()}', here '{now}'"
    return f"here also '{ours[len(theirs)].strip()}'"
