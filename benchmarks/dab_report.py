"""Tables and pictures of `benchmarks/dab.py`: the paper's claims beside what was measured."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dab_claims import (
    MISSED,
    RECOVERED,
    Claim,
    Curves,
    Errors,
    claims,
    flops_error,
    subset_error,
)

from edgenet.results.figures import picture


def report(
    folder: Path, scale: str, rounds: int, errors: Errors, curves: Curves, recovered: Sequence[int]
) -> dict[str, Any]:
    """Write figures, tables and the claims; returns what decides."""
    folder.mkdir(parents=True, exist_ok=True)
    found = claims(errors, curves, rounds, recovered)
    _draw_errors(folder / f"{scale}-fig1.png", errors)
    for name, figure, unit in (("loss", "fig2", "test loss"), ("accuracy", "fig3", "accuracy")):
        _draw_curves(folder / f"{scale}-{figure}.png", curves, rounds, name, unit)
    _write_errors(folder / f"{scale}-fig1.csv", errors)
    _write_curves(folder / f"{scale}-fig23.csv", curves, rounds)
    (folder / f"{scale}.md").write_text(_markdown(scale, found), encoding="utf-8")
    return _figures(errors, curves, recovered) | {
        f"claim_{i}": f"{claim.verdict}: {claim.what}: {claim.measured}"
        for i, claim in enumerate(found, 1)
    }


def _figures(errors: Errors, curves: Curves, recovered: Sequence[int]) -> dict[str, Any]:
    seeds = range(len(errors["host"]))
    most = _subsets(errors)[-1]
    sb = statistics.fmean(subset_error(errors, most, seed, "host") for seed in seeds)
    flops = statistics.fmean(flops_error(errors, "flops", seed, "host") for seed in seeds)
    cells = curves["four", "dab"]
    missed = sum(sum(c["late"]) for c in cells) / max(1, sum(sum(c["asked"]) for c in cells))
    return {
        "sb_reduction": 1 - sb / flops,
        "missed_deadlines": missed,
        "deadlines_kept": missed <= MISSED,
        "rounds_to_recover": max(recovered),
        "recovers": max(recovered) <= RECOVERED,
    }


def _subsets(errors: Errors) -> list[str]:
    return list(next(iter(errors.values()))[0]["sb"])


def _mean(cells: Sequence[Mapping[str, Any]], name: str, rounds: int) -> list[float]:
    return [statistics.fmean(cell[name][i] for cell in cells) for i in range(rounds)]


def _draw_errors(path: Path, errors: Errors) -> None:
    subsets, seeds = _subsets(errors), range(len(errors["host"]))

    def over_seeds(n: str) -> float:
        return 100 * statistics.fmean(subset_error(errors, n, seed) for seed in seeds)

    with picture(path, size=(6.0, 3.6)) as grid:
        axes = grid[0, 0]
        axes.plot([int(n) for n in subsets], [over_seeds(n) for n in subsets], label="SB")
        for key, label in (("flops", "FLOPS, reference"), ("flops_absolute", "FLOPS, absolute")):
            level = 100 * statistics.fmean(flops_error(errors, key, seed) for seed in seeds)
            axes.plot([int(n) for n in subsets], [level for _ in subsets], label=label)
        axes.set(xlabel="shards in the benchmark", ylabel="run time error in %", ylim=(0, 100))
        axes.set_xticks([int(n) for n in subsets])
        axes.legend()


def _draw_curves(path: Path, curves: Curves, rounds: int, name: str, unit: str) -> None:
    with picture(path, columns=2) as grid:
        for axes, cluster in zip(grid[0], ("two", "four"), strict=True):
            for scheme in ("dab", "csa"):
                values = _mean(curves[cluster, scheme], name, rounds)
                axes.plot(range(1, rounds + 1), values, label=scheme)
            axes.set(xlabel="global round", ylabel=unit, title=f"{cluster} devices")
            axes.legend()


def _write_errors(path: Path, errors: Errors) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["device", "seed", "benchmark", "shards", "error", "actual_s"])
        for name, cells in errors.items():
            for seed, cell in enumerate(cells, 1):
                for n, error in cell["sb"].items():
                    writer.writerow([name, seed, "sb", n, error, cell["actual_s"]])
                for key in ("flops", "flops_absolute"):
                    writer.writerow([name, seed, key, "", cell[key], cell["actual_s"]])


def _write_curves(path: Path, curves: Curves, rounds: int) -> None:
    names = ("loss", "accuracy", "late", "asked", "shards", "staleness")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["cluster", "scheme", "seed", "round", *names])
        for (cluster, scheme), cells in curves.items():
            for seed, cell in enumerate(cells, 1):
                for i in range(len(cell["loss"])):
                    row = [cell[name][i] for name in names]
                    writer.writerow([cluster, scheme, seed, i + 1, *row])


def _markdown(scale: str, found: Sequence[Claim]) -> str:
    lines = [f"# DAB, {scale}", "", "Devices are emulated; three seeds; mean of all. A verdict is "
             "Student's t over seeds at 95 %.", "",
             "| claim | paper | measured | verdict |", "| --- | --- | --- | --- |"]  # fmt: skip
    lines += [f"| {c.what} | {c.paper} | {c.measured} | {c.verdict} |" for c in found]
    for name, about in (("fig1", "Figure 1"), ("fig2", "Figure 2"), ("fig3", "Figure 3")):
        lines += ["", f"![{about}]({scale}-{name}.png)"]
    return "\n".join(lines) + "\n"
