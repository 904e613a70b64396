"""Pictures and tables of `fpl.py`: the paper's figures 5 and 6, its Table I, and who moves what."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import machine
from fpl_claims import Results, Run, accuracy, converged, volume
from fpl_volumes import Row, bytes_over_size, volumes

from edgenet.results.figures import picture

CORE_W = 13.0
PAPER: Mapping[str, tuple[float, float]] = {
    "SL": (0.11, 38.74),
    "Transfer images": (0.13, 45.07),
    "gFL: F1/F2": (0.23, 77.97),
    "gFL: C2/F1/F2": (0.33, 112.68),
    "FPL: J->F2": (0.21, 71.45),
    "FPL: J->F1": (0.25, 84.98),
}
"""Table I: kWh and g CO2."""


class Crossing(NamedTuple):
    """An epoch over the shaped cell."""

    samples: int
    shaping: str
    """What emulated it."""
    modelled_s: float
    """Its bytes over the cell's rates."""
    measured_s: float
    """In which neither the server nor the busiest camera computed."""


def write(
    out: Path,
    size: Any,
    classes: int,
    results: Results,
    tried: Results,
    noise: Results,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write everything to `out`; returns where FPL's and gFL's bytes cross.

    Args:
        out: the folder.
        size: what was trained (`fpl.Size`).
        classes: of the dataset.
        results: case -> a run for each seed.
        tried: case -> a run for each learning rate.
        noise: setting -> runs with a source of noise.
        more: `paper_width` (case -> parameters at the paper's width), `claims`, `shaped` (case ->
            `Crossing`).
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = {case: summed_up(runs) for case, runs in results.items()}
    losses(out / "fig5.png", results)
    bars(out / "fig6.png", rows)
    weights(out / "noise.png", noise)
    crossing = bytes_over_size(out / "bytes.png", size.model, classes, rows)
    _csv(out / "table.csv", rows)
    report = text(size, rows, more) + _shaped(more) + volumes(size.model, classes, rows, crossing)
    (out / "README.md").write_text(report + _rates(size, tried, results), encoding="utf-8")
    return crossing


def summed_up(runs: Sequence[Run]) -> dict[str, Any]:
    """Means over the seeds, to convergence: the epoch of the least validation loss."""
    ends = [converged(run) for run in runs]
    part = [end / len(run["test_loss"]) for run, end in zip(runs, ends, strict=True)]
    cpu_s = statistics.mean(run["cpu_s"] * p for run, p in zip(runs, part, strict=True))
    network = [run["network_s"] * volume(run) / max(1, sum(run["epoch_bytes"])) for run in runs]
    kwh = cpu_s * CORE_W / 3.6e6
    return {
        "rate": runs[0]["rate"],
        "accuracy": statistics.mean(map(accuracy, runs)),
        "accuracy_sd": statistics.stdev(map(accuracy, runs)),
        "epochs": statistics.mean(ends),
        "unfinished": sum(p == 1 for p in part),
        "parameters": runs[0]["parameters"],
        "cpu_s": cpu_s,
        "network_s": statistics.mean(network),
        "bytes": statistics.mean(map(volume, runs)),
        "bytes_first_epoch": statistics.mean(run["epoch_bytes"][0] for run in runs),
        "bytes_later_epoch": statistics.mean(run["epoch_bytes"][1] for run in runs),
        "kwh": kwh,
        "carbon_g": kwh * 243.0,
        "carbon_g_at_340": kwh * 340.0,
    }


def losses(path: Path, results: Results) -> None:
    """Fig. 5: mean validation loss per epoch, a star at the minimum."""
    with picture(path, size=(6.5, 4.2)) as axes:
        (place,) = axes[0]
        for name, runs in results.items():
            seeds = zip(*(run["test_loss"] for run in runs), strict=True)
            curve = [statistics.mean(each) for each in seeds]
            (line,) = place.plot(range(1, len(curve) + 1), curve, label=name)
            least = curve.index(min(curve))
            place.plot([least + 1], [curve[least]], "*", markersize=14, color=line.get_color())
        place.set(xlabel="epoch", ylabel="validation loss")
        place.legend()


def bars(path: Path, rows: Mapping[str, Row]) -> None:
    """Fig. 6 a-d, to convergence."""
    names = list(rows)
    with picture(path, rows=2, columns=2, size=(5.2, 3.4)) as axes:
        (a, b), (c, d) = axes
        a.bar(names, [100 * rows[n]["accuracy"] for n in names],
              yerr=[100 * rows[n]["accuracy_sd"] for n in names])  # fmt: skip
        a.set(ylabel="accuracy (%)", title="(a)")
        b.bar(names, [rows[n]["parameters"] / 1e6 for n in names])
        b.set(ylabel="parameters (millions)", title="(b)")
        cpu = [rows[n]["cpu_s"] for n in names]
        c.bar(names, cpu, label="CPU, all six nodes")
        label = "network, bytes / rate"
        c.bar(names, [rows[n]["network_s"] for n in names], bottom=cpu, label=label)
        c.set(ylabel="CPU + modelled network (s)", title="(c)")
        c.legend()
        d.bar(names, [rows[n]["bytes"] / 1e6 for n in names], log=True)
        d.set(ylabel="sent to convergence (MB)", title="(d)")
        for place in (a, b, c, d):
            place.tick_params(axis="x", rotation=35)


def weights(path: Path, noise: Results) -> None:
    """What the junction gives to each source, with a source of noise among them: a row a setting, a
    column a seed."""
    views = ("blur", "erase", "noise", "vflip", "crop")
    seeds = max(map(len, noise.values()))
    with picture(path, rows=len(noise), columns=seeds, size=(3.6, 3.0)) as axes:
        for row, (setting, runs) in zip(axes, noise.items(), strict=True):
            for place, run in zip(row, runs, strict=True):
                for (key, norms), view in zip(sorted(run["junction"].items()), views, strict=True):
                    epochs = range(1, len(norms) + 1)
                    place.plot(epochs, norms, label=f"{key.partition('.')[2]}: {view}")
                place.set(xlabel="epoch", ylabel="norm of its columns in J", ylim=(0, None))
                place.set(title=f"{setting}, seed {run['seed']}")
        lines = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(*lines, loc="outside lower center", ncols=5)


def text(size: Any, rows: Mapping[str, Row], more: Mapping[str, Any]) -> str:
    """The report's tables: every case's figures beside the paper's."""
    lines = [
        f"# FPL again: {size.model}, {size.train} training samples, {size.epochs} epochs, 3 seeds",
        "",
        f"Written by benchmarks/fpl.py, on {machine()}. To convergence (the least validation "
        "loss). Runs are on unshaped links, at the host's own speed. CPU seconds are the sum over "
        "all six nodes, as in the paper, whose nodes shared one server: nobody waits so long. "
        "Network seconds are modelled, not measured: the bytes that were counted over the cell's "
        "rates (Eq. 3, one sender after the other, all resource blocks to whoever sends); an epoch "
        f"over the shaped cell is below. Energy: CPU seconds x {CORE_W:g} W a core. The paper's "
        "Table I is for another machine and size: compare the ratios to transferring images. "
        "Seconds and energy depend on what else the machine did; accuracies, epochs, parameters "
        "and bytes do not.",
        "",
        "| case | accuracy (%) | epochs | parameters | at the paper's width | CPU s | "
        "network s (modelled) | MB | kWh | g at 0.243 | g at 0.34 | ratio | paper's kWh, g | "
        "paper's ratio |",
        "| --- " * 14 + "|",
    ]
    base, paper = rows["Transfer images"]["kwh"], PAPER["Transfer images"][0]
    for case, row in rows.items():
        kwh, grams = PAPER[case]
        open_ = f" ({row['unfinished']} still fell)" if row["unfinished"] else ""
        lines.append(
            f"| {case} | {100 * row['accuracy']:.1f} +- {100 * row['accuracy_sd']:.1f} | "
            f"{row['epochs']:.1f}{open_} | {row['parameters'] / 1e6:.2f} M | "
            f"{more['paper_width'][case] / 1e6:.1f} M | {row['cpu_s']:.1f} | "
            f"{row['network_s']:.1f} | {row['bytes'] / 1e6:.1f} | {row['kwh']:.2e} | "
            f"{row['carbon_g']:.4f} | {row['carbon_g_at_340']:.4f} | {row['kwh'] / base:.2f} | "
            f"{kwh}, {grams} | {kwh / paper:.2f} |"
        )
    lines += ["", "## The paper's directions", ""]
    lines += [f"- {claim}: {found}" for claim, found in more["claims"].items()]
    lines += ["", "![validation loss](fig5.png)", "![figure 6](fig6.png)",
              "![weights of the junction](noise.png)", ""]  # fmt: skip
    return "\n".join(lines)


def _shaped(more: Mapping[str, Any]) -> str:
    """Network seconds of an epoch over the cell, modelled and measured."""
    crossed: Mapping[str, Crossing] = more["shaped"]
    first = next(iter(crossed.values()))
    lines = [
        "",
        "## An epoch over the cell",
        "",
        f"One epoch of {first.samples} samples over the topology's own links ({first.shaping}) and "
        "devices (a Raspberry Pi 4 a camera). Measured: the part of the epoch in which neither the "
        "server nor the busiest camera computes. The model has one sender at a time; the cell has "
        "an uplink and a downlink, which may be busy at once and while nodes compute, and a delay "
        f"that every step waits for.{_APART if first.shaping == 'paced' else ''}",
        "",
        "| case | network s, modelled | network s, measured | ratio |",
        "| --- " * 4 + "|",
    ]
    lines += [
        f"| {case} | {each.modelled_s:.2f} | {each.measured_s:.2f} | "
        f"{each.measured_s / each.modelled_s:.2f} |"
        for case, each in crossed.items()
    ]
    return "\n".join([*lines, ""])


_APART = (
    " Paced links do not share the cell: five cameras that send at once have five times its rate."
)


def _rates(size: Any, tried: Results, results: Results) -> str:
    """What every case did with every learning rate."""
    lines = ["", "## Learning rates", "",
             f"Adam, batch 32, the same rates for every case, {size.tuning.epochs} epochs with a "
             "seed that no result has: least validation loss (accuracy in %) of each. The one of "
             "least loss trained with the seeds of the results.", "",
             "| case | " + " | ".join(f"{rate:g}" for rate in size.rates) + " |",
             "| --- " * (len(size.rates) + 1) + "|"]  # fmt: skip
    for case, runs in tried.items():
        chosen = results[case][0]["rate"]
        cells = []
        for run in runs:
            cell = f"{min(run['test_loss']):.3f} ({100 * accuracy(run):.1f})"
            cells.append(f"**{cell}**" if run["rate"] == chosen else cell)
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _csv(path: Path, rows: Mapping[str, Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", *next(iter(rows.values()))])
        for case, row in rows.items():
            writer.writerow([case, *(f"{v:.6g}" for v in row.values())])
