"""How much data each learner trains on: pure functions, no network and no model.

DAB: Mays, Elsayed, Hassanein, "Decentralized Data Allocation via Local Benchmarking for
Parallelized Mobile Edge Learning", section III.C. CSA: Mohammad and Sorour, "Adaptive Task
Allocation for Mobile Edge Learning" (2019), as the DAB paper compares with it. The paper's symbols:

    D     deadline of a global round, s             mu       passes over the data in a round
    c_k   shards/s that learner k trains            Omega_m  bytes of the model's parameters
    b_k   bytes/s of its link                       Omega_d  bytes of a shard
    a_k   shards of learner k (DAB)                 tau_k, d_k  its passes and shards (CSA)

Algorithm 1, line 12, writes b_k = n/T_d, shards a second; Eqs. 1-3 divide bytes by b_k, so here it
is bytes a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What has to cross the link, in bytes."""

    model_bytes: float
    """Omega_m: the parameters (and buffers), in each direction."""
    shard_bytes: float
    """Omega_d: one shard."""


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What a learner can do: its two benchmarks."""

    shards_per_s: float
    """c_k: shards that it trains on in a second, one pass over each."""
    bytes_per_s: float
    """b_k: bytes that reach it in a second; the channel back is taken to be the same."""

    def __post_init__(self) -> None:
        for what, value in (("c_k", self.shards_per_s), ("b_k", self.bytes_per_s)):
            if not value > 0:
                raise ValueError(f"{what} is {value}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a learner does in a global round."""

    shards: int
    """a_k or d_k; 0 = it does not take part."""
    passes: int
    """mu or tau_k."""


def round_s(shards: float, passes: float, learner: Capability, sizes: Sizes) -> float:
    """eta_k, Eq. 4: seconds to download, train and upload."""
    download = (sizes.model_bytes + sizes.shard_bytes * shards) / learner.bytes_per_s  # Eq. 1
    train = passes * shards / learner.shards_per_s  # Eq. 2
    upload = sizes.model_bytes / learner.bytes_per_s  # Eq. 3
    return download + train + upload  # Eq. 4


def upper_bound(deadline_s: float, passes: int, learner: Capability, sizes: Sizes) -> float:
    """The right side of Eq. 5; negative when the parameters alone take longer than the deadline."""
    room_s = deadline_s - 2 * sizes.model_bytes / learner.bytes_per_s
    each_s = passes / learner.shards_per_s + sizes.shard_bytes / learner.bytes_per_s
    return room_s / each_s


def shards_within(deadline_s: float, passes: int, learner: Capability, sizes: Sizes) -> int:
    """a_k, Eq. 5: the largest whole number below the bound (it is strict); at least 0."""
    return max(0, math.ceil(upper_bound(deadline_s, passes, learner, sizes)) - 1)


def equal_split(shards: int, learners: int) -> list[int]:
    """The shards dealt out evenly; the first learners get those that are left over."""
    each, over = divmod(shards, learners)
    return [each + (i < over) for i in range(learners)]


def staleness(works: Sequence[Work]) -> int:
    """max |tau_k - tau_l| over the learners that take part."""
    passes = [work.passes for work in works if work.shards]
    return max(passes) - min(passes) if passes else 0


def csa(deadline_s: float, shards: int, learners: Sequence[Capability], sizes: Sizes) -> list[Work]:
    """The centralised staleness-aware allocation: all `shards` are dealt out, every learner fills
    the deadline, t_k = C2 tau_k d_k + C1 d_k + C0 <= D < t_k + C2 d_k, and the staleness
    max |tau_k - tau_l| is the least there is for whole shards and passes; among those, the least
    tau is the largest.

    A learner that could not make one pass over one shard gets none; where all of them together
    could not make one pass over all the shards, as many are dealt out as they can.

    Continuous, every learner would have the same tau, found by bisection on sum d_k = shards
    (`common_passes`). Whole, d_k may be anything between the least number of shards that leaves at
    most t + s passes in the deadline and the largest that leaves at least t; t is the largest for
    which the upper ends suffice, bisected as well, and s grows until the lower ends fit below.
    """
    able = [i for i, k in enumerate(learners) if _passes(deadline_s, 1, k, sizes) >= 1]
    if shards < len(able):  # the fastest get one each
        able = sorted(able, key=lambda i: round_s(1, 1, learners[i], sizes))[:shards]
    works = [Work(shards=0, passes=0) for _ in learners]
    dealt = _deal(deadline_s, shards, [learners[i] for i in able], sizes) if able else []
    for i, d in zip(able, dealt, strict=True):
        works[i] = Work(shards=d, passes=_passes(deadline_s, d, learners[i], sizes))
    return works


