"""What a stranger can do to a run: rounds a second with and without one who calls on every port.

The rogue (`rogue_client.py`) has no key. From the start of the run to its end it calls on every
port that any process of the run listens on, with garbage, frames that are too long, wrong keys,
replays, false second connections and gloo's own words, and holds half-open conversations. Every run
must end well, with all its nodes.

The rogue has to run on this host, too, where it takes cores, caches and the kernel's time that on a
host of its own it would not take. So there are three runs in turn: without it, with one that calls
on a bystander, which takes no part and only keeps its callers waiting, and with one that calls on
the run. `ratio` is the median round of the last over that of the second; `ratio_to_none` and
`cpu_to_none` (CPU seconds of the nodes) are of the last over the first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import Figures, Finished, arguments, exchange, run_edgenet, say, star

LEARNERS = 4
WARM_UP = 2
CLIENT = Path(__file__).with_name("rogue_client.py")


def main() -> None:
    """Run in turn without and with the rogue."""
    given = arguments(__doc__)
    rounds = WARM_UP + (10 if given.quick else 100 if given.full else 40)
    turns = 1 if given.quick else 3
    runs: dict[str, list[Finished]] = {"none": [], "elsewhere": [], "here": []}
    told: Figures = {}
    for _ in range(turns):
        runs["none"].append(_run(rounds))
        with _bystander() as pid:
            runs["elsewhere"].append(_run(rounds, pid))
        runs["here"].append(_run(rounds, 0, told))
    round_s = {name: statistics.median(map(_round_s, some)) for name, some in runs.items()}
    cpu_s = {name: sum(map(_cpu_s, some)) for name, some in runs.items()}
    figures: Figures = {
        "round_s": round_s["none"],
        "round_with_rogue_elsewhere_s": round_s["elsewhere"],
        "round_with_rogue_s": round_s["here"],
        "ratio": round_s["here"] / round_s["elsewhere"],
        "ratio_to_none": round_s["here"] / round_s["none"],
        "cpu_to_none": cpu_s["here"] / cpu_s["none"],
        "rounds": turns * (rounds - WARM_UP),
        "ports": told["ports"],
        "calls": sum(told["calls"].values()),
        "cores": len(os.sched_getaffinity(0)),
    }
    say(figures, given.format)
    if given.format == "text":
        say(dict(sorted(told["calls"].items())), given.format)


@contextmanager
def _bystander() -> Iterator[int]:
    """Listens on as many ports as a run has, and lets its callers wait; yields its process id."""
    words = [sys.executable, str(CLIENT), "--bystander", str(LEARNERS + 2)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.terminate()
        process.communicate(timeout=60.0)


def _run(rounds: int, called: int | None = None, told: Figures | None = None) -> Finished:
    """A run beside a rogue, which calls on the process `called` (0: the run's own); None: alone."""

    def beside(run: subprocess.Popen[str]) -> None:
        words = [sys.executable, str(CLIENT), str(called or run.pid)]
        rogue = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            run.wait(600.0)
        finally:
            rogue.terminate()
            said, _ = rogue.communicate(timeout=60.0)
        if told is not None:
            told.update(json.loads(said.splitlines()[-1]))

    text = star("rogue", LEARNERS, exchange(rounds))
    run = run_edgenet(text, watch=None if called is None else beside)
    faults = [each for node in run.events.values() for each in node if each["e"] == "fault"]
    lost = [each for each in faults if each["what"] != "refused"]
    if lost:
        sys.exit(f"the run did not go as without a rogue: {lost[:3]}")
    return run


def _round_s(run: Finished) -> float:
    return statistics.median(float(each["wall_s"]) for each in run.rounds[WARM_UP:])


def _cpu_s(run: Finished) -> float:
    return sum(float(node["cpu_s"]) for node in run.summary["nodes"].values())


if __name__ == "__main__":
    main()
