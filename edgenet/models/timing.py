"""How long this host computes on a part of a model: what a planner's predictions start from.

Operations divided by FLOP/s would be off by factors for small layers, where calls cost more than
products. So the very stage that a node would hold is run, with the batch that it would be given.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from edgenet.models.local import LocalStage
from edgenet.topology.spec import Optimizer

_LEAST = 3
_REST_S = 0.01
"""Small stages take 10 to 20 % longer after so much of a rest, large ones 1 to 2 %."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one batch costs a stage on one thread of this host."""

    forward_s: float
    """CPU seconds of `forward`, the median."""
    backward_s: float
    """CPU seconds of `backward`, the median."""
    step_s: float
    """CPU seconds of `step`, the median."""
    weight_bytes: int
    """Parameters and buffers."""
    gradient_bytes: int
    """Gradients."""
    optimizer_bytes: int
    """What the optimizer keeps: velocities, moments."""
    stash_bytes: int
    """What one open forward keeps."""
    largest_bytes: int
    """Of its tensors."""

    @property
    def train_s(self) -> float:
        """Forward, backward and step."""
        return self.forward_s + self.backward_s + self.step_s

    def of_batch(self, part: float) -> StageCost:
        """What `part` of the batch costs: the optimizer does not ask for its size."""
        return replace(self, forward_s=self.forward_s * part, backward_s=self.backward_s * part)

    def times(self, factor: float) -> StageCost:
        """What as many times more outputs of the same inputs cost."""
        return StageCost(
            forward_s=self.forward_s * factor,
            backward_s=self.backward_s * factor,
            step_s=self.step_s * factor,
            weight_bytes=round(self.weight_bytes * factor),
            gradient_bytes=round(self.gradient_bytes * factor),
            optimizer_bytes=round(self.optimizer_bytes * factor),
            stash_bytes=self.stash_bytes,  # its inputs, above all
            largest_bytes=round(self.largest_bytes * factor),
        )

    def __add__(self, other: StageCost) -> StageCost:
        """Of both, one behind the other in one stage."""
        both = StageCost(**{k: v + getattr(other, k) for k, v in asdict(self).items()})
        return replace(both, largest_bytes=max(self.largest_bytes, other.largest_bytes))


def stage_cost(
    layers: nn.Module,
    x: Tensor,
    *,
    optimizer: Optimizer,
    lr: float = 1e-6,
    first: bool = False,
    budget_s: float = 0.2,
) -> tuple[StageCost, Tensor]:
    """Measure a stage on the batch `x`; returns its cost and its output (detached).

    Args:
        layers: the stage's; their weights change by a few steps of `lr`.
        x: (batch, ...) of the kind that it would be given.
        optimizer: the run's.
        lr: small, so that nothing overflows.
        first: nobody needs the error of its input.
        budget_s: seconds to spend, about; at least three batches are made, with a rest before each
            verb: a node waits or sleeps there, and finds less of its data in the caches after it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a node
    try:
        stage = LocalStage(layers, optimizer, lr, needs_input_error=not first)
        y = stage.forward(x)
        stash = stage.peak_stash_bytes
        stage.backward(torch.zeros_like(y))
        stage.step()  # allocations, code paths met for the first time
        laps = _laps(stage, x, torch.full_like(y, 1e-6), budget_s)
    finally:
        torch.set_num_threads(threads)
    forward_s, backward_s, step_s = (statistics.median(of) for of in zip(*laps, strict=True))
    trained = sum(p.nbytes for p in layers.parameters() if p.requires_grad)
    copies = 2 if optimizer.name == "adam" else 1 if optimizer.momentum else 0
    cost = StageCost(
        forward_s=forward_s,
        backward_s=backward_s,
        step_s=step_s,
        weight_bytes=stage.weight_bytes,
        gradient_bytes=trained,
        optimizer_bytes=copies * trained,
        stash_bytes=stash,
        largest_bytes=max((t.nbytes for t in stage.state()), default=0),
    )
    return cost, y


def call_s(act: Callable[[], object], budget_s: float = 0.02) -> float:
    """CPU seconds of `act` on one thread of this host, the median."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        act()
        laps: list[float] = []
        begin = time.thread_time()
        while len(laps) < _LEAST or time.thread_time() - begin < budget_s:
            start = time.thread_time()
            act()
            laps.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(laps)


def _laps(
    stage: LocalStage, x: Tensor, error: Tensor, budget_s: float
) -> list[tuple[float, float, float]]:
    """(forward, backward, step) of each batch, in CPU seconds of this thread."""
    laps: list[tuple[float, float, float]] = []
    begin, rest_s = time.monotonic(), min(_REST_S, budget_s / 20)
    while len(laps) < _LEAST or time.monotonic() - begin < budget_s:
        took = []
        for act in (lambda: stage.forward(x), lambda: stage.backward(error), stage.step):
            time.sleep(rest_s)
            start = time.thread_time()
            act()
            took.append(time.thread_time() - start)
        laps.append((took[0], took[1], took[2]))
    return laps
