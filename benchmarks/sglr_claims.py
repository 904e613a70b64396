"""What the paper says, held against what was measured: a sentence with figures for each."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from common import decided
from sglr_points import LEAKING_PHIS, METHODS, Point, Results, Size, leaking, split, spread
from sglr_traffic import Measured

from edgenet.models import costs

_FELL = 5.0
"""Points of accuracy that a run which diverges has lost at least."""
STEPS_AN_EPOCH = 125
"""The paper's: 1000 samples a client, batches of 8. How many epochs it trained, it does not say."""


def claims(results: Results, size: Size, traffic: Sequence[Measured]) -> list[str]:
    """All of the paper's directions that issue this benchmark, in its order."""
    found = []
    for clients in (c for c in size.clients if c >= 8):
        found += _helping(results, size, clients)
        found += _failing(results, size, clients)
    found += _best(results, size)
    found.append(_leaking(results, size))
    if traffic:
        found.append(_moving(traffic))
    return found


def _helping(results: Results, size: Size, clients: int) -> list[str]:
    """SplitLr, SplitAvg, and both."""
    psl = split(size.resnet, clients, 0.0, 0.0, 1)
    slr = split(size.resnet, clients, 0.5, 0.0, 1)
    sgl = split(size.resnet, clients, 0.0, 0.75, 1)
    both = split(size.resnet, clients, 0.5, 0.75, 1)
    return [
        _compared(results, size, f"SplitLr (alpha 0.5) beats PSL with {clients} clients", slr, psl),
        _compared(results, size, f"SplitAvg (phi 0.75) beats PSL with {clients} clients", sgl, psl),
        _compared(results, size, f"both beat PSL with {clients} clients", both, psl),
        _compared(results, size, f"both beat SplitLr alone with {clients} clients", both, slr),
        _compared(results, size, f"both beat SplitAvg alone with {clients} clients", both, sgl),
    ]


def _failing(results: Results, size: Size, clients: int) -> list[str]:
    """alpha 2, and phi 1."""
    plain = split(size.resnet, clients, 1.0, 0.0, 1)
    whole = split(size.resnet, clients, 1.0, 1.0, 1)
    phased = [split(size.resnet, clients, 1.0, 1.0, 1, p) for p in ("initial-40", "final-40")]
    return [
        _diverging(results, size, clients),
        _compared(results, size, f"phi 1 always on loses accuracy with {clients} clients "
                  "(alpha 1)", plain, whole),
        *(_compared(results, size, f"phi 1 {each.phases} beats phi 1 always on with {clients} "
                    "clients", each, whole) for each in phased),
    ]  # fmt: skip


def _diverging(results: Results, size: Size, clients: int) -> str:
    """Whether alpha 2 falls by more than `_FELL` points, or loses most of its own runs."""
    claim = f"alpha 2 diverges with {clients} clients"
    psl = split(size.resnet, clients, 0.0, 0.0, 1)
    fast = split(size.resnet, clients, 2.0, 0.0, 1)
    (mean, deviation), _, count = _difference(results, size, psl, fast)
    runs = [results[b]["accuracy"] for _, b in _pairs(results, size, psl, fast)]
    broken = sum(map(math.isnan, runs))
    if not runs:
        return f"not measured: {claim}"
    verdict = "confirmed" if 2 * broken > len(runs) else decided(mean - _FELL, deviation, count)
    if verdict == "refuted" and (broken or size.steps < STEPS_AN_EPOCH):
        verdict = "not decided"
    fell = f"{mean:.1f} points below PSL{_deviation(deviation)}, " if count else ""
    return (
        f"{verdict}: {claim}: {fell}{broken} of its {len(runs)} runs without a finite loss, after "
        f"{size.steps} steps (diverged: a fall of more than {_FELL:g} points, by the same test, or "
        "most runs without a finite loss; not refuted by fewer steps than one epoch of the "
        f"paper's has, {STEPS_AN_EPOCH})"
    )


