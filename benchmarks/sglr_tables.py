"""Tables 1 to 5 of the SGLR benchmark: measured beside printed, as Markdown, CSV and PNG."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sglr_paper as paper
from sglr_points import (
    ALPHAS,
    LEAKING_PHIS,
    METHODS,
    PHASES,
    PHIS,
    Point,
    Results,
    Size,
    leaking,
    split,
    spread,
)
from sglr_traffic import flops

from edgenet.results.figures import COLOURS, MARKERS, picture
from edgenet.results.gallery import gallery

Setting = tuple[float, float, str]
"""alpha, phi, phases."""


@dataclass(frozen=True)
class Cell:
    """A figure over all seeds."""

    mean: float
    deviation: float
    """Sample deviation over the seeds; NaN for one."""
    seeds: int
    printed: float | None = None
    """The paper's."""
    digits: int = 1

    def __str__(self) -> str:
        shown = "-" if math.isnan(self.mean) else f"{self.mean:.{self.digits}f}"
        if not math.isnan(self.deviation):
            shown += f" +- {self.deviation:.{self.digits}f}"
        return shown if self.printed is None else f"{shown} ({self.printed:g})"


@dataclass(frozen=True)
class Grid:
    """A table: rows and columns of figures."""

    name: str
    """Of its files."""
    title: str
    corner: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    settings: tuple[Setting, ...] = ()
    """Of the columns of tables 1 to 3."""

    def markdown(self) -> str:
        """With the paper's figures in brackets."""
        lines = [f"| {' | '.join((self.corner, *self.columns))} |"]
        lines.append("| --- " * (len(self.columns) + 1) + "|")
        for row in self.rows:
            cells = (str(self.cells.get((row, column), "")) for column in self.columns)
            lines.append(f"| {' | '.join((row, *cells))} |")
        return "\n".join([f"### {self.title}", "", *lines, ""])

    def write_csv(self, folder: Path) -> None:
        """A line a cell."""
        with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((self.corner, "column", "mean", "deviation", "seeds", "paper"))
            for (row, column), cell in self.cells.items():
                printed = "" if cell.printed is None else cell.printed
                deviation = "" if math.isnan(cell.deviation) else f"{cell.deviation:.6g}"
                writer.writerow((row, column, f"{cell.mean:.6g}", deviation, cell.seeds, printed))


def over_seeds(
    results: Results, size: Size, point: Point, of: str = "accuracy", *, scale: float = 100.0
) -> list[float]:
    """A figure of `point` with every seed that was trained (NaN: diverged)."""
    seeds = (dataclasses.replace(point, seed=seed) for seed in range(1, size.seeds + 1))
    return [scale * results[each][of] for each in seeds if each in results]


def accuracy_grids(results: Results, size: Size) -> list[Grid]:
    """Tables 1, 2 and 3."""
    settings = {
        "table1": ("Table 1: accuracy (%) under SplitLr", [(a, 0.0, "always") for a in ALPHAS]),
        "table2": (
            "Table 2: accuracy (%) under SplitLr and SplitAvg",
            [(a, phi, "always") for a in ALPHAS[:3] for phi in (0.0, *PHIS)],
        ),
        "table3": (
            "Table 3: accuracy (%) with phi = 1 in phases, alpha = 1",
            [(1.0, 0.0, "always"), *((1.0, 1.0, phases) for phases in PHASES)],
        ),
    }
    found = []
    for name, (title, columns) in settings.items():
        cells = {}
        for clients in size.clients:
            for alpha, phi, phases in columns:
                point = split(size.resnet, clients, alpha, phi, 1, phases)
                printed = paper.accuracy(clients, alpha, phi, phases)
                measured = spread(over_seeds(results, size, point))
                cells[f"{clients}", _column(name, alpha, phi, phases)] = Cell(*measured, printed)
        rows = tuple(map(str, size.clients))
        names = tuple(_column(name, *column) for column in columns)
        found.append(Grid(name, title, "clients", rows, names, cells, tuple(columns)))
    return found


def _column(name: str, alpha: float, phi: float, phases: str) -> str:
    if name == "table1":
        return f"alpha {alpha:g}"
    if name == "table2":
        return f"a {alpha:g}, phi {phi:g}"
    return "without" if phi == 0.0 else phases


def methods_grid(results: Results, size: Size) -> Grid:
    """Table 4."""
    from edgenet.models import costs

    of_head, of_model = flops(size.alexnet, "C1")
    sizes = costs.Sizes(
        smashed_bytes=0, model_bytes=0, head_bytes=0, samples=5 * size.samples, clients=5
    )
    cells = {}
    for scheme, (alpha, phi) in METHODS.items():
        point = Point(size.alexnet, "C1", scheme, 5, alpha, phi, "always", 1)
        accuracy, printed = spread(over_seeds(results, size, point)), paper.METHODS[scheme]
        gigaflops = size.epochs * costs.client_flops(scheme, of_head, of_model, sizes) / 1e9
        cells[scheme, "accuracy (%)"] = Cell(*accuracy, printed[0])
        cells[scheme, "GFLOPs per client"] = Cell(gigaflops, math.nan, 1, digits=3)
        whole = costs.client_flops("centralized", of_head, of_model, sizes) * size.epochs / 1e9
        cells[scheme, "part of CL's"] = Cell(
            gigaflops / whole, math.nan, 1, round(printed[1] / 2.944, 4), digits=4
        )
    title = f"Table 4: {size.alexnet}, 5 clients (sglr: alpha 0.5, phi 0.75)"
    columns = ("accuracy (%)", "GFLOPs per client", "part of CL's")
    return Grid("table4", title, "scheme", tuple(METHODS), columns, cells)