def common_passes(
    deadline_s: float, shards: float, learners: Sequence[Capability], sizes: Sizes
) -> float:
    """tau: the one number of passes with which all learners fill the deadline and take `shards`
    together, neither being whole; bisection on sum over k of (D - C0) / (C2 tau + C1) = shards.

    Returns 0 where not even that many can be downloaded.
    """

    def held(tau: float) -> float:
        rooms = (deadline_s - 2 * sizes.model_bytes / k.bytes_per_s for k in learners)
        each = (tau / k.shards_per_s + sizes.shard_bytes / k.bytes_per_s for k in learners)
        return sum(
            max(0.0, room) / cost if cost else math.inf
            for room, cost in zip(rooms, each, strict=True)
        )

    if held(0.0) <= shards:
        return 0.0
    low, high = 0.0, 1.0
    while held(high) > shards:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) > shards else (low, middle)
    return (low + high) / 2


def _passes(deadline_s: float, shards: int, learner: Capability, sizes: Sizes) -> int:
    """tau_k for d_k: passes over `shards` that fill the deadline; below 0: not even downloaded."""
    left_s = deadline_s - round_s(shards, 0, learner, sizes)
    return math.floor(left_s * learner.shards_per_s / shards + 1e-9)


def _deal(deadline_s: float, shards: int, able: Sequence[Capability], sizes: Sizes) -> list[int]:
    """d_k of every learner in `able`, each at least 1."""

    def most(passes: int) -> list[int]:
        return [_most_shards(deadline_s, passes, k, sizes, shards) for k in able]

    def enough(passes: int) -> bool:
        return min(most(passes)) >= 1 and sum(most(passes)) >= shards

    limit = max(_passes(deadline_s, 1, k, sizes) for k in able)
    top = _last(enough, limit)
    if top < 1:
        return most(1)
    for spread in range(limit - top + 1):
        for passes in range(top, 0, -1):
            ends = most(passes)
            starts = [1 + each for each in most(passes + spread + 1)]
            if sum(starts) > shards:
                break  # with fewer passes they need still more shards
            if all(low <= high for low, high in zip(starts, ends, strict=True)):
                return _between(starts, ends, shards)
    raise AssertionError("a spread up to the limit leaves any number of shards possible")


def _most_shards(
    deadline_s: float, passes: int, learner: Capability, sizes: Sizes, limit: int
) -> int:
    """The largest number of shards, up to `limit`, with which so many passes are possible."""
    return _last(lambda shards: _passes(deadline_s, shards, learner, sizes) >= passes, limit)


def _between(starts: Sequence[int], ends: Sequence[int], shards: int) -> list[int]:
    """Whole numbers from `starts` to `ends` that add up to `shards`, at about the same part of the
    way for everybody."""
    way = sum(ends) - sum(starts)
    part = (shards - sum(starts)) / way if way else 0.0
    dealt = [a + math.floor(part * (b - a)) for a, b in zip(starts, ends, strict=True)]
    for i, end in enumerate(ends):
        dealt[i] += min(end - dealt[i], max(0, shards - sum(dealt)))
    return dealt


def _last(holds: Callable[[int], bool], most: int) -> int:
    """The largest n in 0 .. most for which `holds`, which holds up to some n and never after;
    `holds(0)` is taken for granted. By bisection."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
