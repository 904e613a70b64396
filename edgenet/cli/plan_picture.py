"""The picture of `edgenet plan --plot`: candidates by time and bytes, and by time and energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.results.compare import pareto
from edgenet.results.figures import look, picture

if TYPE_CHECKING:
    from edgenet.node.planner import Forecast

_LEAST = 1e-3
"""Drawn in place of nothing at all (a round in which nothing is sent), the axes being logarithmic:
a kilobyte, a millijoule."""

_AXES: tuple[tuple[str, Callable[[Forecast], float]], ...] = (
    ("sent in a round (MB)", lambda each: each.sent_bytes / 1e6),
    ("energy of a round (J)", lambda each: each.energy_j or 0.0),
)


def costs(of: Forecast) -> tuple[float, ...]:
    """All in which one candidate may beat another: time, bytes, bytes on air, memory, energy."""
    memory = max(of.memory_bytes.values())
    return of.round_s, of.sent_bytes, of.on_air_bytes, memory, of.energy_j or 0.0


def draw(found: Sequence[Forecast], front: Sequence[str], file: Path) -> None:
    """Every candidate with its number in the table; those of the `front` by name, those that do not
    fit hollow. A line joins those that fit and no other beats in the two costs of the picture."""
    schemes = list(dict.fromkeys(_scheme(each) for each in found))
    with picture(file, columns=len(_AXES), size=(5.0, 5.0)) as axes:
        for axis, (label, cost) in zip(axes[0], _AXES, strict=True):
            at = {each.name: (each.round_s, max(cost(each), _LEAST)) for each in found}
            line = [at[name] for name in pareto({n: at[n] for n in at if n in fitting(found)})]
            if line:
                axis.plot(*zip(*line, strict=True), color="grey", marker="", linewidth=1, zorder=0)
            for number, each in enumerate(found):
                kind = schemes.index(_scheme(each))
                best, hollow = each.name in front, bool(each.lacks_bytes)
                label_ = _scheme(each) + (", does not fit" if hollow else "")
                axis.plot(
                    *at[each.name],
                    **(look(kind) | {"linestyle": ""}),
                    markersize=9 if best else 4,
                    fillstyle="none" if hollow else "full",
                    label=f"{number + 1} {each.name} *" if best else label_,
                )
                axis.annotate(str(number + 1), at[each.name], (4, 4), fontsize=6,
                              textcoords="offset points")  # fmt: skip
            axis.set(xlabel="a round (s)", ylabel=label, xscale="log", yscale="log")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        axes[0, 0].figure.legend(
            known.values(), known, loc="outside lower center", ncols=3, fontsize=7
        )


def fitting(found: Sequence[Forecast]) -> set[str]:
    """The names of those that fit."""
    return {each.name for each in found if not each.lacks_bytes}


def _scheme(of: Forecast) -> str:
    return of.name.partition(",")[0]
