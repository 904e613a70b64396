"""Pictures and tables of `fpl.py`: the paper's figures 5 and 6, its Table I, and who moves what."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.models.layers import build, table
from edgenet.results.figures import picture

SOURCES = 5
IMAGE_BYTES = 784
PAPER: Mapping[str, tuple[float, float]] = {
    "SL": (0.11, 38.74),
    "Transfer images": (0.13, 45.07),
    "gFL: F1/F2": (0.23, 77.97),
    "gFL: C2/F1/F2": (0.33, 112.68),
    "FPL: J->F2": (0.21, 71.45),
    "FPL: J->F1": (0.25, 84.98),
}
"""Table I: kWh and g CO2."""
FULL_SIZE = 124_800
"""Training images of EMNIST letters."""

Row = Mapping[str, Any]


def losses(path: Path, results: Mapping[str, Sequence[Row]]) -> None:
    """Fig. 5: mean validation loss per epoch, a star at the minimum."""
    with picture(path, size=(6.5, 4.2)) as axes:
        (place,) = axes[0]
        for name, runs in results.items():
            curve = [statistics.mean(each) for each in zip(*(run["test_loss"] for run in runs),
                                                           strict=True)]  # fmt: skip
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
        a.bar(names, [rows[n]["accuracy"] for n in names],
              yerr=[rows[n]["accuracy_sd"] for n in names])  # fmt: skip
        a.set(ylabel="accuracy", title="(a)")
        b.bar(names, [rows[n]["parameters"] / 1e6 for n in names])
        b.set(ylabel="parameters (millions)", title="(b)")
        cpu = [rows[n]["cpu_s"] for n in names]
        c.bar(names, cpu, label="compute")
        c.bar(names, [rows[n]["network_s"] for n in names], bottom=cpu, label="network")
        c.set(ylabel="time to convergence (s)", title="(c)")
        c.legend()
        d.bar(names, [rows[n]["bytes"] for n in names], log=True)
        d.set(ylabel="bytes to convergence", title="(d)")
        for place in (a, b, c, d):
            place.tick_params(axis="x", rotation=35)


def formulas(classes: int) -> dict[str, tuple[float, float]]:
    """Payload of an epoch as (bytes a sample, bytes in any case), transfer-images' first epoch."""
    model = {row.name: row for row in table(build("leaf-cnn", classes=classes, shape=(1, 28, 28),
                                                  seed=0), (1, 28, 28))}  # fmt: skip
    both = 2 * SOURCES
    weights = {name: both * row.weight_bytes for name, row in model.items()}
    return {
        "SL": (both * model["C2"].activation_bytes, 0),
        "Transfer images": (SOURCES * IMAGE_BYTES, 0),
        "gFL: F1/F2": (0, weights["F1"] + weights["F2"]),
        "gFL: C2/F1/F2": (0, weights["C2"] + weights["F1"] + weights["F2"]),
        "FPL: J->F2": (both * model["F1"].activation_bytes, 0),
        "FPL: J->F1": (both * model["C2"].activation_bytes, 0),
    }


def bytes_over_size(path: Path, classes: int, rows: Mapping[str, Row]) -> dict[str, Any]:
    """Bytes to convergence over the size of the dataset, with the measured number of epochs; where
    FPL and gFL cross."""
    known = formulas(classes)
    sizes = [100 * 10 ** (i / 10) for i in range(32)]
    found: dict[str, Any] = {}
    with picture(path, size=(6.5, 4.2)) as axes:
        (place,) = axes[0]
        for name, (each, fixed) in known.items():
            epochs = 1 if name == "Transfer images" else rows[name]["epochs"]
            place.loglog(sizes, [epochs * (each * n + fixed) for n in sizes], label=name,
                         marker="")  # fmt: skip
        for branch in ("FPL: J->F1", "FPL: J->F2"):
            per_epoch = known["gFL: F1/F2"][1] / known[branch][0]
            scale = rows["gFL: F1/F2"]["epochs"] / rows[branch]["epochs"]
            found[f"{branch} = gFL: F1/F2 per epoch at samples"] = round(per_epoch)
            found[f"{branch} = gFL: F1/F2 to convergence at samples"] = round(per_epoch * scale)
            at = per_epoch * scale
            place.plot([at], [rows[branch]["epochs"] * known[branch][0] * at], "k*", markersize=12)
        place.axvline(FULL_SIZE, color="grey", linestyle=":")
        place.set(xlabel="training samples", ylabel="bytes to convergence")
        place.legend()
    return found


def text(size: Any, rows: Mapping[str, Row], crossing: Mapping[str, Any]) -> str:
    """The report: every case's figures beside the paper's."""
    lines = [
        f"# FPL again: {size.train} training samples, {size.epochs} epochs, 3 seeds",
        "",
        "To convergence (the least validation loss). Energy: CPU seconds x 13 W a core. The paper's"
        " Table I is for another machine and size: compare the ratios to transferring images.",
        "",
        "| case | accuracy | epochs | parameters | CPU s | network s | MB | kWh | g at 0.243 | "
        "g at 0.34 | ratio | paper's kWh, g | paper's ratio |",
        "| --- " * 13 + "|",
    ]
    base, paper = rows["Transfer images"]["kwh"], PAPER["Transfer images"][0]
    for name, row in rows.items():
        kwh, grams = PAPER[name]
        lines.append(
            f"| {name} | {row['accuracy']:.3f} +- {row['accuracy_sd']:.3f} | {row['epochs']:.1f} | "
            f"{row['parameters'] / 1e6:.2f} M | {row['cpu_s']:.1f} | {row['network_s']:.1f} | "
            f"{row['bytes'] / 1e6:.1f} | {row['kwh']:.2e} | {row['carbon_g']:.3f} | "
            f"{row['carbon_g_at_340']:.3f} | {row['kwh'] / base:.2f} | {kwh}, {grams} | "
            f"{kwh / paper:.2f} |"
        )
    lines += ["", "## Who moves fewer bytes", ""]
    lines += [f"- {what}: {value}" for what, value in crossing.items()]
    return "\n".join([*lines, "", "Pictures: fig5.png, fig6.png, bytes.png", ""])
