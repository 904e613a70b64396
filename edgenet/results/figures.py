"""Pictures as PNG, by matplotlib: one look for all of them.

matplotlib because it is what the field's papers are drawn with, it has every kind of plot that
edgenet needs, and wheels for ARM boards. It is imported only when a picture is made: it costs half
a second, and no run needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgenet.results import looks

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b6673", "#8a4fb5")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One for each colour: series can also be told apart in grey."""
DASHES = ("-", "--", ":", "-.")
"""Of lines, where there are more series than colours."""

_LOOK: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.dpi": 150,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.handlelength": 3.0,  # so that dashes show
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


def look(number: int) -> dict[str, Any]:
    """Colour, marker and line style of series `number` (0, 1, ...), as `edgenet.results.looks`
    deals them out."""
    of = looks.look(number)
    return {
        "color": COLOURS[of.tone],
        "marker": MARKERS[of.shape],
        "linestyle": DASHES[of.dash],
    }


@contextmanager
def picture(
    path: Path, *, rows: int = 1, columns: int = 1, size: tuple[float, float] = (5.0, 3.4)
) -> Iterator[Any]:
    """Draw on a grid of axes; the file is written when the body ends without an error.

    Args:
        path: the PNG (or PDF, SVG: by its ending) to write.
        rows: of axes.
        columns: of axes.
        size: (width, height) of one of them in inches.

    Yields:
        numpy array of axes, shape (rows, columns). Every axis gets a label with its unit.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    series = [look(number) for number in range(len(COLOURS) * len(DASHES))]
    cycle = cycler(**{key: [each[key] for each in series] for key in series[0]})
    with matplotlib.rc_context({**_LOOK, "axes.prop_cycle": cycle}):
        figure = Figure(
            figsize=(size[0] * columns, size[1] * rows), layout="constrained"
        )  # not pyplot: no global state, no window system
        yield figure.subplots(rows, columns, squeeze=False)
        figure.savefig(path)


def plain_log(axis: Any, *, from_zero: float = 0.0) -> None:
    """A logarithmic scale with ticks at 1, 2, 5, 10 ..., written as numbers.

    For what spans few decades, where matplotlib writes one tick, or powers into each other.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
        from_zero: linear from 0 up to here; 0: logarithmic throughout.
    """
    from matplotlib import ticker

    scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
    if from_zero:
        scale("symlog", linthresh=from_zero, linscale=0.4, subs=())
        exponents = range(math.floor(math.log10(from_zero)), 7)
        places = (part * 10.0**exponent for exponent in exponents for part in (1, 2, 5))
        steps = [0.0, *(place for place in places if place > from_zero / 2)]
        axis.set_major_locator(ticker.FixedLocator(steps))
    else:
        scale("log")
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
