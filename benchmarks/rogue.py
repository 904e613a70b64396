"""What a stranger can do to a run: rounds a second with and without one who calls on every port.

The rogue (`rogue_client.py`) has no key. From the start of the run to its end it calls on every
port that any process of the run listens on, with garbage, frames that are too long, wrong keys,
replays, false second connections and gloo's own words, and holds half-open conversations. Every run
must end well, with all its nodes.

The rogue would be on a host of its own, and has to run on this one. So the last core is the
rogue's, and the run has the others: what the run then loses is what the calls cost it. There are
runs in turn without a rogue, with one that calls on a bystander, which takes no part and only
keeps its callers waiting, and with one that calls on the run. `ratio` is the median round of the
last over that of the first, `ratio_to_elsewhere` over that of the second; `cpu_to_none` the same
of the nodes' CPU seconds. `ratio_on_shared_cores` is `ratio` where run and rogue have all cores
together, and the rogue takes its part of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    cores = sorted(os.sched_getaffinity(0))
    told: Figures = {}
    figures: Figures = {"cores": len(cores), "rounds": turns * (rounds - WARM_UP)}
    if len(cores) > 1:
        figures |= _compared(cores[:-1], cores[-1:], rounds, turns, told)
    shared = _compared(cores, cores, rounds, turns, told)
    figures |= {f"{name}_on_shared_cores": value for name, value in shared.items()}
    figures |= {"ports": told["ports"], "calls": sum(told["calls"].values())}
    say(figures, given.format)
    if given.format == "text":
        say(dict(sorted(told["calls"].items())), given.format)


def _compared(
    ours: Sequence[int], theirs: Sequence[int], rounds: int, turns: int, told: Figures
) -> Figures:
    """Runs on the cores `ours` beside a rogue on `theirs`, whose last words go into `told`."""
    runs: dict[str, list[Finished]] = {"none": [], "elsewhere": [], "here": []}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ours)  # inherited by all that is started
    for _ in range(turns):
        runs["none"].append(_run(rounds))
        with _bystander(theirs) as pid:
            runs["elsewhere"].append(_run(rounds, _Rogue(theirs, told, pid)))
        runs["here"].append(_run(rounds, _Rogue(theirs, told)))
    os.sched_setaffinity(0, before)
    round_s = {name: statistics.median(map(_round_s, some)) for name, some in runs.items()}
    cpu_s = {name: sum(map(_cpu_s, some)) for name, some in runs.items()}
    return {
        "round_s": round_s["none"],
        "round_with_rogue_elsewhere_s": round_s["elsewhere"],
        "round_with_rogue_s": round_s["here"],
        "ratio": round_s["here"] / round_s["none"],
        "ratio_to_elsewhere": round_s["here"] / round_s["elsewhere"],
        "cpu_to_none": cpu_s["here"] / cpu_s["none"],
    }


@dataclass(frozen=True)
class _Rogue:
    cores: Sequence[int]
    told: Figures
    """Takes its last words."""
    called: int | None = None
    """The process on whose ports it calls; None: the run's."""

    def beside(self, run: subprocess.Popen[str]) -> None:
        """Let it call until the run has ended."""
        words = [str(self.called or run.pid), "--cores", *map(str, self.cores)]
        rogue = subprocess.Popen(
            [sys.executable, str(CLIENT), *words], stdout=subprocess.PIPE, text=True
        )
        try:
            run.wait(600.0)
        finally:
            rogue.terminate()
            said, _ = rogue.communicate(timeout=60.0)
        if self.called is None:
            self.told.update(json.loads(said.splitlines()[-1]))


@contextmanager
def _bystander(cores: Sequence[int]) -> Iterator[int]:
    """Listens on as many ports as a run has, and lets its callers wait; yields its process id."""
    words = ["--bystander", str(LEARNERS + 2), "--cores", *map(str, cores)]
    command = [sys.executable, str(CLIENT), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield process.pid
        finally:
            process.terminate()


def _run(rounds: int, rogue: _Rogue | None = None) -> Finished:
    text = star("rogue", LEARNERS, exchange(rounds))
    run = run_edgenet(text, watch=rogue.beside if rogue else None)
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
