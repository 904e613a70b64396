"""The mcPipe paper, measured: Theorem 1, memory and speed of weight versions, figures 2 to 4.

Theorem 1, element by element, on the network it is stated for; then VGG16 for 32x32 images over
three workers, cut conv | 512-4096-4096 | classes + loss, and over two, where the large layers
compute the loss and no window fills. Each figure stands beside the number of versions that were
live. All schemes run one after the other on the same network; ratios are within this run. Then
accuracy over minutes (mcpipe_cells.py), with the paper's statements and a verdict for each.

Everything goes to results/mcpipe/<size>/: README.md, CSV, PNG. Cells of the figures lie there as
files, and what is there is not run again.

`--quick`: a narrow VGG16, under 12 minutes on two quiet cores. `--full`: mini-batches and
repetitions for the memory tables, and figures with the paper's width and 10 seeds: days.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from common import Figures, arguments, say
from mcpipe_cells import Cells, Setting, Size, time_all, train_all
from mcpipe_memory import CUTS, cut, memory_over_windows, theorem_1, windows
from mcpipe_report import markdown, write

from edgenet.data.catalogue import DATASETS, VARIABLE

RESULTS = Path(__file__).parent / "results" / "mcpipe"


def size_of(*, full: bool) -> Size:
    """How much of the figures is made; of the digits, where MNIST and CIFAR-10 are not."""
    root = os.environ.get(VARIABLE, "")
    there = [
        name for name in ("mnist", "cifar-10") if root and not DATASETS[name].missing(Path(root))
    ]
    easy, hard = there if len(there) == 2 else ("digits", "digits")
    suffix = "" if len(there) == 2 else "-digits"
    settings = (
        Setting(number=2, workers=2, data=easy),
        Setting(number=3, workers=3, data=easy),
        Setting(number=4, workers=3, data=hard),
    )
    quick = Size(
        name=f"quick{suffix}",
        settings=settings,
        model="vgg16-bn-w16",
        device="pi4",
        samples=640,
        test=360 if suffix else 500,  # which is all of the digits
        epochs=4,
        seeds=(1, 2, 3),
        batch=16,
        lr=0.03,
        timed=8,
    )
    if not full:
        return quick
    return replace(
        quick, name=f"full{suffix}", model="vgg16-bn", samples=1400 if suffix else 50_000,
        epochs=10, seeds=tuple(range(1, 11)), timed=40,
    )  # fmt: skip


def main() -> None:
    """Print everything that was asked for, and write it down."""
    options = arguments(__doc__)
    start = time.monotonic()
    size = size_of(full=options.full)
    folder = RESULTS / size.name
    folder.mkdir(parents=True, exist_ok=True)
    cells, ends = Cells(folder / "cells", size), [start]
    for make in (train_all, time_all):
        make(size, cells)
        ends.append(time.monotonic())
    batches, repetitions = (40, 3) if options.full else (10, 1)
    figures: Figures = theorem_1(width=64)
    for workers in CUTS:
        figures |= cut(workers, batches, repetitions)
    figures |= memory_over_windows()
    if options.full:
        figures |= windows(batches=10)
    figures |= write(folder, size, cells, tables(folder, figures))
    ends.append(time.monotonic())
    parts = ("training_s", "timing_s", "memory_s")
    figures |= {part: b - a for part, (a, b) in zip(parts, pairwise(ends), strict=True)}
    figures |= {"wall_s": ends[-1] - start, "report": str(folder / "README.md")}
    say(figures, options.format)


def tables(folder: Path, figures: Figures) -> str:
    """Theorem 1 and the memory tables, as Markdown and as memory.csv."""
    rows = [(key, f"{value:.4g}" if isinstance(value, float) else str(value))
            for key, value in figures.items()]  # fmt: skip
    with (folder / "memory.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows((("figure", "value"), *rows))
    return "## Theorem 1, memory, speed at full width\n\n" + markdown(("figure", "value"), rows)


if __name__ == "__main__":
    main()
