"""`edgenet plan T --timetable`: a pipeline's stages and the order of their work, before a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.tables import console, table
from edgenet.errors import InputError
from edgenet.results import text
from edgenet.topology import load

if TYPE_CHECKING:
    from edgenet.schemes.layout import Layout

_STAGES = ("stage", "node", "layers", "window", "versions")
_CHOICES = ("stage", "layer", "keeps versions by", "one version", "for the others", "operations")
_SHOWN = 4
"""Mini-batches in the drawing, beyond twice the window."""


def show(path: Path, overrides: Sequence[str], *, as_json: bool) -> None:
    """Print the timetable of the pipeline that a topology file describes.

    Raises:
        InputError: its scheme is no pipeline, or its timetable cannot be carried out.
    """
    from edgenet.node.plan import resolve
    from edgenet.schemes.layout import Layout

    plan = resolve(load(path, overrides))
    layout = plan.layout
    if not isinstance(layout, Layout):
        raise InputError(
            f"{plan.topology.where('train.scheme')}: scheme '{plan.scheme.name}' has no timetable; "
            "pipelines have one, for instance pipedream"
        )
    if as_json:
        print(json.dumps({**_about(layout), "settled": list(plan.settled)}, indent=2))
        return
    out = console()
    out.print(table(_STAGES, _stages(layout)))
    if layout.choices:
        out.print(table(_CHOICES, _choices(layout)))
    out.print(_drawing(layout), markup=False, soft_wrap=True)
    if plan.settled:
        kept = " ".join(f"--set {each}" for each in plan.settled)
        out.print(f"measured on this host; to keep it: {kept}", markup=False, soft_wrap=True)
    out.print(
        "F3:1 = forward of mini-batch 3 with weight version 1, B backward, U makes a version; a "
        "column is a unit of time if all take the same and links take none",
        markup=False,
        soft_wrap=True,
    )


def _stages(layout: Layout) -> Iterator[tuple[str, ...]]:
    for n, worker in enumerate(layout.workers):
        names = layout.names(n)
        layers = names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]}"
        yield (
            str(n + 1), worker, layers, str(layout.table.windows[n]), str(layout.table.live(n)),
        )  # fmt: skip


def _choices(layout: Layout) -> Iterator[tuple[str, ...]]:
    for n, choices in enumerate(layout.choices):
        for choice in choices:
            yield (
                str(n + 1),
                choice.layer,
                choice.strategy,
                text.amount(choice.weight_bytes),
                text.amount(choice.extra_bytes),
                f"{choice.extra_flops / 1e6:.1f} M",
            )


def _drawing(layout: Layout) -> str:
    from edgenet.schemes.clock import draw, times
    from edgenet.schemes.timetable import timetable

    few = layout.parts[: 2 * max(layout.table.windows) + _SHOWN]
    shown = timetable(layout.scheme, layout.table.windows, few)
    return draw(shown, starts=times(shown), names=layout.workers)


def _about(layout: Layout) -> dict[str, Any]:
    return {
        "scheme": layout.scheme,
        "stages": [
            {
                "node": worker,
                "layers": list(layout.names(n)),
                "window": layout.table.windows[n],
                "versions": layout.table.live(n),
                "strategies": {c.layer: c.strategy for c in layout.choices[n]}
                if layout.choices
                else {},
                "actions": list(map(str, layout.table.stages[n])),
            }
            for n, worker in enumerate(layout.workers)
        ],
    }
