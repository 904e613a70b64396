"""report.html of a comparison: the table, what accuracy costs, and how to do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from edgenet.results.compare import COLUMNS, Column, Comparison
from edgenet.results.compare_tables import cells, decimals, notes
from edgenet.results.compare_trials import Step, Trial
from edgenet.results.page import cards, full, page, repeat, section, table, tiles
from edgenet.results.svg import Curve, Point, plot

_CURVES: tuple[tuple[str, str, Callable[[Step], float | None]], ...] = (
    ("Accuracy against time", "training time (s)", lambda step: step.train_s),
    ("Accuracy against bytes", "sent over all links (MB)", lambda step: step.sent_bytes / 1e6),
    ("Accuracy against energy", "energy (J)", lambda step: step.energy_j),
)
_FRONTS = {"train_s": "time", "sent_bytes": "bytes", "train_energy_j": "energy"}
_APART = ("target_bytes", "train_carbon_g")
"""Columns that the table of runs leaves to compare.csv."""
_ACCURACY = COLUMNS[0]


def compare_html(of: Comparison, about: Mapping[str, Any]) -> str:
    """The page.

    Args:
        of: everything that was run so far.
        about: command, versions, host and git of it.
    """
    body = "".join(
        (
            f"<h1>{escape(of.topology)} <small>{len(of.shown())} schemes compared</small></h1>",
            _tiles(of),
            section("Table", cards(full(_table(of))), *(f"<p>{escape(n)}</p>" for n in notes(of))),
            section(
                "What accuracy costs", cards(*(_curves(of, *each) for each in _CURVES)), _key(of)
            ),
            section("Where the runs end", cards(*_fronts(of)), _front_words(of)),
            section("Runs", cards(full(_runs(of)))),
            section("How to repeat it", repeat(about)),
        )
    )
    return page(f"{of.topology}: {', '.join(of.shown())}", body)


def _tiles(of: Comparison) -> str:
    best = of.best(_ACCURACY)
    figures = {
        "runs": str(len(of.trials)),
        "seeds": ", ".join(map(str, sorted({each.seed for each in of.trials}))),
        "best mean accuracy": "-" if best is None else f"{100 * best:.1f} %",
    }
    if of.target is not None:
        figures["target accuracy"] = f"{100 * of.target:.1f} %"
    if of.baseline is not None:
        figures["commonest class"] = f"{100 * of.baseline:.1f} %"
    return tiles(figures)


def _table(of: Comparison) -> str:
    rows = cells(of, lambda cell: f"\0{cell}", "\u00b1")
    best = frozenset(
        (row, column)
        for row, line in enumerate(rows)
        for column, cell in enumerate(line)
        if cell.startswith("\0")
    )
    plain = [[cell.lstrip("\0") for cell in line] for line in rows]
    return table(("scheme", *(column.title for column in COLUMNS)), plain, best=best)


def _curves(of: Comparison, title: str, label: str, cost: Callable[[Step], float | None]) -> str:
    """One line a run: its look tells the scheme, thin lines the seeds after the first."""
    curves, names = [], of.shown()
    for number, scheme in enumerate(names):
        trials = [each for each in of.trials if each.scheme == scheme]
        for nth, each in enumerate(trials):
            kind = "" if nth == 0 else "thin"
            curves.append(Curve(_points(each, cost), number, kind))
            curves += _rings(each, cost)
    return plot(curves, names, title=title, x_label=label, y_label="test accuracy (%)",
                x_from_zero=True)  # fmt: skip


def _key(of: Comparison) -> str:
    """What thin lines and rings are, where there are any."""
    told = []
    if any(of.count(scheme) > 1 for scheme in of.schemes):
        told.append("Thin lines: the seeds after the first.")
    if any(each.happened for each in of.trials):
        told.append("Rings: rounds in which a node was lost, or something was changed.")
    return f"<p>{' '.join(told)}</p>" if told else ""


def _rings(of: Trial, cost: Callable[[Step], float | None]) -> list[Curve]:
    """Around the rounds in which something happened."""
    found = [
        ((x, 100 * step.accuracy), f"{of.scheme}, round {step.round}: {says}")
        for step, says in of.struck()
        if (x := cost(step)) is not None and step.accuracy is not None
    ]
    return [Curve([at for at, _ in found], 0, "ring", [hint for _, hint in found])]


def _points(of: Trial, cost: Callable[[Step], float | None]) -> list[Point]:
    found = ((cost(step), step.accuracy) for step in of.steps)
    return [(x, 100 * y) for x, y in found if x is not None and y is not None]


def _fronts(of: Comparison) -> list[str]:
    """Means over the seeds with their deviations, and the schemes that no other beats in both."""
    names, plots = of.shown(), []
    for column in (column for column in COLUMNS if column.key in _FRONTS):
        ends = of.ends(column)
        curves = [Curve([ends[name] for name in of.front(column)], 0, "front")]
        for number, name in enumerate(names):
            if name in ends:
                curves += _deviations(of, name, column, ends[name], number)
                curves.append(Curve([ends[name]], number, "marks"))
        title = f"Final accuracy and {_FRONTS[column.key]}"
        plots.append(plot(curves, names, title=title, x_label=column.title,
                          y_label="test accuracy (%)"))  # fmt: skip
    return plots


def _deviations(of: Comparison, scheme: str, column: Column, at: Point, number: int) -> list[Curve]:
    """A cross: a sample standard deviation to each side."""
    x, y = of.spread(scheme, column), of.spread(scheme, _ACCURACY)
    if x is None or y is None:
        return []
    wide, high = x.deviation * column.scale, y.deviation * _ACCURACY.scale
    return [
        Curve([(at[0] - wide, at[1]), (at[0] + wide, at[1])], number, "whisker"),
        Curve([(at[0], at[1] - high), (at[0], at[1] + high)], number, "whisker"),
    ]


def _front_words(of: Comparison) -> str:
    """The fronts as a sentence, for who cannot see them."""
    told = []
    for column in (column for column in COLUMNS if column.key in _FRONTS):
        front = of.front(column)
        if front:
            told.append(f"{column.title}: {', '.join(front)}")
    if not told:
        return ""
    words = "; ".join(told)
    return f"<p>Pareto fronts (dashed; no other is both cheaper and better): {escape(words)}.</p>"


def _runs(of: Comparison) -> str:
    columns = [column for column in COLUMNS if column.key not in _APART]
    head = ("scheme", "seed", *(column.title for column in columns), "folder")
    rows = []
    for each in of.trials:
        values = [(column, column.of(each, of.target)) for column in columns]
        shown = ["-" if v is None else f"{v * c.scale:.{decimals(of, c)}f}" for c, v in values]
        rows.append((each.scheme, each.seed, *shown, each.folder.rpartition("/")[2]))
    return table(head, rows)
