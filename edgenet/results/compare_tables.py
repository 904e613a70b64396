"""The table of a comparison, as CSV (every run), Markdown, LaTeX (booktabs) and for terminals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence

from edgenet.results.compare import COLUMNS, WHOLE, Column, Comparison
from edgenet.results.rundir import SCHEMA_VERSION
from edgenet.results.text import MISSING

Emphasis = Callable[[str], str]

_MOST_DIGITS = 6
_LATEX = str.maketrans({c: f"\\{c}" for c in "%&_#$"} | {"{": r"\{", "}": r"\}"})


def cells(of: Comparison, emphasis: Emphasis, plus_minus: str) -> list[list[str]]:
    """One row a scheme: its name, then a text for each column; the leaders emphasised. Last the
    accuracy of naming the commonest class, where it is known."""
    rows = [
        [scheme, *(_cell(of, scheme, column, emphasis, plus_minus) for column in COLUMNS)]
        for scheme in of.shown()
    ]
    if of.baseline is not None:
        rest = [MISSING] * (len(COLUMNS) - 1)
        rows.append(["(commonest class)", f"{100 * of.baseline:.1f}", *rest])
    return rows


def _cell(of: Comparison, scheme: str, column: Column, emphasis: Emphasis, plus_minus: str) -> str:
    spread = of.spread(scheme, column)
    if spread is None:
        return MISSING
    digits = decimals(of, column)
    shown = f"{spread.mean * column.scale:.{digits}f}"
    if len(spread.values) > 1:
        shown += f" {plus_minus} {spread.deviation * column.scale:.{digits}f}"
    if len(spread.values) < of.count(scheme):
        shown += f" ({len(spread.values)} of {of.count(scheme)})"
    return emphasis(shown) if scheme in of.leaders(column) else shown


def decimals(of: Comparison, column: Column) -> int:
    """Of all figures of a column: its own number, or what two figures of its least mean take."""
    means = [spread.mean for each in of.schemes if (spread := of.spread(each, column)) is not None]
    least = min((mean * column.scale for mean in means if mean > 0), default=1.0)
    return max(column.digits, min(_MOST_DIGITS, 1 - math.floor(math.log10(least))))


def notes(of: Comparison) -> list[str]:
    """What a reader has to know, as sentences."""
    seeds = sorted({t.seed for t in of.trials})
    spread = "mean and sample standard deviation" if len(seeds) > 1 else "one run each"
    told = [
        f"Topology {of.topology}; seeds {', '.join(map(str, seeds))}; {spread}. {_bold_says(of)}"
    ]
    if few := _incomplete(of, len(seeds)):
        told.append(few)
    if of.target is not None:
        told.append(
            f"To target: what training had cost at the first crossing, the first round with "
            f"{100 * of.target:.1f} % accuracy or more, whatever came after it."
        )
    told.append(
        "Time: the rounds, without start, end and the time in which the reporting node tested the "
        "model. Sent: over all links, with the links' own overhead, without evaluation and probe."
    )
    told.append(
        "Weights + stash: parameters, buffers and kept activations of the node with the most, "
        "without gradients and optimizer state. Node memory: resident set of the largest node, "
        "some 200 MB of it Python and torch."
    )
    told.append(
        "Energy and CO2: of all nodes of known power, without what they idle through outside of "
        "that time; modelled (edgenet.meters.energy) unless the node's host has a sensor."
    )
    if late := sum(each.late for each in of.trials):
        told.append(
            f"In {late} of {len(of.trials)} runs this host was too busy for the emulated devices: "
            "their times and joules are not the devices'."
        )
    return told


def _bold_says(of: Comparison) -> str:
    """What bold type means."""
    if all(of.count(scheme) == 1 for scheme in of.shown()):
        return "Bold: the best of a column."
    return (
        "Bold: the best mean of a column, of the schemes all of whose seeds have a value, where it "
        "leads the next by more than the larger deviation of the two."
    )


def _incomplete(of: Comparison, seeds: int) -> str:
    """Which schemes ran with fewer seeds than others; '' if none did."""
    few = [f"{name} with {of.count(name)}" for name in of.shown() if of.count(name) < seeds]
    return f"Not every scheme ran with all {seeds} seeds: {', '.join(few)}." if few else ""


def markdown(of: Comparison) -> str:
    """A table and its notes."""
    rows = [["scheme", *(c.title for c in COLUMNS)], ["---"] * (len(COLUMNS) + 1)]
    rows += cells(of, lambda cell: f"**{cell}**", "+-")
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *notes(of), ""])


def latex(of: Comparison) -> str:
    """A table for `booktabs`, with its notes as a comment."""
    rows = [[_escape(cell) for cell in row] for row in cells(of, lambda cell: f"\0{cell}", "+-")]
    body = [_row([_bold(cell) for cell in row]) for row in rows]
    head = _row(["scheme", *(_escape(c.title) for c in COLUMNS)])
    frame = [r"\begin{tabular}{l" + "r" * len(COLUMNS) + "}", r"\toprule", head, r"\midrule"]
    comments = [f"% {note}" for note in notes(of)]
    return "\n".join([*comments, *frame, *body, r"\bottomrule", r"\end{tabular}", ""])


def _escape(cell: str) -> str:
    return cell.translate(_LATEX).replace("+-", r"$\pm$").replace("CO2", r"CO\textsubscript{2}")


def _bold(cell: str) -> str:
    return rf"\textbf{{{cell[1:]}}}" if cell.startswith("\0") else cell


def _row(cells_: Sequence[str]) -> str:
    return " & ".join(cells_) + r" \\"


def runs_csv(of: Comparison) -> str:
    """One line a run, unscaled SI figures; the folder of each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = (*COLUMNS, *WHOLE)
    writer.writerow(
        ["scheme", "seed", *(column.key for column in columns), "folder", "schema_version"]
    )
    for each in of.trials:
        values = [column.of(each, of.target) for column in columns]
        shown = ["" if value is None else value for value in values]
        writer.writerow([each.scheme, each.seed, *shown, each.folder, SCHEMA_VERSION])
    return text.getvalue()
