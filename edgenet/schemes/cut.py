"""Where a model is cut for the workers of a pipeline, and how many mini-batches each has under way.

By hand (`split`, `windows`), or as even, and as full, as can be: from sizes and profiles, which
gives the same on every host and every day, or from measured times, which does not. What was
measured is therefore settled once, and stands in the run's topology.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, pairwise
from operator import add
from typing import Any

from edgenet.models.layers import LayerRow, table
from edgenet.schemes.bench import Ground
from edgenet.schemes.clock import Costs, best_windows
from edgenet.schemes.timetable import FLUSHING, SPLITTING

HOST_BYTES = 8_000_000_000
"""Taken for the memory of a device that is this machine: a layout must not depend on the host."""

Computing = Sequence[tuple[float, float, float]]
"""Each stage's seconds (forward, backward, update)."""


def settle(ground: Ground) -> dict[str, tuple[Any, ...]]:
    """`balance: measured`: the split, and the windows that go with it, as options.

    Raises:
        ValueError: nothing may be measured here; the sentence starts with the key.
    """
    options = ground.options
    if options.balance != "measured" or options.split:
        return {}
    if ground.measure is None:
        raise ValueError(
            "balance is measured, and every reader of this file would measure another cut: give "
            "the one that `edgenet plan FILE --timetable` measures as train.split"
        )
    rows, first = table(ground.layers, ground.image), int(master_feeds(ground))
    seen = ground.measure(_at_once(ground))
    slow, parts = seen.slowdowns[first:], most_parts(ground)
    each_s = [cost.forward_s + cost.backward_s + cost.step_s / parts for cost in seen.layers]
    starts = balance([round(1e9 * took_s) for took_s in each_s], [1 / factor for factor in slow])
    spans = _spans(starts, rows)
    found: dict[str, tuple[Any, ...]] = {"split": tuple(rows[end - 1].name for _, end in spans)}
    if options.windows or ground.train.scheme in FLUSHING:
        return found
    computing = []
    for factor, (start, end) in zip(slow, spans, strict=True):
        stage = reduce(add, seen.layers[start:end])
        computing.append(
            (factor * stage.forward_s, factor * stage.backward_s, factor * stage.step_s)
        )
    return {**found, "windows": windows_for(ground, rows, starts, computing)}


def starts_of(ground: Ground, rows: Sequence[LayerRow]) -> tuple[int, ...]:
    """Index of each stage's first layer, from the file, sizes and profiles.

    Raises:
        ValueError: it does not come out; the sentence starts with the key.
    """
    first = int(master_feeds(ground))
    speeds = ground.speeds[first:]
    if ground.options.split:
        return _by_hand(ground.options.split, [row.name for row in rows], len(speeds))
    if ground.options.balance == "memory":
        room = [float(size or HOST_BYTES) for size in ground.memories[first:]]
        return balance([row.weight_bytes for row in rows], room)
    return balance([row.forward_flops for row in rows], speeds)


def windows_for(
    ground: Ground, rows: Sequence[LayerRow], starts: Sequence[int], computing: Computing
) -> tuple[int, ...]:
    """w_n of every stage: as given, else the largest that cost no time.

    Raises:
        ValueError: those that are given do not come out; the sentence starts with the key.
    """
    options, stages = ground.options, len(starts)
    window = 1 if ground.train.scheme == "model-parallel" else options.window
    if not options.windows:
        return best_windows(window, _costs(ground, rows, starts, computing))
    if len(options.windows) != stages:
        raise ValueError(f"windows has {len(options.windows)} numbers for {stages} workers")
    if max(options.windows) > window:
        raise ValueError(f"windows has {max(options.windows)} in it; the window is {window}")
    return tuple(options.windows)


def estimated(ground: Ground, rows: Sequence[LayerRow], starts: Sequence[int]) -> Computing:
    """What stages compute, from sizes and profiles alone."""
    speeds = ground.speeds[int(master_feeds(ground)) :]
    forward_s = [
        _at_once(ground) * sum(row.forward_flops for row in rows[start:end]) / speed
        for speed, (start, end) in zip(speeds, _spans(starts, rows), strict=True)
    ]
    return [(seconds, 2 * seconds, 0.0) for seconds in forward_s]


def master_feeds(ground: Ground) -> bool:
    """Whether the first node only owns the data.

    Raises:
        ValueError: and there is no other; the sentence starts with the key.
    """
    master = ground.options.master
    feeds: bool = master == "feeds" or (master == "auto" and ground.nodes[0].group == "master")
    if feeds and len(ground.nodes) == 1:
        raise ValueError("master is the only node; a pipeline needs a worker, too")
    return feeds


def most_parts(ground: Ground) -> int:
    """Micro-batches of a full mini-batch."""
    window: int = ground.options.window
    return window if ground.train.scheme in SPLITTING else 1


def balance(loads: Sequence[int], capacities: Sequence[float]) -> tuple[int, ...]:
    """Starts of consecutive stages for which the largest load over capacity is least.

    Raises:
        ValueError: more stages than layers.
    """
    count, stages = len(loads), len(capacities)
    if count < stages:
        raise ValueError(f"split finds {stages} workers for {count} layers; leave some out")
    upto = [0, *accumulate(max(1, load) for load in loads)]
    best: list[list[tuple[float, tuple[int, ...]]]] = [[(math.inf, ())] * (count + 1)]
    best[0][0] = (0.0, ())
    for capacity in capacities:
        row: list[tuple[float, tuple[int, ...]]] = [(math.inf, ())] * (count + 1)
        for end in range(1, count + 1):
            row[end] = min(
                (max(best[-1][start][0], (upto[end] - upto[start]) / capacity),
                 (*best[-1][start][1], start))
                for start in range(end)
            )  # fmt: skip
        best.append(row)
    return best[-1][count][1]


def _by_hand(split: Sequence[int | str], names: Sequence[str], stages: int) -> tuple[int, ...]:
    ends, at = list[int](), 0
    for entry in split:
        if isinstance(entry, str) and entry not in names:
            raise ValueError(f"split has {entry!r} in it; layers are {', '.join(names)}")
        at = names.index(entry) + 1 if isinstance(entry, str) else at + entry
        ends.append(at)
    if len(ends) == stages - 1:
        ends.append(len(names))
    if (
        len(ends) != stages
        or ends[-1] != len(names)
        or any(a >= b for a, b in pairwise((0, *ends)))
    ):
        raise ValueError(
            f"split is {list(split)}; {stages} workers share {len(names)} layers in order "
            f"({', '.join(names)}): give each a number of layers, or the name of its last"
        )
    return (0, *ends[:-1])


def _at_once(ground: Ground) -> int:
    """Samples of what travels at once."""
    return max(1, ground.train.batch // most_parts(ground))


def _spans(starts: Sequence[int], rows: Sequence[LayerRow]) -> list[tuple[int, int]]:
    """(first layer, the one behind the last) of each stage."""
    return list(pairwise((*starts, len(rows))))


def _costs(
    ground: Ground, rows: Sequence[LayerRow], starts: Sequence[int], computing: Computing
) -> Costs:
    """What everything takes."""
    hops = ground.hops[int(master_feeds(ground)) :]
    sent = [_at_once(ground) * rows[start - 1].activation_bytes for start in starts[1:]]
    forward_s, backward_s, update_s = zip(*computing, strict=True)
    return Costs(
        forward_s=forward_s,
        backward_s=backward_s,
        update_s=update_s,
        send_s=[8 * size / hop.rate_bps for size, hop in zip(sent, hops, strict=True)],
        delay_s=[hop.delay_s for hop in hops],
    )