def leakage_grid(results: Results, size: Size) -> Grid:
    """Table 5."""
    columns = {
        "BCE": ("bce", 4),
        "SSIM": ("ssim", 3),
        "decoder (nats)": ("decoder_nats", 1),
        "mutual (nats)": ("mutual_nats", 2),
        "accuracy (%)": ("accuracy", 1),
    }
    cells = {}
    for phi in LEAKING_PHIS:
        point = leaking(size, phi, 1)
        for name, (key, digits) in columns.items():
            scale = 100.0 if key == "accuracy" else 1.0
            measured = spread(over_seeds(results, size, point, key, scale=scale))
            printed = paper.LEAKAGE[phi] if key == "bce" else None
            cells[f"{phi:g}", name] = Cell(*measured, printed, digits)
    title = "Table 5: what a decoder finds in smashed data of one of 6 clients, by phi"
    rows = tuple(f"{phi:g}" for phi in LEAKING_PHIS)
    return Grid("table5", title, "phi", rows, tuple(columns), cells)


def draw(grid: Grid, path: Path) -> None:
    """A picture of tables 1 to 3: measured with the spread, and the paper's, by clients."""
    places = np.arange(len(grid.rows))
    with picture(path, columns=2, size=(4.6, 3.6)) as ((measured, printed),):
        for at, (column, setting) in enumerate(zip(grid.columns, grid.settings, strict=True)):
            look = _look(at, len(grid.columns))
            cells = [grid.cells[row, column] for row in grid.rows]
            aside = 0.6 * ((at + 0.5) / len(grid.columns) - 0.5)
            spreads = [0 if math.isnan(cell.deviation) else cell.deviation for cell in cells]
            measured.errorbar(
                places + aside,
                [cell.mean for cell in cells],
                spreads,
                capsize=2,
                label=column,
                **look,
            )
            published = _published(setting)
            if published:
                printed.plot(*zip(*published, strict=True), label=column, **look)
        for axis, title in ((measured, "measured"), (printed, "paper")):
            axis.set(xlabel="clients", ylabel="accuracy (%)", title=title)
        measured.set_xticks(places, grid.rows)
        lines = measured.get_legend_handles_labels()
        ncols = min(6, len(grid.columns))
        measured.figure.legend(*lines, loc="outside lower center", ncols=ncols)


def _look(at: int, columns: int) -> dict[str, Any]:
    """Of a column's line: where there are more of them than colours, four share a kind of line."""
    if columns <= len(COLOURS):
        return {"color": COLOURS[at], "marker": MARKERS[at]}
    line, colour = divmod(at, 4)
    style = ("-", "--", ":")[line % 3]
    return {"color": COLOURS[colour], "marker": MARKERS[colour], "linestyle": style}


def _published(setting: Setting) -> list[tuple[int, float]]:
    """What the paper has for a setting: (clients, accuracy)."""
    found = ((clients, paper.accuracy(clients, *setting)) for clients in paper.CLIENTS)
    return [(clients, value) for clients, value in found if value is not None]


def draw_rows(grid: Grid, columns: Sequence[str], path: Path) -> None:
    """A picture of tables 4 and 5: a panel for each of `columns`, with the paper's where it is."""
    with picture(path, columns=len(columns), size=(3.4, 3.0)) as (axes,):
        for axis, column in zip(axes, columns, strict=True):
            cells = [grid.cells[row, column] for row in grid.rows]
            spreads = [0 if math.isnan(cell.deviation) else cell.deviation for cell in cells]
            places = range(len(cells))
            axis.errorbar(
                places, [c.mean for c in cells], spreads, fmt="o", capsize=3, label="measured"
            )
            if all(cell.printed is not None for cell in cells):
                axis.plot(places, [c.printed for c in cells], "x", label="paper")
                axis.legend()
            axis.set_xticks(places, grid.rows, rotation=0 if grid.corner == "phi" else 30)
            axis.set(xlabel=grid.corner, ylabel=column)


def draw_leakage(pictures: Path, path: Path) -> None:
    """Originals above reconstructions, a row for each phi, of the first seed."""
    rows = []
    for phi in LEAKING_PHIS:
        file = pictures / f"phi-{phi:g}.npy"
        if file.is_file():
            images, guessed = np.load(file, allow_pickle=False) / 255
            rows.append((f"phi {phi:g}", guessed))
    if rows:
        gallery(path, [("original", images), *rows])
