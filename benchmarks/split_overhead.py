"""What distributing a step of parallel split learning costs: 5 clients against one process.

`step_s` is the median step of `edgenet run` with scheme psl on loopback: five client processes and
a server, one torch thread each. `alone_s` is the same arithmetic in one process with one torch
thread (the same stages, batches and losses, nothing sent), and `ratio` the first over the second.
A run may use several cores, for its clients and for sending; `ratio_one_core` has both on a single
core, where nothing overlaps and what remains is the work that distribution takes; `ratio_cpu` is
that work by CPU time, which other work on the machine disturbs least. With `--full` also
`ratio_all_cores`: against one process with a thread for every core, which the run's server has not.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from common import Figures, Finished, arguments, run_edgenet, say, star

from edgenet.data import ShareBatches, load, partition, subset
from edgenet.models.layers import build, cut
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.topology.spec import Data, Optimizer, Partition

CLIENTS = 5
STEPS = 10
"""In a round: batches of every client."""
BATCH = 8
MODEL, CUT, DATA = "alexnet", "C1", "digits"
"""SGLR's table 4."""
SEED = 7
WARM_UP = 2
"""Rounds that are not counted."""

TRAIN = f"""\
  scheme: psl
  model: {MODEL}
  cut: {CUT}
  data: {{{{name: {DATA}, train: {CLIENTS * STEPS * BATCH}}}}}
  batch: {BATCH}
  rounds: {{rounds}}
  lr: 0.001
  optimizer: adam
  evaluate: 0
"""


def main() -> None:
    """Measure the run and the process alone, by turns, and say the ratios."""
    given = arguments(__doc__)
    rounds = WARM_UP + (4 if given.quick else 30 if given.full else 10)
    cores = sorted(os.sched_getaffinity(0))
    run, alone = Took(), Took()
    for _ in range(1 if given.quick else 3):
        run.add(distributed(rounds))
        alone.add(by_itself(rounds, 1))
    with only(cores[:1]):
        run_one, alone_one = distributed(rounds), by_itself(rounds, 1)
    figures: Figures = {
        "ratio": run.step_s / alone.step_s,
        "ratio_one_core": run_one.step_s / alone_one.step_s,
        "ratio_cpu": run.cpu_step_s / alone.cpu_step_s,
        "step_s": run.step_s,
        "alone_s": alone.step_s,
        "rounds": len(run.steps_s),
        "steps_per_round": STEPS,
        "clients": CLIENTS,
        "batch": BATCH,
        "model": MODEL,
        "cores": len(cores),
    }
    if given.full:
        figures["ratio_all_cores"] = run.step_s / by_itself(rounds, len(cores)).step_s
    say(figures, given.format)


@dataclass
class Took:
    """What steps took."""

    steps_s: list[float] = field(default_factory=list)
    """A mean step of each round."""
    cpu_steps_s: list[float] = field(default_factory=list)
    """CPU time of a mean step: of each round, or of a whole run."""

    def add(self, other: Took) -> None:
        """Grow by `other`."""
        self.steps_s += other.steps_s
        self.cpu_steps_s += other.cpu_steps_s

    @property
    def step_s(self) -> float:
        """Seconds of the median step."""
        return statistics.median(self.steps_s)

    @property
    def cpu_step_s(self) -> float:
        """CPU seconds of the median step, of all processes together."""
        return statistics.median(self.cpu_steps_s)


def distributed(rounds: int) -> Took:
    """A run. Its CPU time is that of all nodes beyond a run of the warm-up alone."""
    short = _run(WARM_UP)
    run = _run(rounds)
    steps_s = [float(each["wall_s"]) / STEPS for each in run.rounds[WARM_UP:]]
    return Took(steps_s, [(_cpu_s(run) - _cpu_s(short)) / (len(steps_s) * STEPS)])


def _run(rounds: int) -> Finished:
    return run_edgenet(star("split-overhead", CLIENTS, TRAIN.format(rounds=rounds)))


def _cpu_s(run: Finished) -> float:
    return sum(float(node["cpu_s"]) for node in run.summary["nodes"].values())


def by_itself(rounds: int, threads: int) -> Took:
    """The same without anything sent."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps_s, cpu_steps_s = zip(*_rounds_alone(rounds), strict=True)
        return Took(list(steps_s[WARM_UP:]), list(cpu_steps_s[WARM_UP:]))
    finally:
        torch.set_num_threads(before)


def _rounds_alone(rounds: int) -> Iterator[tuple[float, float]]:
    dataset = subset(load(DATA), Data(name=DATA, train=CLIENTS * STEPS * BATCH), SEED)
    dealt = partition(dataset.train_y, Partition(), CLIENTS, SEED)
    shares = [ShareBatches(dataset, dealt[i], BATCH, SEED, i) for i in range(CLIENTS)]
    heads = []
    for _ in shares:
        model = build(MODEL, classes=dataset.classes, shape=dataset.shape, seed=SEED)
        bottom, top = cut(model, CUT)
        heads.append(LocalStage(bottom, Optimizer(name="adam"), 0.001, needs_input_error=False))
    tail = LocalStage(top, Optimizer(name="adam"), 0.001)
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        for batches in zip(*shares, strict=True):
            smashed = [head.forward(x) for head, (x, _) in zip(heads, batches, strict=True)]
            logits = tail.forward(torch.cat(smashed))
            parts = zip(torch.split(logits, BATCH), batches, strict=True)
            errors = [cross_entropy(part, y)[1] / CLIENTS for part, (_, y) in parts]
            gradients = torch.split(tail.backward(torch.cat(errors)), BATCH)
            tail.step()
            for head, gradient in zip(heads, gradients, strict=True):
                head.backward(gradient * CLIENTS)
                head.step()
        yield (time.perf_counter() - start) / STEPS, (time.process_time() - cpu) / STEPS


@contextmanager
def only(cores: list[int]) -> Iterator[None]:
    """This process, and what it starts, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
