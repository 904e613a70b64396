"""Tables and pictures of `benchmarks/dab.py`: the paper's claims beside what was measured."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.results.figures import picture

Errors = Mapping[str, Sequence[Mapping[str, Any]]]
"""Device -> one cell a seed."""
Curves = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""(cluster, scheme) -> one cell a seed."""
EARLY = 3
"""Rounds that count as early."""


def report(
    folder: Path, scale: str, rounds: int, errors: Errors, curves: Curves, recovered: Sequence[int]
) -> dict[str, float]:
    """Write figures, tables and the claims; returns the claims' figures."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {**_benchmarks(errors), **_learning(curves, rounds)}
    found["rounds_to_recover"] = float(max(recovered))
    _draw_errors(folder / f"{scale}-fig1.png", errors)
    for name, figure, unit in (("loss", "fig2", "test loss"), ("accuracy", "fig3", "accuracy")):
        _draw_curves(folder / f"{scale}-{figure}.png", curves, rounds, name, unit)
    _write_errors(folder / f"{scale}-fig1.csv", errors)
    _write_curves(folder / f"{scale}-fig23.csv", curves, rounds)
    (folder / f"{scale}.md").write_text(_markdown(scale, found), encoding="utf-8")
    return found


def mean_error(errors: Errors, subset: str) -> float:
    """Over devices and seeds, of SB with n = `subset` shards."""
    return statistics.fmean(cell["sb"][subset] for cells in errors.values() for cell in cells)


def _benchmarks(errors: Errors) -> dict[str, float]:
    subsets = _subsets(errors)
    emulated = [cell for name, cells in errors.items() if name != "host" for cell in cells]
    flops = statistics.fmean(cell["flops"] for cell in emulated)
    absolute = statistics.fmean(c["flops_absolute"] for cells in errors.values() for c in cells)
    last = statistics.fmean(cell["sb"][subsets[-1]] for cell in emulated)
    return {
        "sb_error_least_n": mean_error(errors, subsets[0]),
        "sb_error_most_n": mean_error(errors, subsets[-1]),
        "flops_error": flops,
        "flops_error_absolute": absolute,
        "flops_error_absolute_host": statistics.fmean(c["flops_absolute"] for c in errors["host"]),
        "sb_error_host": statistics.fmean(c["sb"][subsets[-1]] for c in errors["host"]),
        "sb_reduction": 1 - last / flops,
    }


def _learning(curves: Curves, rounds: int) -> dict[str, float]:
    found = {}
    for cluster in ("two", "four"):
        for name in ("loss", "accuracy"):
            dab = _mean(curves[cluster, "dab"], name, rounds)
            csa = _mean(curves[cluster, "csa"], name, rounds)
            found[f"{cluster}_{name}_early"] = statistics.fmean(
                d / c - 1 for d, c in zip(dab[:EARLY], csa[:EARLY], strict=True)
            )
            found[f"{cluster}_{name}_end"] = dab[-1] / csa[-1] - 1
    cells = curves["four", "dab"]
    asked = sum(sum(cell["asked"]) for cell in cells)
    found["missed_deadlines"] = sum(sum(cell["late"]) for cell in cells) / max(1, asked)
    return found


def _subsets(errors: Errors) -> list[str]:
    return list(next(iter(errors.values()))[0]["sb"])


def _mean(cells: Sequence[Mapping[str, Any]], name: str, rounds: int) -> list[float]:
    return [statistics.fmean(cell[name][i] for cell in cells) for i in range(rounds)]


def _draw_errors(path: Path, errors: Errors) -> None:
    subsets = _subsets(errors)
    with picture(path, size=(6.0, 3.6)) as grid:
        axes = grid[0, 0]
        axes.plot([int(n) for n in subsets], [100 * mean_error(errors, n) for n in subsets],
                  label="SB")  # fmt: skip
        for key, label in (("flops", "FLOPS, reference"), ("flops_absolute", "FLOPS, absolute")):
            level = statistics.fmean(c[key] for cells in errors.values() for c in cells)
            axes.plot([int(n) for n in subsets], [100 * level for _ in subsets], label=label)
        axes.set(xlabel="shards in the benchmark", ylabel="run time error in %", yscale="log")
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


def _markdown(scale: str, found: Mapping[str, float]) -> str:
    rows = [
        ("SB's error, fewest and most shards", "falls with more shards",
         f"{found['sb_error_least_n']:.1%}, {found['sb_error_most_n']:.1%}"),
        ("FLOPS' error on emulated devices, reference form", "well above SB's",
         f"{found['flops_error']:.0%}"),
        ("FLOPS' error, absolute form (on this host alone)", "-",
         f"{found['flops_error_absolute']:.0%} ({found['flops_error_absolute_host']:.0%})"),
        ("SB's error on this host alone", "-", f"{found['sb_error_host']:.1%}"),
        ("reduction of the error by SB", "up to 83 %", f"{found['sb_reduction']:.0%}"),
        ("two devices, loss of DAB against CSA, early / end", "close / up to 6 % higher",
         f"{found['two_loss_early']:+.0%} / {found['two_loss_end']:+.0%}"),
        ("two devices, accuracy, early / end", "close / 2 % lower",
         f"{found['two_accuracy_early']:+.1%} / {found['two_accuracy_end']:+.1%}"),
        ("four devices, loss, early / end", "up to 12 % lower / 5 % higher",
         f"{found['four_loss_early']:+.0%} / {found['four_loss_end']:+.0%}"),
        ("four devices, accuracy, early / end", "up to 26 % higher / 8 % lower",
         f"{found['four_accuracy_early']:+.1%} / {found['four_accuracy_end']:+.1%}"),
        ("learner-rounds that missed D, four devices, `dab`", "(the issue: at most 2 %)",
         f"{found['missed_deadlines']:.1%}"),
        ("rounds in a row that a board slowed down to half is missing, `dab-dynamic`, worst seed",
         "(the issue: at most 2)", f"{found['rounds_to_recover']:.0f}"),
    ]  # fmt: skip
    lines = [f"# DAB, {scale}", "", "Devices are emulated; three seeds; mean of all.", "",
             "| claim | paper | measured |", "| --- | --- | --- |"]  # fmt: skip
    lines += [f"| {what} | {paper} | {measured} |" for what, paper, measured in rows]
    return "\n".join(lines) + "\n"
