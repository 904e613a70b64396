"""SplitAvg's choices: when it is on, who is active, and the gradient that they share.

Pal et al. (SGLR), section 3.2 and Eq. 15. What the paper leaves open:

- "phi C clients are active" is rounded down, as in its section 4.3 (phi 0.25 of 6 clients is 1).
- The text says that the gradients are averaged, Eq. 15 writes their sum: it is the mean of the
  gradients of every active client's own mean loss.
- The mean is taken sample position by sample position, so it needs batches of one size. In a step
  with several sizes (a pass's last, incomplete batches; a client that is in another place of its
  pass) only the clients with the size that most of them have are drawn from (of two sizes that are
  as frequent, the larger); the others get their own gradient, as the clients that are not active.
- Phases are counted in rounds (epochs). Initial 60 % and final 40 % are each other's complement.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from edgenet.data.seeds import generator
from edgenet.errors import NodeError

_PHASE = re.compile(r"(initial|final)[ -]?([1-9][0-9]?) ?%?")
_HALF = 0.5
_ROUNDING = 1e-9
"""0.7 * 10 = 6.999999999999999 are seven clients."""


def in_phase(phases: str, number: int, total: int) -> bool:
    """Whether SplitAvg is on in round `number` of 1 .. `total` (section 3.2, Table 3).

    Args:
        phases: 'always', 'initial-60' (the first 60 % of the rounds), 'final-40', ...
        number: the round.
        total: how many rounds there are.

    Raises:
        ValueError: no such phase.
    """
    if phases == "always":
        return True
    match = _PHASE.fullmatch(phases)
    if match is None:
        raise ValueError(
            f"phases is '{phases}'; it must be always, initial-60, initial-40, final-60, final-40 "
            "(or another percentage)"
        )
    early, percent = match[1] == "initial", int(match[2])
    border = math.floor(total * (percent if early else 100 - percent) / 100 + _HALF)
    return number <= border if early else number > border


def draw_active(
    sizes: Mapping[str, int], phi: float, seed: int, number: int, step: int
) -> tuple[str, ...]:
    """C_a: the clients whose gradients are averaged in this step (line 18).

    Depends on the arguments alone, so that a run can be repeated, and any of its steps looked up.

    Args:
        sizes: the clients of the step, in file order -> their batch sizes.
        phi: fraction of them that is active.
        seed: the run's.
        number: the round.
        step: the step within the round, from 0.

    Returns:
        Names in file order; none where fewer than one whole client would be active.
    """
    if not sizes or phi <= 0:
        return ()
    frequency = Counter(sizes.values())
    usual = max(frequency, key=lambda size: (frequency[size], size))
    equal = [name for name, size in sizes.items() if size == usual]
    count = min(math.floor(phi * len(sizes) + _ROUNDING), len(equal))
    random = generator("splitavg", seed, number, step)
    drawn = torch.randperm(len(equal), generator=random)[:count].tolist()
    return tuple(equal[i] for i in sorted(drawn))


def common_gradient(gradients: Mapping[str, Tensor]) -> Tensor:
    """The mean over the active clients of their gradients at the cut (Eq. 15).

    Args:
        gradients: active client -> gradient of its own mean loss (batch, ...), at least one.

    Raises:
        NodeError: the batches are not of one size.
    """
    shapes = {name: tuple(gradient.shape) for name, gradient in gradients.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise NodeError(
            f"SplitAvg averages gradients sample by sample, but their shapes differ: {listed}; "
            "give every client the same batch and the same cut"
        )
    return torch.stack(tuple(gradients.values())).mean(0)


def check_shares(samples: Mapping[str, int], batch: int) -> None:
    """Refuse shares under which a client could never be active: its batches are always smaller.

    Args:
        samples: client -> |D_i|.
        batch: samples in a full batch.

    Raises:
        ValueError: with the clients; the text starts with the key that can be changed.
    """
    first = {name: min(batch, count) for name, count in samples.items()}
    most = max(first.values())
    small = [f"{name} {samples[name]}" for name, size in first.items() if size < most]
    if small:
        raise ValueError(
            f"batch is {batch}, but SplitAvg needs clients with batches of equal size and some "
            f"have fewer samples ({', '.join(small)}); make it {min(samples.values())} or less, "
            "deal the samples out evenly, or set train.phi to 0"
        )
