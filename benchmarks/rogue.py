"""What a stranger can do to a run: rounds a second with and without one who calls on every port.

The rogue (`rogue_client.py`) has no key. From the start of the run to its end it calls on every
port that any process of the run listens on, with garbage, frames that are too long, wrong keys,
replays, false second connections and gloo's own words, and holds half-open conversations. `ratio`
is the median round with it over the median round without, taken in turn; every run must end well,
with all its nodes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
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
    alone: list[float] = []
    beside: list[float] = []
    told: Figures = {}
    for _ in range(turns):
        alone += _rounds(_run(rounds, None))
        beside += _rounds(_run(rounds, told))
    figures: Figures = {
        "round_s": statistics.median(alone),
        "round_with_rogue_s": statistics.median(beside),
        "ratio": statistics.median(beside) / statistics.median(alone),
        "rounds": len(alone),
        "ports": told["ports"],
        "calls": sum(told["calls"].values()),
        "cores": len(os.sched_getaffinity(0)),
    }
    say(figures, given.format)
    if given.format == "text":
        say(dict(sorted(told["calls"].items())), given.format)


def _run(rounds: int, told: Figures | None) -> Finished:
    def beside(run: subprocess.Popen[str]) -> None:
        words = [sys.executable, str(CLIENT), str(run.pid)]
        rogue = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            run.wait(600.0)
        finally:
            rogue.terminate()
            said, _ = rogue.communicate(timeout=60.0)
        assert told is not None
        told.update(json.loads(said.splitlines()[-1]))

    text = star("rogue", LEARNERS, exchange(rounds))
    run = run_edgenet(text, watch=None if told is None else beside)
    faults = [each for node in run.events.values() for each in node if each["e"] == "fault"]
    lost = [each for each in faults if each["what"] != "refused"]
    if lost:
        sys.exit(f"the run did not go as without a rogue: {lost[:3]}")
    return run


def _rounds(run: Finished) -> list[float]:
    return [float(each["wall_s"]) for each in run.rounds[WARM_UP:]]


if __name__ == "__main__":
    main()
