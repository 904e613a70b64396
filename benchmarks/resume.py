"""How long a killed run takes to go on: `edgenet run --resume` against a fresh run's own start.

A run is started, and the whole of it (launcher, fork server, nodes) killed by SIGKILL once every
node has checkpoints; then it is resumed. Both commands are timed from their own start to the moment
at which all nodes have joined, and at which their first new round was done. `extra_s` is what
resuming takes longer than starting: to find the newest common checkpoint, to check its digests, to
load it.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from common import Figures, arguments, owned, say, star

from edgenet.results.events import Event, node_events, node_names
from edgenet.results.rundir import RunDir

LEARNERS = 4
PATIENCE_S = 300.0
LEAST_ROUNDS = 6
TRAIN = """\
  scheme: fedavg
  model: {model}
  data: {{name: digits}}
  rounds: 1000000
  evaluate: 0
faults: {{checkpoint: 2}}
"""


def main() -> None:
    """Start, kill and resume in turn."""
    given = arguments(__doc__)
    model = "two-nn-small" if given.quick else "leaf-cnn"
    learners = 20 if given.full else LEARNERS
    turns = [_turn(model, learners) for _ in range(1 if given.quick else 5)]
    middle: Figures = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    extra = [turn["resume_s"] - turn["start_s"] for turn in turns]
    say(middle | {"extra_s": statistics.median(extra), "turns": len(turns)}, given.format)


def _turn(model: str, learners: int) -> Figures:
    """One run, killed and resumed: seconds until all had joined, and until the first new round."""
    with tempfile.TemporaryDirectory(prefix="edgenet-bench-") as name:
        folder = Path(name)
        path, out = folder / "topology.yaml", folder / "runs"
        path.write_text(star("resume", learners, TRAIN.format(model=model)), encoding="utf-8")
        with _edgenet(folder, str(path), "--out", str(out)) as (process, began_s):
            _until(process, lambda: _saved(out, learners + 1))
            (run,) = out.iterdir()
            start = _seconds(run, began_s)
            _kill(process)
        with _edgenet(folder, "--resume", str(run)) as (process, began_s):
            _until(process, lambda: _went_on(run, learners + 1))
            resume = _seconds(run, began_s)
    return {
        "start_joined_s": start[0],
        "start_s": start[1],
        "resume_joined_s": resume[0],
        "resume_s": resume[1],
    }


@contextmanager
def _edgenet(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """`edgenet run ...`, and the time in seconds since the epoch at which it was started."""
    command = [str(Path(sys.executable).with_name("edgenet")), "run", *words]
    began_s = time.time()
    with owned(command, folder) as process:
        yield process, began_s


def _until(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"the run did not come so far (exit code {process.poll()})")
        time.sleep(0.05)


def _kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the launcher and everything below it, as an unplugged host would end them."""
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    for each in family:
        each.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family[1:], timeout=PATIENCE_S)


def _saved(out: Path, nodes: int) -> bool:
    """Whether every node has a checkpoint of a round that is late enough."""
    found = [int(path.stem) for path in out.glob("*/nodes/*/checkpoints/*.ckpt")]
    whole = list(out.glob("*/nodes/*/checkpoints"))
    return len(whole) == nodes and sum(number >= LEAST_ROUNDS for number in found) >= nodes


def _went_on(run: Path, nodes: int) -> bool:
    """Whether all have joined again, and a round was done since."""
    names = [{event.name for event in each} for each in _attempts(run)]
    joined = sum(each >= {"resumed", "joined"} for each in names)
    return joined == nodes and any(each >= {"resumed", "round"} for each in names)


def _seconds(run: Path, began_s: float) -> tuple[float, float]:
    """Seconds until the last node had joined, and until the first round was done, in the latest
    attempt."""
    events = [event for each in _attempts(run) for event in each]
    joined = max(event.t for event in events if event.name == "joined")
    done = min(event.t for event in events if event.name == "round")
    return joined - began_s, done - began_s


def _attempts(run: Path) -> list[list[Event]]:
    """Each node's events since it was started the last time."""
    found = []
    for name in node_names(RunDir(run)):
        events = list(node_events(RunDir(run), name))
        starts = [number for number, event in enumerate(events) if event.name == "start"]
        found.append(events[starts[-1] :] if starts else [])
    return found


if __name__ == "__main__":
    main()
