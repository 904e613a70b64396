"""What a fork server does once so that the nodes it forks start at once."""

from __future__ import annotations

import ctypes

import torch

from edgenet.models.calibrate import calibrate
from edgenet.node.plan import Plan
from edgenet.node.substance import dataset_of


def warm_up(plan: Plan) -> float | None:
    """Import, load and compute what every node would otherwise do for itself after the fork.

    One thread (nodes share the cores), the dataset in memory whose pages the forked nodes share,
    and a few training steps, which meet torch's lazily imported half (about a second of CPU).

    Returns:
        The host's training speed in FLOP/s; None when no device of the plan is slowed down.
    """
    torch.set_num_threads(1)
    dataset_of(plan.topology)
    emulated = any(
        plan.topology.device(seat.name).training_flops is not None for seat in plan.seats
    )
    flops = calibrate() if emulated else calibrate(budget_s=0.0)
    _give_back()
    return flops if emulated else None


def _give_back() -> None:
    """What was freed goes back to the system. Forked nodes would have it resident too, and take
    the first 30 MB of their models from it, which nobody who looks at what grows would see."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def settle() -> None:
    """What a forked process does before it starts threads.

    A fork leaves torch's thread pool marked as unusable, and whoever computes first makes another.
    Two threads that come first at once can leave one of them with none: "Invalid thread pool!".
    """
    torch.set_num_threads(torch.get_num_threads())
