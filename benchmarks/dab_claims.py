"""What the DAB paper says, held against what was measured: a gain for every seed, and a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common import verdict

Cells = Sequence[Mapping[str, Any]]
"""One a seed."""
Errors = Mapping[str, Cells]
"""By device."""
Curves = Mapping[tuple[str, str], Cells]
"""By cluster and scheme."""

EARLY = 3
"""Rounds that count as early."""
CLOSE = 0.03
"""Gap of loss or accuracy that counts as close."""
MISSED, RECOVERED = 0.02, 2
"""Part of the learner-rounds that may miss D; rounds that a board that became slow may be away."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of the paper, or of what this benchmark has to show."""

    what: str
    paper: str
    """Its figure."""
    measured: str
    gains: Sequence[float]
    """By seed; above 0 where the claim holds."""
    and_gains: Sequence[float] = ()
    """Likewise, of a claim with two sides."""

    @property
    def verdict(self) -> str:
        """Student's t at 95 %: confirmed, refuted, or not decided."""
        sides = [verdict(gains) for gains in (self.gains, self.and_gains) if gains]
        order = ("refuted", "not decided", "confirmed")
        return min(sides, key=order.index)


def claims(errors: Errors, curves: Curves, rounds: int, recovered: Sequence[int]) -> list[Claim]:
    """All of them.

    Args:
        errors: figure 1.
        curves: figures 2 and 3.
        rounds: that these show.
        recovered: rounds in a row that the slowed board was away, by seed.
    """
    return [
        *_benchmarks(errors),
        *_close(curves),
        *_ahead(curves),
        *(_behind(curves, cluster, rounds) for cluster in ("two", "four")),
        _kept(curves["four", "dab"]),
        Claim(
            what="`dab-dynamic`: a board that becomes half as fast is away for at most 2 rounds",
            paper="(future work)",
            measured=f"{', '.join(map(str, recovered))} rounds",
            gains=[min(0.0, RECOVERED - max(recovered)) or 1.0] * len(recovered),
        ),
    ]


def subset_error(errors: Errors, n: str, seed: int, but: str = "") -> float:
    """The mean over devices of SB's error with n shards."""
    return statistics.fmean(c[seed]["sb"][n] for name, c in errors.items() if name != but)


def flops_error(errors: Errors, key: str, seed: int, but: str = "") -> float:
    """The mean over devices of one of FLOPS' errors."""
    return statistics.fmean(c[seed][key] for name, c in errors.items() if name != but)


def _benchmarks(errors: Errors) -> list[Claim]:
    seeds = range(len(errors["host"]))
    least, *_, most = errors["host"][0]["sb"]
    falls = [subset_error(errors, least, s) - subset_error(errors, most, s) for s in seeds]
    flops = [flops_error(errors, "flops", s, "host") for s in seeds]
    subset = [subset_error(errors, most, s, "host") for s in seeds]
    alone = [(c["flops_absolute"], c["sb"][most]) for c in errors["host"]]
    by_flops, by_subset = (_mean(column) for column in zip(*alone, strict=True))
    reduction = 1 - statistics.fmean(subset) / statistics.fmean(flops)
    return [
        Claim(
            what="SB's error falls with more shards",
            paper="falls",
            measured=f"{_mean([subset_error(errors, least, s) for s in seeds]):.1%} with {least}, "
            f"{_mean([subset_error(errors, most, s) for s in seeds]):.1%} with {most}",
            gains=falls,
        ),
        Claim(
            what="on emulated devices SB errs less than FLOPS (reference form)",
            paper="by up to 83 %",
            measured=f"{_mean(subset):.1%} against {_mean(flops):.0%}: {reduction:.0%} less",
            gains=[f - s for f, s in zip(flops, subset, strict=True)],
        ),
        Claim(
            what="on this host alone SB errs less than FLOPS (absolute form)",
            paper="-",
            measured=f"{by_subset:.1%} against {by_flops:.0%}",
            gains=[f - s for f, s in alone],
        ),
    ]


def gaps(curves: Curves, cluster: str, name: str, rounds: range) -> list[float]:
    """DAB / CSA - 1 of a figure, the mean over `rounds` (from 0), by seed."""
    pairs = zip(curves[cluster, "dab"], curves[cluster, "csa"], strict=True)
    return [_mean([dab[name][r] / csa[name][r] - 1 for r in rounds]) for dab, csa in pairs]


def _close(curves: Curves) -> list[Claim]:
    found = []
    for name in ("loss", "accuracy"):
        gap = gaps(curves, "two", name, range(EARLY))
        found.append(
            Claim(
                what=f"two devices: DAB's {name} is within {CLOSE:.0%} of CSA's in rounds 1 to "
                f"{EARLY}",
                paper="almost 0 %",
                measured=f"{_mean(gap):+.1%}",
                gains=[CLOSE - each for each in gap],
                and_gains=[CLOSE + each for each in gap],
            )
        )
    return found


def _ahead(curves: Curves) -> list[Claim]:
    found = []
    for name, sign, paper in (("loss", -1, "12 % lower"), ("accuracy", 1, "26 % higher")):
        gap = gaps(curves, "four", name, range(EARLY))
        best = max(
            (_mean(gaps(curves, "four", name, range(r, r + 1))) for r in range(EARLY)),
            key=lambda each: sign * each,
        )
        found.append(
            Claim(
                what=f"four devices: DAB is ahead in {name} in rounds 1 to {EARLY}",
                paper=f"up to {paper}",
                measured=f"{_mean(gap):+.1%}, at best {best:+.1%}",
                gains=[sign * each for each in gap],
            )
        )
    return found


def _behind(curves: Curves, cluster: str, rounds: int) -> Claim:
    gap = gaps(curves, cluster, "loss", range(rounds - 1, rounds))
    accuracy = gaps(curves, cluster, "accuracy", range(rounds - 1, rounds))
    return Claim(
        what=f"{cluster} devices: DAB's loss ends above CSA's",
        paper="6 % (accuracy 2 % lower)" if cluster == "two" else "5 % (accuracy 8 % lower)",
        measured=f"{_mean(gap):+.1%} (accuracy {_mean(accuracy):+.1%})",
        gains=gap,
    )


def _kept(cells: Cells) -> Claim:
    missed = [sum(cell["late"]) / max(1, sum(cell["asked"])) for cell in cells]
    rounds = sum(len(cell["late"]) for cell in cells)
    return Claim(
        what=f"`dab`: at most {MISSED:.0%} of the learner-rounds miss D (four devices)",
        paper="-",
        measured=f"{_mean(missed):.1%} over {rounds} rounds",
        gains=[MISSED - each for each in missed],
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
