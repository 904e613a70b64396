"""The FPL paper's directions, held against what was measured."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from common import deviation, verdict

Run = Mapping[str, Any]
Results = Mapping[str, Sequence[Run]]
"""Case -> its runs, a seed each, the same seeds in the same order."""

LEARNED = 3.0
"""A case whose accuracy is not so many times that of a guess has not been trained long enough for
any verdict that compares it."""


def converged(run: Run) -> int:
    """The epoch of the least validation loss (Fig. 5): 1, 2, ..."""
    losses = run["test_loss"]
    return int(losses.index(min(losses))) + 1


def accuracy(run: Run) -> float:
    """When it has converged."""
    return float(run["accuracy"][converged(run) - 1])


def volume(run: Run) -> int:
    """Bytes until it has converged."""
    return sum(run["epoch_bytes"][: converged(run)])


def claims(results: Results, classes: int, noise: Results) -> dict[str, str]:
    """Claim -> verdict, with the figures. `noise`: setting -> runs with a source of noise."""
    early = [
        case
        for case, runs in results.items()
        if statistics.mean(map(accuracy, runs)) < LEARNED / classes
    ]
    if early:
        return {"claims": f"not decided: {', '.join(early)} learned too little"}
    return {**_accuracies(results), **_epochs(results), **_volumes(results), **_weight(noise)}


def _accuracies(results: Results) -> dict[str, str]:
    order = ("Transfer images", "FPL: J->F2", "SL", "gFL: F1/F2")
    found = {}
    for better, worse in itertools.pairwise(order):
        gains = [
            100 * (accuracy(a) - accuracy(b))
            for a, b in zip(results[better], results[worse], strict=True)
        ]
        found[f"{better} is more accurate than {worse}"] = _told(gains, "points")
    return found


def _epochs(results: Results) -> dict[str, str]:
    """FPL's better junction against each rival."""
    fpl = _least(results, "FPL", converged)
    found = {}
    for rival in ("SL", "Transfer images", "gFL"):
        other = _least(results, rival, converged)
        gains = [float(b - a) for a, b in zip(fpl, other, strict=True)]
        found[f"FPL converges in fewer epochs than {rival}"] = _told(gains, "epochs")
    return found


def _volumes(results: Results) -> dict[str, str]:
    fpl, gfl = _least(results, "FPL", volume), _least(results, "gFL", volume)
    less = [100 * (1 - a / b) for a, b in zip(fpl, gfl, strict=True)]
    found = {"FPL moves fewer bytes to convergence than gFL": _told(less, "% fewer")}
    images = [volume(run) for run in results["Transfer images"]]
    others = [case for case in results if case != "Transfer images"]
    least = [min(map(volume, runs)) for runs in zip(*(results[c] for c in others), strict=True)]
    more = [100 * (a / b - 1) for a, b in zip(images, least, strict=True)]
    found["transferring images moves more bytes than any other"] = _told(more, "% more")
    return found


def _weight(noise: Results) -> dict[str, str]:
    found = {}
    for setting, runs in noise.items():
        ratios = [noise_ratio(run) for run in runs]
        told = _told([100 * (1 - ratio) for ratio in ratios], "% below the least of the others")
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        claim = f"a source of noise gets less of the junction's weight, {setting}"
        found[claim] = f"{told} (of that norm, its columns have {shown})"
    return found


def noise_ratio(run: Run) -> float:
    """Norm of the noisy source's columns over the least of the others', at the end."""
    ends = {key: float(norms[-1]) for key, norms in run["junction"].items()}
    return ends.pop("junction.cam2") / min(ends.values())


def _least(results: Results, of: str, what: Any) -> list[int]:
    """Of the cases whose names begin so, the least per seed."""
    cases = [runs for case, runs in results.items() if case.startswith(of)]
    return [min(map(what, runs)) for runs in zip(*cases, strict=True)]


def _told(gains: Sequence[float], unit: str) -> str:
    return (
        f"{verdict(gains)}: {statistics.mean(gains):+.1f} {unit}{deviation(gains)}, "
        f"{len(gains)} seeds"
    )
