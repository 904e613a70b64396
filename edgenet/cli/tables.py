"""Tables for terminals and pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 240


class Answer(Console):
    """A console that leaves a closed output to the command's own handling."""

    def on_broken_pipe(self) -> None:
        """Re-raise; rich would end the process here, with exit code 1."""
        raise


def console() -> Console:
    """Where a command's answer goes. Without a terminal nothing is wrapped or coloured."""
    return Answer(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """Rows of text under a rule."""
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def print_fitting(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str]
) -> None:
    """Print a table. On a narrow terminal it goes without some columns rather than break words, and
    says so.

    Args:
        out: where to.
        columns, rows: as for `table`.
        spare: columns that can be done without, the first one first.
    """
    for count in range(len(spare) + 1):
        kept = [n for n, column in enumerate(columns) if column not in spare[:count]]
        shown = table([columns[n] for n in kept], [[row[n] for n in kept] for row in rows])
        if out.measure(shown, options=out.options.update(width=_PIPE_WIDTH)).maximum <= out.width:
            break
    out.print(shown)
    if count:
        words = f"left out for want of room: {', '.join(spare[:count])}"
        out.print(words, markup=False, soft_wrap=True)
