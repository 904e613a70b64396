"""How many learners one machine holds: FedAvg with 100 (quick: 20, full: also 500) processes.

Every learner is an operating-system process that trains the two-layer network on its share of the
digits. `peak_pss_gib` is the sum of the proportional set sizes of all processes of the command
(pages that several share are counted once), at the worst moment that was sampled; `first_round_s`
is from the command's start to the end of the first round.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
from common import Figures, arguments, run_edgenet, say, star

ROUNDS = 10

TRAIN = f"""\
  scheme: fedavg
  model: two-nn
  data: {{name: digits}}
  rounds: {ROUNDS}
  batch: 8
  lr: 0.1
"""


def main() -> None:
    """Run the sizes asked for; the figures of the first stand on top."""
    given = arguments(__doc__)
    figures = measure(20 if given.quick else 100)
    figures["cores"] = len(os.sched_getaffinity(0))
    if given.full:
        figures |= {f"{key}_500": value for key, value in measure(500).items()}
    say(figures, given.format)


def measure(learners: int) -> Figures:
    """One run with so many learners."""
    memory = Memory()
    topology = star(f"scale-{learners}", learners, TRAIN)
    run = run_edgenet(topology, watch=memory.watch, timeout_s=1800)
    return {
        "learners": learners,
        "rounds": run.summary["rounds"],
        "peak_pss_gib": memory.peak_bytes / 2**30,
        "pss_mib_per_process": memory.peak_bytes / 2**20 / max(memory.processes, 1),
        "processes_at_peak": memory.processes,
        "samples": memory.samples,
        "first_round_s": run.round_end_s(1),
        "last_round_s": run.round_end_s(run.summary["rounds"]),
        "round_s": run.summary["round_s"],
        "wall_s": run.wall_s,
        "accuracy": run.summary["accuracy"],
        "nodes_lost": sum(node["status"] != "done" for node in run.summary["nodes"].values()),
    }


class Memory:
    """The most memory that a command and its descendants held together."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.processes = 0
        self.samples = 0

    def watch(self, command: subprocess.Popen[str]) -> None:
        """Sample until the command has ended. The kernel walks every page table for a sample, so
        at least twice as long as one takes passes until the next."""
        root = psutil.Process(command.pid)
        while command.poll() is None:
            start = time.monotonic()
            self._sample(root)
            took_s = time.monotonic() - start
            try:
                command.wait(max(0.25, 2 * took_s))
            except subprocess.TimeoutExpired:
                continue

    def _sample(self, root: psutil.Process) -> None:
        try:
            pids = [root.pid, *(child.pid for child in root.children(recursive=True))]
        except psutil.NoSuchProcess:
            return
        total = sum(pss_bytes(pid) for pid in pids)
        self.samples += 1
        if total > self.peak_bytes:
            self.peak_bytes, self.processes = total, len(pids)


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(
        (1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0
    )


if __name__ == "__main__":
    main()
