"""How fast this host trains small models on one thread: what devices' speeds are compared with."""

from __future__ import annotations

import math
import statistics
import time

import torch

from edgenet.models.layers import build, table
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.topology.spec import Optimizer

_MODELS = ("two-nn", "leaf-cnn")
"""One ruled by small products, one by convolutions: what the testbed's devices train."""
_SHAPE, _CLASSES, _BATCH = (1, 28, 28), 10, 16

_TICK_S = 0.01


def calibrate(budget_s: float = 0.4) -> float:
    """This host's sustained training speed in FLOP/s on one thread: the geometric mean over
    two fixed models of operations / CPU time, each the median of its steps.

    Forward, backward and plain SGD step, through the same code that trains. Counted in the
    thread's CPU time, so that other load on the host does not make it look slower. Leaves nothing
    behind: no thread, no change of torch's random state or number of threads; so it may run before
    forking, where it also spares the children their first, slow step.

    Args:
        budget_s: CPU seconds to spend, about (at least three steps of each model are made).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speeds = [_speed(name, budget_s / len(_MODELS)) for name in _MODELS]
    finally:
        torch.set_num_threads(threads)
    return math.exp(statistics.fmean(math.log(speed) for speed in speeds))


def _speed(name: str, budget_s: float) -> float:
    begin = time.thread_time()
    model = build(name, classes=_CLASSES, shape=_SHAPE, seed=0)
    rows = table(model, _SHAPE)
    work = _BATCH * sum(row.forward_flops + row.backward_flops for row in rows)
    stage = LocalStage(model, Optimizer(), 1e-3, needs_input_error=False)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((_BATCH, *_SHAPE), generator=generator)
    labels = torch.arange(_BATCH) % _CLASSES
    _step(stage, x, labels)  # allocations, code paths met for the first time
    taken: list[float] = []
    while len(taken) < 3 or time.thread_time() - begin < budget_s:
        start = time.thread_time()
        _step(stage, x, labels)
        taken.append(time.thread_time() - start)
    # Some kernels count CPU time in ticks of 10 ms, and short steps as none at all.
    return work / (statistics.median(taken) or statistics.fmean(taken) or _TICK_S)


def _step(stage: LocalStage, x: torch.Tensor, labels: torch.Tensor) -> None:
    _, error = cross_entropy(stage.forward(x), labels)
    stage.backward(error)
    stage.step()
