"""What every benchmark does: read its few flags, run a topology as a user would, say figures."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def arguments(description: str | None) -> argparse.Namespace:
    """`--quick`, `--full`, `--format text|json`: the flags that every benchmark takes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="less of it, for a first look")
    size.add_argument("--full", action="store_true", help="also what takes minutes")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    # As Ctrl-C does it: what was started is ended, temporary folders are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return parser.parse_args()


def say(figures: Mapping[str, Any], form: str) -> None:
    """Print figures as one JSON object, or a line each."""
    if form == "json":
        print(json.dumps(figures))
        return
    width = max(len(key) for key in figures)
    for key, value in figures.items():
        print(
            f"{key:<{width}}  {value:.4g}"
            if isinstance(value, float)
            else f"{key:<{width}}  {value}"
        )


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run of `edgenet run` that ended well."""

    summary: Mapping[str, Any]
    """What it printed: the object of summary.json."""
    rounds: list[dict[str, str]]
    """The lines of rounds.csv."""
    events: Mapping[str, list[dict[str, Any]]]
    """Node -> its events."""
    start_s: float
    """When the command was started, in seconds since the epoch."""
    wall_s: float
    """How long the command took, start-up and reports included."""

    def round_end_s(self, number: int) -> float:
        """Seconds from the command's start to the end of a round, by the reporter's clock."""
        return next(
            float(event["t"]) - self.start_s
            for events in self.events.values()
            for event in events
            if event["e"] == "round" and event["r"] == number
        )


def run_edgenet(
    topology: str,
    *options: str,
    watch: Callable[[subprocess.Popen[str]], None] | None = None,
    timeout_s: float = 600.0,
) -> Finished:
    """Write `topology` to a file and `edgenet run` it with `options`.

    Args:
        topology: the text of the file.
        options: further words of the command line.
        watch: called once with the running process, in this thread; should return when it ended.
        timeout_s: the run is ended after this long.

    Raises:
        SystemExit: the run failed; with its messages.
    """
    with tempfile.TemporaryDirectory(prefix="edgenet-bench-") as name:
        folder = Path(name)
        path, out = folder / "topology.yaml", folder / "runs"
        path.write_text(topology, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("edgenet")), "run", str(path)]
        command += ["--out", str(out), "--format", "json", *options]
        start_s, clock = time.time(), time.monotonic()
        with owned(command, folder) as process:
            if watch is not None:
                watch(process)
            code = process.wait(timeout_s)
        wall_s = time.monotonic() - clock
        if code != 0:
            said = (folder / "stderr").read_text(encoding="utf-8")
            sys.exit(f"{' '.join(command)} ended with {code}:\n{said[:2000]}")
        return _read(folder, out, start_s, wall_s)


@contextmanager
def owned(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a command whose output goes to files; it has ended when the block ends.

    Args:
        command: its words.
        folder: its output goes to `stdout` and `stderr` in it.
        environment: its own; None: this process's.
    """
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, env=environment
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _read(folder: Path, out: Path, start_s: float, wall_s: float) -> Finished:
    (run,) = (path.parent for path in out.glob("*/run.json"))
    with (run / "rounds.csv").open(encoding="utf-8", newline="") as file:
        rounds = list(csv.DictReader(file))
    return Finished(
        summary=json.loads((folder / "stdout").read_text(encoding="utf-8")),
        rounds=rounds,
        events={path.parent.name: _events(path) for path in run.glob("nodes/*/events.jsonl")},
        start_s=start_s,
        wall_s=wall_s,
    )


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


_STUDENT = (math.inf, 6.31, 2.92, 2.35, 2.13, 2.02)
"""Student's t, 95 % on one side, for 1, 2, 3 ... seeds: a mean of more standard errors counts."""


def decided(mean: float, deviation: float, count: int) -> str:
    """What a mean gain over so many seeds says of a claim that there is one.

    Args:
        mean: of the gains.
        deviation: the sample's; NaN of a single one.
        count: how many there are.
    """
    if math.isnan(deviation):
        return "not decided"
    needed = _STUDENT[min(count, len(_STUDENT)) - 1] * deviation / math.sqrt(count)
    if abs(mean) <= needed:
        return "not decided"
    return "confirmed" if mean > 0 else "refuted"


def verdict(gains: Sequence[float]) -> str:
    """`decided` by gains, one a seed."""
    spread = statistics.stdev(gains) if len(gains) > 1 else math.nan
    return decided(statistics.mean(gains), spread, len(gains))


def deviation(gains: Sequence[float]) -> str:
    """For a sentence; '' of a single gain."""
    return "" if len(gains) < 2 else f" (deviation {statistics.stdev(gains):.1f} over seeds)"


def machine() -> str:
    """This one, in a report: 'a 2-core x86_64 machine'."""
    return f"a {len(os.sched_getaffinity(0))}-core {platform.machine()} machine"


def star(name: str, learners: int, train: str) -> str:
    """A server and so many learners on unshaped links, all at the host's own speed.

    Args:
        name: the topology's name.
        learners: how many.
        train: the lines under `train:`, each with two spaces before it.
    """
    return f"""\
name: {name}
nodes:
  server: {{device: host}}
  learner: {{device: host, count: {learners}}}
links:
  wire: {{base: server, members: learner}}
shaping: none
seed: 7
train:
{train}"""


def exchange(rounds: int) -> str:
    """The lines under `train:` of FedAvg rounds of a 26 MB model in which nobody trains."""
    return f"""\
  scheme: fedavg
  model: leaf-cnn
  data: {{name: digits}}
  rounds: {rounds}
  local_epochs: 0
  evaluate: 0
"""
