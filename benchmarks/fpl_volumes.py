"""Who moves how many bytes in `fpl.py`, by formula, over the size of the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenet.models.layers import build, table
from edgenet.results.figures import picture

SOURCES = 5
IMAGE_BYTES = 784
FULL_SIZE = 124_800
"""Training images of EMNIST letters."""

Row = Mapping[str, Any]


def formulas(model: str, classes: int) -> dict[str, tuple[float, float]]:
    """Payload of an epoch as (bytes a sample, bytes in any case), transfer-images' first epoch."""
    layers = build(model, classes=classes, shape=(1, 28, 28), seed=0)
    row = {each.name: each for each in table(layers, (1, 28, 28))}
    both = 2 * SOURCES
    weight = {name: both * each.weight_bytes for name, each in row.items()}
    return {
        "SL": (both * row["C2"].activation_bytes, 0),
        "Transfer images": (SOURCES * IMAGE_BYTES, 0),
        "gFL: F1/F2": (0, weight["F1"] + weight["F2"]),
        "gFL: C2/F1/F2": (0, weight["C2"] + weight["F1"] + weight["F2"]),
        "FPL: J->F2": (both * row["F1"].activation_bytes, 0),
        "FPL: J->F1": (both * row["C2"].activation_bytes, 0),
    }


Formulas = Mapping[str, tuple[float, float]]


def sent(known: Formulas, rows: Mapping[str, Row], samples: float) -> dict[str, float]:
    """Bytes to convergence with so many samples, with the measured number of epochs."""
    return {
        case: (1 if case == "Transfer images" else rows[case]["epochs"]) * (each * samples + fixed)
        for case, (each, fixed) in known.items()
    }


def bytes_over_size(
    path: Path, model: str, classes: int, rows: Mapping[str, Row]
) -> dict[str, Any]:
    """Bytes over the size of the dataset, per epoch and to convergence; where FPL and gFL cross."""
    known = formulas(model, classes)
    sizes = [100 * 10 ** (i / 10) for i in range(32)]
    found: dict[str, Any] = {}
    with picture(path, columns=2, size=(5.4, 4.2)) as axes:
        epoch, whole = axes[0]
        for case, (each, fixed) in known.items():
            line = "--" if case in ("SL", "gFL: F1/F2") else "-"  # they lie upon others
            epoch.loglog(sizes, [each * n + fixed for n in sizes], line, label=case, marker="")
            curve = [sent(known, rows, n)[case] for n in sizes]
            whole.loglog(sizes, curve, line, label=case, marker="")
        for case in ("FPL: J->F1", "FPL: J->F2"):
            at = known["gFL: F1/F2"][1] / known[case][0]
            later = at * rows["gFL: F1/F2"]["epochs"] / rows[case]["epochs"]
            epoch.plot([at], [known["gFL: F1/F2"][1]], "k*", markersize=12)
            whole.plot([later], [sent(known, rows, later)[case]], "k*", markersize=12)
            found[f"{case} = gFL: F1/F2 per epoch at samples"] = round(at)
            found[f"{case} = gFL: F1/F2 to convergence at samples"] = round(later)
        for place, when in ((epoch, "in the first epoch"), (whole, "to convergence")):
            place.axvline(FULL_SIZE, color="grey", linestyle=":")
            place.set(xlabel="training samples", ylabel=f"bytes {when}")
            place.legend()
    return found


def volumes(model: str, classes: int, rows: Mapping[str, Row], crossing: Mapping[str, Any]) -> str:
    """Who moves fewest bytes, at several sizes of the dataset."""
    known = formulas(model, classes)
    lines = ["", "## Who moves fewer bytes", "",
             "By formula, with the epochs that were measured (at one size of the dataset).", "",
             "| samples | least in the first epoch | least to convergence | but for images |",
             "| --- " * 4 + "|"]  # fmt: skip
    for samples in (100, 500, 2000, 10_000, FULL_SIZE):
        first = {case: each * samples + fixed for case, (each, fixed) in known.items()}
        whole = sent(known, rows, samples)
        rest = {case: n for case, n in whole.items() if case != "Transfer images"}
        least = (f"{min(of, key=lambda case: of[case])} ({min(of.values()) / 1e6:.2f} MB)"
                 for of in (first, whole, rest))  # fmt: skip
        lines.append(f"| {samples} | {' | '.join(least)} |")
    lines += ["", *(f"- {what}: {value}" for what, value in crossing.items())]
    wide = formulas("leaf-cnn", classes)
    lines += [
        f"- at the paper's width, {case} = gFL: F1/F2 per epoch at samples: "
        f"{wide['gFL: F1/F2'][1] / wide[case][0]:.0f}"
        for case in ("FPL: J->F1", "FPL: J->F2")
    ]
    return "\n".join([*lines, "", "![bytes over the size of the dataset](bytes.png)", ""])