def _best(results: Results, size: Size) -> list[str]:
    """Table 4: SGLR above the other schemes of split learning."""
    sglr, sfl, psl = (
        Point(size.alexnet, "C1", scheme, 5, *METHODS[scheme], "always", 1)
        for scheme in ("sglr", "sfl", "psl")
    )
    return [
        _compared(results, size, "SGLR beats SFL with AlexNet and 5 clients", sglr, sfl),
        _compared(results, size, "SGLR beats PSL with AlexNet and 5 clients", sglr, psl),
    ]


def _difference(
    results: Results, size: Size, one: Point, other: Point
) -> tuple[tuple[float, float], int, int]:
    """((mean, deviation) in points of accuracy of `one` - `other` over common seeds, how many of
    either had no finite loss, how many had one)."""
    gains = [
        100 * (results[a]["accuracy"] - results[b]["accuracy"])
        for a, b in _pairs(results, size, one, other)
    ]
    mean, deviation, count = spread(gains)
    return (mean, deviation), len(gains) - count, count


def _pairs(results: Results, size: Size, one: Point, other: Point) -> list[tuple[Point, Point]]:
    """Both points with every seed that both were trained with."""
    seeds = range(1, size.seeds + 1)
    both = [tuple(dataclasses.replace(p, seed=seed) for p in (one, other)) for seed in seeds]
    return [(a, b) for a, b in both if a in results and b in results]


def _compared(results: Results, size: Size, claim: str, better: Point, worse: Point) -> str:
    (mean, deviation), broken, count = _difference(results, size, better, worse)
    if not count:
        return f"not measured: {claim}"
    verdict = decided(mean, deviation, count)
    more = f"; {broken} runs diverged" if broken else ""
    seeds = "seed" if count == 1 else "seeds"
    return f"{verdict}: {claim}: {mean:+.1f} points{_deviation(deviation)}, {count} {seeds}{more}"


def _deviation(deviation: float) -> str:
    return "" if math.isnan(deviation) else f" (deviation {deviation:.1f} over seeds)"


def _leaking(results: Results, size: Size) -> str:
    """Over the settings of phi that train differently: with fewer than two active clients nothing
    is averaged."""
    phis = {leaking(size, phi, 1): phi for phi in reversed(LEAKING_PHIS)}
    losses = []
    for point in reversed(phis):
        seeds = (dataclasses.replace(point, seed=seed) for seed in range(1, size.seeds + 1))
        losses.append(spread(results[each]["bce"] for each in seeds if each in results))
    shown = ", ".join(
        f"{loss:.4f} (phi {phis[point]:g})"
        for point, (loss, _, _) in zip(reversed(phis), losses, strict=True)
    )
    if any(count == 0 for _, _, count in losses):
        return f"not measured: the decoder's loss rises with phi: {shown}"
    means = [mean for mean, _, _ in losses]
    none, all_ = (leaking(size, phi, 1) for phi in (0.0, 1.0))
    gains = [results[b]["bce"] - results[a]["bce"] for a, b in _pairs(results, size, none, all_)]
    verdict = decided(*spread(gains))
    rises = sum(b > a for a, b in itertools.pairwise(means))
    return (
        f"{verdict}: the decoder's loss rises with phi, from 0 to 1: {shown}; it rises in {rises} "
        f"of {len(means) - 1} steps between settings that train differently"
    )


def _moving(traffic: Sequence[Measured]) -> str:
    by_name = {each.scheme: each for each in traffic}
    sglr, sfl = by_name["sglr"], by_name["sfl"]
    measured = 1 - sglr.broadcast_once / sfl.broadcast_once
    predicted = 1 - (
        costs.traffic_on_links("sglr", sglr.sizes) / costs.traffic_on_links("sfl", sfl.sizes)
    )
    printed = 1 - costs.traffic("sglr", sglr.sizes) / costs.traffic("sfl", sfl.sizes)
    unicast = 1 - sglr.on_links / sfl.on_links
    verdict = "confirmed" if abs(measured - predicted) < 0.02 else "refuted"
    return (
        f"{verdict}: SGLR moves fewer bytes than SFL by the model's ratio: measured "
        f"{100 * measured:.2f} % fewer with the averaged gradient once on the medium "
        f"({100 * unicast:.2f} % on one-to-one links), model {100 * predicted:.2f} %; Eq. 20 as "
        f"printed gives {100 * printed:.2f} %"
    )
