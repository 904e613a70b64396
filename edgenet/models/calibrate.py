"""How fast this host trains small models on one thread: what devices' speeds are compared with."""

from __future__ import annotations

import math
import statistics
import time

import torch

from edgenet.devices.clock import BURST_S
from edgenet.models.layers import build, table
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.topology.spec import Optimizer

_MODELS = ("two-nn", "leaf-cnn")
"""One ruled by small products, one by convolutions: what the testbed's devices train."""
_SHAPE, _CLASSES, _BATCH = (1, 28, 28), 10, 16

_TICK_S = 0.01
_MOST_STEPS = 1000
"""In a burst, should the clock of CPU time stand still."""

_REST = 1.5
"""Between two bursts the host rests for so many times as long: enough to cool down."""


def calibrate(budget_s: float = 0.4) -> float:
    """This host's sustained training speed in FLOP/s on one thread: the geometric mean over
    two fixed models of operations / CPU time, each the median of its bursts.

    Forward, backward and plain SGD step, through the same code that trains, and in bursts with a
    rest after each, as nodes compute for slower devices (`edgenet.devices.clock`): a processor that
    has rested is slower at first. Counted in the thread's CPU time, so that other load on the host
    does not make it look slower. Leaves nothing behind: no thread, no change of torch's random
    state or number of threads; so it may run before forking, where it also spares the children
    their first, slow step.

    Args:
        budget_s: seconds to spend, about (at least one burst of each model is computed).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speeds = [_speed(name, budget_s / len(_MODELS)) for name in _MODELS]
    finally:
        torch.set_num_threads(threads)
    return math.exp(statistics.fmean(math.log(speed) for speed in speeds))


def _speed(name: str, budget_s: float) -> float:
    begin = time.perf_counter()
    model = build(name, classes=_CLASSES, shape=_SHAPE, seed=0)
    rows = table(model, _SHAPE)
    work = _BATCH * sum(row.forward_flops + row.backward_flops for row in rows)
    stage = LocalStage(model, Optimizer(), 1e-3, needs_input_error=False)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((_BATCH, *_SHAPE), generator=generator)
    labels = torch.arange(_BATCH) % _CLASSES
    _step(stage, x, labels)  # allocations, code paths met for the first time
    taken: list[float] = []
    while not taken or time.perf_counter() - begin < budget_s:
        time.sleep(_REST * BURST_S)
        taken.append(_burst(stage, x, labels))
    # Some kernels count CPU time in ticks of 10 ms.
    return work / (statistics.median(taken) or statistics.fmean(taken) or _TICK_S)


def _burst(stage: LocalStage, x: torch.Tensor, labels: torch.Tensor) -> float:
    """CPU seconds of a step, the mean over a burst."""
    start, steps, took = time.thread_time(), 0, 0.0
    while took < BURST_S and steps < _MOST_STEPS:
        _step(stage, x, labels)
        steps, took = steps + 1, time.thread_time() - start
    return took / steps


def _step(stage: LocalStage, x: torch.Tensor, labels: torch.Tensor) -> None:
    _, error = cross_entropy(stage.forward(x), labels)
    stage.backward(error)
    stage.step()
