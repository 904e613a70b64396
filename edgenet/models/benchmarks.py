"""Two ways to find out how long a device will train: `sb` and `flops`.

Subset benchmarking (Mays, Elsayed, Hassanein: DAB, section III.B) trains the model itself on a few
shards and extrapolates. The baseline of section IV multiplies matrices and scales by floating-point
operations; its prediction has two forms here: the run time of a reference device times FLOPS_ref /
FLOPS_k (the paper's), and the operations of the training over FLOPS_k.

Times are those of the emulated device. Its two slow-downs are separate, because its rates are: a
device may multiply large matrices at a tenth of the host's rate and train at a quarter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from edgenet.devices.clock import DeviceClock
from edgenet.meters.journal import Journal
from edgenet.models.layers import LayerList, build, table
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.models.throttle import Throttled
from edgenet.topology.spec import Optimizer

PRODUCTS, WIDTH = 100, 512
"""The baseline's workload: products of square matrices (section IV.A)."""

SHAPE, CLASSES = (1, 28, 28), 10
"""MNIST, on which the paper trains; the values of the pixels do not matter to the time."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A training whose time is measured or predicted."""

    model: str = "two-nn-small"
    """A name of `edgenet.models.zoo`; the default is the paper's TwoNN."""
    shard: int = 500
    """Samples in a shard."""
    batch: int = 32
    seed: int = 0

    def build(self) -> LayerList:
        """The model, drawn by the seed."""
        return build(self.model, classes=CLASSES, shape=SHAPE, seed=self.seed)

    @property
    def shard_flop(self) -> float:
        """Operations of one pass over a shard, forward and backward."""
        rows = table(self.build(), SHAPE)
        return float(self.shard * sum(row.forward_flops + row.backward_flops for row in rows))


def train_s(workload: Workload, shards: int, factor: float = 1.0) -> float:
    """Seconds that one pass over `shards` takes on a device `factor` times slower than the host.

    The device's time really passes. A model of its own is trained, on one thread.
    """
    stage = LocalStage(workload.build(), Optimizer(), 0.1, needs_input_error=False)
    clock = DeviceClock()
    device = Throttled(stage, factor, Journal(), clock=clock)
    random = torch.Generator().manual_seed(workload.seed)
    x = torch.rand((workload.shard, *SHAPE), generator=random)
    y = torch.randint(CLASSES, (workload.shard,), generator=random)
    start = clock.now()
    for _ in range(shards):
        for at in torch.arange(workload.shard).split(workload.batch):  # type: ignore[no-untyped-call]
            _, error = cross_entropy(device.forward(x[at]), y[at])
            device.backward(error)
            device.step()
    return clock.now() - start


def subset_rate(workload: Workload, shards: int, factor: float = 1.0) -> float:
    """c_k: shards a second of one pass, from training on `shards` of them (Algorithm 1, 13-16)."""
    return shards / train_s(workload, shards, factor)


def matrix_rate(factor: float = 1.0) -> float:
    """FLOP/s of 100 products of 512x512 matrices, on one thread of a device whose products take
    `factor` times the host's time; by the thread's CPU time."""
    random = torch.Generator().manual_seed(0)
    a, b = (torch.rand((WIDTH, WIDTH), generator=random) for _ in range(2))
    a @ b
    start = time.thread_time()
    for _ in range(PRODUCTS):
        a @ b
    took = max(time.thread_time() - start, 1e-6)
    return PRODUCTS * 2 * WIDTH**3 / (took * factor)


def by_reference(reference_s: float, reference_flops: float, flops: float) -> float:
    """The baseline's prediction in seconds: a reference device's run time, scaled."""
    return reference_s * reference_flops / flops


def by_operations(flop: float, flops: float) -> float:
    """The absolute form: operations over rate, in seconds."""
    return flop / flops
